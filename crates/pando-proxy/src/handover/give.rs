//! The elder's side: what it tells, when it leaves, what it still follows while it ends.

use std::collections::BTreeMap;
use std::io;
use std::net::TcpListener;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pando_routing::{EndpointId, Table, TableVersion};
use pando_rt::fds;
use pando_rt::shutdown::Shutdown;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::line::{self, Estate, ToElder, ToSuccessor};
use super::{Door, Notice};
use crate::balance::moment;
use crate::parting::Curfew;
use crate::plane::Plane;
use crate::stats::report;
use crate::tables::Tables;

/// To take in what it is told, a successor has this long.
const TELLING: Duration = Duration::from_secs(30);

/// From there until it serves: it reads tables and certificates, and looks at endpoints.
const STARTING: Duration = Duration::from_secs(60);

/// How often the requests under way are counted for the successor.
const COUNTING: Duration = Duration::from_millis(50);

/// A listening socket, held beside whoever accepts from it.
#[derive(Debug)]
pub(crate) struct HeldDoor {
    pub(crate) door: Door,
    pub(crate) listener: TcpListener,
}

impl HeldDoor {
    /// # Errors
    /// No file is left.
    pub(crate) fn beside(door: Door, listener: &TcpListener) -> io::Result<Self> {
        Ok(Self { door, listener: listener.try_clone()? })
    }
}

/// What a proxy needs to give itself away.
#[derive(Debug)]
pub(crate) struct Giver {
    plane: Arc<Plane>,
    tables: Arc<Tables>,
    doors: Mutex<Vec<HeldDoor>>,
    turn: tokio::sync::Mutex<()>,
    leaving: Shutdown,
    notices: Option<mpsc::Sender<Notice>>,
}

impl Giver {
    /// `leaving` begins once a successor serves.
    pub(crate) fn new(
        plane: &Arc<Plane>,
        tables: &Arc<Tables>,
        doors: Vec<HeldDoor>,
        leaving: Shutdown,
        notices: Option<mpsc::Sender<Notice>>,
    ) -> Self {
        let (plane, tables, doors) = (Arc::clone(plane), Arc::clone(tables), Mutex::new(doors));
        Self { plane, tables, doors, turn: tokio::sync::Mutex::default(), leaving, notices }
    }

    /// Why nobody can take over now, if so.
    pub(crate) fn is_taken(&self) -> Option<&'static str> {
        if self.leaving.has_begun() {
            return Some("this proxy ends: another one serves in its place, or it was told to");
        }
        self.turn.try_lock().is_err().then_some("another proxy is taking over already")
    }

    /// Waits until this proxy leaves.
    pub(crate) async fn gone(&self) {
        self.leaving.wait().await;
    }

    /// Lets go of the listening sockets: who still holds them decides then who accepts.
    pub(crate) fn close_doors(&self) {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Hands over to whoever is at the other end of the line, and follows it until this proxy has ended. Comes back when there
    /// is nobody.
    pub(crate) async fn give(&self, mut stream: UnixStream) {
        let Ok(_turn) = self.turn.try_lock() else { return };
        let pid = stream.peer_cred().ok().and_then(|peer| peer.pid()).and_then(|pid| u32::try_from(pid).ok());
        let pid = pid.unwrap_or_default();
        tracing::info!(pid, "a successor asks to take over");
        match self.until_it_serves(&mut stream).await {
            Ok(told) => self.leave(stream, told, pid).await,
            Err(error) => {
                tracing::warn!(pid, %error, "the successor did not come to serve: this proxy goes on as before");
            }
        }
    }

    /// The table that the successor was told.
    async fn until_it_serves(&self, stream: &mut UnixStream) -> io::Result<Option<Arc<Table>>> {
        let told = timeout(TELLING, self.tell(stream)).await??;
        match timeout(STARTING, line::read::<ToElder>(stream)).await?? {
            ToElder::Serving => Ok(told),
            ToElder::Table(_) => {
                Err(io::Error::new(io::ErrorKind::InvalidData, "it sent a table out of turn"))
            }
        }
    }

    async fn tell(&self, stream: &mut UnixStream) -> io::Result<Option<Arc<Table>>> {
        let snapshot = self.plane.current();
        let table = snapshot.map(|snapshot| Arc::clone(&snapshot.table));
        let doors = self.duplicates()?;
        let now = moment::now();
        let estate = Estate {
            pid: std::process::id(),
            doors: doors.iter().map(|held| held.door).collect(),
            table: table.as_deref().cloned(),
            balancing_key: self.plane.key,
            ticket_keys: self.plane.tls.as_ref().map(crate::tls::Tls::own_ticket_keys).unwrap_or_default(),
            endpoints: self.plane.registry().current().filter_map(|endpoint| endpoint.kept(now)).collect(),
        };
        line::write(stream, &estate).await?;
        let sockets: Vec<&TcpListener> = doors.iter().map(|held| &held.listener).collect();
        for some in sockets.chunks(fds::MOST) {
            stream.async_io(Interest::WRITABLE, || fds::send(&*stream, some)).await?;
        }
        Ok(table)
    }

    fn duplicates(&self) -> io::Result<Vec<HeldDoor>> {
        let doors = self.doors.lock().unwrap_or_else(PoisonError::into_inner);
        doors.iter().map(|held| HeldDoor::beside(held.door, &held.listener)).collect()
    }

    async fn leave(&self, mut stream: UnixStream, told: Option<Arc<Table>>, pid: u32) {
        let last = self.tables.close().await;
        let now = self.plane.clock.now_millis();
        let most = i64::try_from(self.plane.limits.handover.as_millis()).unwrap_or(i64::MAX);
        self.plane.part(Curfew { began: now, told: now, deadline: now.saturating_add(most) });
        self.close_doors();
        self.leaving.begin();
        // Whoever polls is answered, and finds the successor when it asks again.
        self.plane.sequence.bump();
        tracing::info!(pid, "a successor serves: this proxy ends with its last connection");
        if let Some(notices) = &self.notices {
            // Nobody need listen.
            let _ = notices.try_send(Notice::HandedOver { pid });
        }
        let is_told = last.as_ref().map(Arc::as_ptr) == told.as_ref().map(Arc::as_ptr);
        let table = last.filter(|_| !is_told).map(|table| Box::new(Table::clone(&table)));
        let in_flight = report::in_flight(&self.plane);
        if line::write(&mut stream, &ToSuccessor::Leaving { table, in_flight }).await.is_err() {
            return tracing::warn!(pid, "the successor has gone");
        }
        let (from, to) = stream.into_split();
        let (followed, follow) = mpsc::channel(16);
        // Whichever ends first: the other end is gone.
        tokio::select! {
            () = self.listen(from, followed) => {}
            () = self.speak(to, follow) => {}
        }
    }

    async fn listen(&self, mut from: OwnedReadHalf, followed: mpsc::Sender<TableVersion>) {
        while let Ok(ToElder::Table(table)) = line::read(&mut from).await {
            let version = table.version;
            self.tables.follow(*table).await;
            if followed.send(version).await.is_err() {
                return;
            }
        }
    }

    async fn speak(&self, mut to: OwnedWriteHalf, mut follow: mpsc::Receiver<TableVersion>) {
        let mut ticks = tokio::time::interval_at(Instant::now(), COUNTING);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = None;
        loop {
            let followed = tokio::select! {
                // Both are cancel-safe: a version stays in the queue.
                version = follow.recv() => match version {
                    Some(version) => Some(version),
                    None => return,
                },
                _ = ticks.tick() => None,
            };
            // Counted after the table is in use here, and told before that is: what its drains wait for only falls from then on.
            if self.speak_once(&mut to, followed, &mut last).await.is_err() {
                return;
            }
        }
    }

    async fn speak_once(
        &self,
        to: &mut OwnedWriteHalf,
        followed: Option<TableVersion>,
        last: &mut Option<BTreeMap<EndpointId, u64>>,
    ) -> io::Result<()> {
        let counts = report::in_flight(&self.plane);
        if last.as_ref() != Some(&counts) {
            line::write(to, &ToSuccessor::InFlight(counts.clone())).await?;
            *last = Some(counts);
        }
        match followed {
            Some(version) => line::write(to, &ToSuccessor::Followed(version)).await,
            None => Ok(()),
        }
    }
}
