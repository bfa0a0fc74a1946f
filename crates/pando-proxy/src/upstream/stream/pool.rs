//! Connections over HTTP/2 to one endpoint, each with many exchanges at once.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use h2::Ping;
use h2::client::{Builder, SendRequest};
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;

use super::Stream;
use crate::http2::broken;
use crate::time::{span, ticks};
use crate::upstream::{Ends, Reach};
use crate::worker;

/// Exchanges over one connection, where the endpoint allows more: beyond that another connection costs less than waiting.
const MOST_STREAMS: usize = 100;

/// Bytes that the endpoint may send before a client takes them: of one answer, and of all over one connection.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;

/// Bytes of one request that wait for the endpoint to take them.
const SEND_BUFFER: usize = 64 << 10;

/// Connections to one endpoint. Each worker has its own.
#[derive(Debug)]
pub(crate) struct Streams {
    held: Box<[Mutex<Held>]>,
}

#[derive(Debug, Default)]
struct Held {
    open: Vec<(SendRequest<Bytes>, Arc<Connection>)>,
    closed: bool,
    /// Of the [`Reach`] that connections are opened by now.
    serial: u64,
}

/// So many connections are kept of clients that each have their own.
const MOST_APART: usize = 256;

impl Held {
    /// Where each client has connections of its own, the oldest that is idle gives way.
    fn make_room(&mut self, behalf: Option<Ends>) {
        if behalf.is_none() || self.open.len() < MOST_APART {
            return;
        }
        // One count is the pool's own.
        if let Some(at) = self.open.iter().position(|(_, connection)| Arc::strong_count(connection) == 1) {
            self.open.remove(at);
        }
    }
}

/// Ends when neither the pool nor an exchange has a use for it.
#[derive(Debug)]
pub(super) struct Connection {
    driver: AbortHandle,
    /// It takes no more exchanges.
    left: AtomicBool,
    /// When an exchange last ended here, in ticks.
    used: AtomicU64,
    settings: Settled,
    /// The only client's connection whose exchanges it carries, if that was said when it was opened.
    behalf: Option<Ends>,
}

/// Whether the endpoint's settings are here, for whoever asks.
#[derive(Debug)]
struct Settled {
    wanted: Arc<Notify>,
    here: watch::Receiver<bool>,
}

impl Connection {
    /// An exchange has ended here.
    pub(super) fn note_use(&self) {
        self.used.store(ticks(), Relaxed);
    }

    /// Comes back when the endpoint's settings are here, or nothing more comes over the connection.
    pub(super) fn settled(&self) -> impl Future<Output = ()> + use<> {
        self.settings.wanted.notify_one();
        let mut here = self.settings.here.clone();
        async move {
            let _ = here.wait_for(|here| *here).await;
        }
    }

    fn is_open(&self) -> bool {
        !self.driver.is_finished() && !self.left.load(Relaxed)
    }

    /// Nothing more is begun here.
    pub(super) fn leave(&self) {
        self.left.store(true, Relaxed);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Streams {
    pub(crate) fn new(workers: usize) -> Self {
        Self { held: (0..workers.max(1)).map(|_| Mutex::default()).collect() }
    }

    /// Room for one exchange over a new connection.
    ///
    /// # Errors
    /// Whatever connecting answers, or why there is no TLS; `TimedOut` after `patience`.
    pub(crate) async fn begin(
        &self,
        reach: &Reach,
        address: SocketAddr,
        behalf: Option<Ends>,
        patience: Duration,
    ) -> io::Result<Stream> {
        let (send, connection) = tokio::time::timeout(patience, connect(reach, address, behalf))
            .await
            .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let mut held = self.own();
        if !held.closed && held.serial == reach.serial {
            held.make_room(behalf);
            held.open.push((send.clone(), Arc::clone(&connection)));
        }
        Ok(Stream::new(send, connection))
    }

    /// Room for one exchange over a connection that is open.
    pub(crate) fn reuse(&self, behalf: Option<Ends>) -> Option<Stream> {
        let mut held = self.own();
        held.open.retain(|(_, connection)| connection.is_open());
        // One count is the pool's own.
        let has_room = |(send, connection): &&(SendRequest<Bytes>, Arc<Connection>)| {
            connection.behalf == behalf
                && Arc::strong_count(connection) <= MOST_STREAMS.min(send.current_max_send_streams())
        };
        let (send, connection) = held.open.iter().find(has_room)?;
        Some(Stream::new(send.clone(), Arc::clone(connection)))
    }

    /// Closes those without an exchange for too long, and forgets those that were closed.
    pub(crate) fn sweep(&self, oldest: Duration) {
        let (now, oldest) = (ticks(), span(oldest));
        for held in &self.held {
            let mut held = lock(held);
            held.open.retain(|(_, connection)| {
                // One count is the pool's own.
                let is_idle = Arc::strong_count(connection) == 1;
                let is_old = now.saturating_sub(connection.used.load(Relaxed)) >= oldest;
                connection.is_open() && !(is_idle && is_old)
            });
            if held.open.is_empty() {
                held.open.shrink_to_fit();
            }
        }
    }

    /// How many have no exchange.
    pub(crate) fn idle(&self) -> usize {
        let is_idle = |(_, connection): &&(_, Arc<Connection>)| Arc::strong_count(connection) == 1;
        self.held.iter().map(|held| lock(held).open.iter().filter(is_idle).count()).sum()
    }

    /// Keeps none from here on. Exchanges that are under way go on.
    pub(crate) fn close(&self) {
        for held in &self.held {
            let mut held = lock(held);
            held.closed = true;
            held.open.clear();
        }
    }

    /// Keeps those alone from here on that are opened by another `Reach`. Exchanges that are under way go on.
    pub(crate) fn begin_anew(&self, serial: u64) {
        for held in &self.held {
            let mut held = lock(held);
            held.serial = serial;
            held.open.clear();
        }
    }

    pub(crate) fn open(&self) {
        self.held.iter().for_each(|held| lock(held).closed = false);
    }

    /// Those of the worker that asks.
    fn own(&self) -> MutexGuard<'_, Held> {
        lock(&self.held[worker::index() % self.held.len()])
    }
}

fn lock(held: &Mutex<Held>) -> MutexGuard<'_, Held> {
    // Nothing in here panics half-way.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn connect(
    reach: &Reach,
    address: SocketAddr,
    behalf: Option<Ends>,
) -> io::Result<(SendRequest<Bytes>, Arc<Connection>)> {
    let wire = reach.open(address, behalf).await?;
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buffer_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(crate::upstream::MOST_HEAD).unwrap_or(u32::MAX));
    let (send, mut connection) = builder.handshake(wire).await.map_err(broken)?;
    let (wanted, (tell, here)) = (Arc::new(Notify::new()), watch::channel(false));
    let (asked, ping) = (Arc::clone(&wanted), connection.ping_pong());
    let driver = tokio::spawn(async move {
        // Settings are the first that an endpoint says: with the answer to a ping they are here.
        let settled = async {
            asked.notified().await;
            if let Some(mut ping) = ping {
                let _ = ping.ping(Ping::opaque()).await;
            }
        };
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = settled => {
                tell.send_replace(true);
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%address, %error, "a connection over HTTP/2 has ended");
        }
    });
    let (driver, left, used) = (driver.abort_handle(), AtomicBool::new(false), AtomicU64::new(ticks()));
    let settings = Settled { wanted, here };
    Ok((send, Arc::new(Connection { driver, left, used, settings, behalf })))
}
