//! The successor's side: what it asks for, what it begins with, and the line to the elder for as long as that lives.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pando_routing::balance::hash::SecretKey;
use pando_routing::{EndpointId, Table, TicketKey};
use pando_rt::fds;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::Door;
use super::line::{self, Estate, PATH, PROTOCOL, ToElder, ToSuccessor};
use crate::error::ProxyError;
use crate::listen::Listeners;
use crate::live::endpoint::Kept;
use crate::plane::Plane;

/// For the whole of what the elder tells.
const HEARING: Duration = Duration::from_secs(30);

/// What an elder has to leave once it was told; it stops accepting and counts.
const LEAVING: Duration = Duration::from_secs(5);

/// What an elder has to follow a table.
const FOLLOWING: Duration = Duration::from_secs(2);

/// Longer than the proxy itself waits for its successor.
const UPGRADING: Duration = Duration::from_secs(90);

const LARGEST_HEAD: usize = 4096;
const LARGEST_PROBLEM: u64 = 64 << 10;

/// The proxy that serves now, ready to be succeeded. It goes on serving if this is dropped.
#[derive(Debug)]
pub struct Predecessor {
    stream: UnixStream,
    estate: Estate,
    doors: Vec<(Door, TcpListener)>,
}

impl Predecessor {
    /// Asks the proxy at a control socket for all that it has. `None`: nobody is there.
    ///
    /// # Errors
    /// Somebody is there and does not hand over; why.
    pub async fn meet(control_socket: &Path) -> Result<Option<Self>, ProxyError> {
        let failed = |source| ProxyError::TakeOver { path: control_socket.to_owned(), source };
        let stream = match UnixStream::connect(control_socket).await {
            Ok(stream) => stream,
            Err(error) if is_nobody(&error) => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let hearing = timeout(HEARING, hear(stream)).await.map_err(|elapsed| failed(elapsed.into()))?;
        hearing.map(Some).map_err(failed)
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.estate.pid
    }

    /// Its listening sockets of that kind at an address (at any, for `None`), as they are. What is not taken ends with the elder.
    pub fn take(&mut self, door: Door, address: Option<SocketAddr>) -> Vec<TcpListener> {
        let is_wanted = |held: &(Door, TcpListener)| {
            held.0 == door && address.is_none_or(|address| held.1.local_addr().is_ok_and(|at| at == address))
        };
        let (taken, left) = std::mem::take(&mut self.doors).into_iter().partition(is_wanted);
        self.doors = left;
        let taken: Vec<(Door, TcpListener)> = taken;
        taken.into_iter().map(|(_, listener)| listener).collect()
    }

    pub(crate) fn part(self) -> (Inheritance, Waiting) {
        let Estate { table, balancing_key, ticket_keys, endpoints, pid, .. } = self.estate;
        let endpoints = endpoints.into_iter().map(|kept| (kept.id, kept)).collect();
        (Inheritance { table, balancing_key, ticket_keys, endpoints }, Waiting { stream: self.stream, pid })
    }
}

fn is_nobody(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Has the proxy at a control socket start its successor; the pid of that, once it serves.
///
/// # Errors
/// Nobody is there, or why the successor does not serve. The proxy that is there goes on then.
pub async fn upgrade(control_socket: &Path) -> Result<u32, ProxyError> {
    let path = || control_socket.to_owned();
    let failed = |source| ProxyError::Upgrade { path: path(), source };
    let mut stream = match UnixStream::connect(control_socket).await {
        Ok(stream) => stream,
        Err(source)
            if matches!(source.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) =>
        {
            return Err(ProxyError::NobodyThere { path: path(), source });
        }
        Err(source) => return Err(failed(source)),
    };
    let asking = async {
        let request =
            "POST /v1/upgrade HTTP/1.1\r\nhost: proxy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let head = read_head(&mut stream).await?;
        if !head.starts_with("HTTP/1.1 200 ") {
            return Err(refused(&head, &mut stream).await);
        }
        let answer: serde_json::Value = serde_json::from_slice(&read_body(&head, &mut stream).await)?;
        let pid = answer.get("pid").and_then(serde_json::Value::as_u64);
        Ok(pid.and_then(|pid| u32::try_from(pid).ok()).unwrap_or_default())
    };
    timeout(UPGRADING, asking).await.map_err(|elapsed| failed(elapsed.into()))?.map_err(failed)
}

async fn hear(mut stream: UnixStream) -> io::Result<Predecessor> {
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nhost: proxy\r\nconnection: upgrade\r\nupgrade: {PROTOCOL}\r\ncontent-length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await?;
    let head = read_head(&mut stream).await?;
    if !head.starts_with("HTTP/1.1 101 ") {
        return Err(refused(&head, &mut stream).await);
    }
    let estate: Estate = line::read(&mut stream).await?;
    let mut sockets = Vec::new();
    while sockets.len() < estate.doors.len() {
        let some = stream.async_io(Interest::READABLE, || fds::receive(&stream)).await?;
        if some.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it did not hand its sockets over"));
        }
        sockets.extend(some);
    }
    let listeners = Listeners::from_fds(sockets).map_err(io::Error::other)?;
    let doors = estate.doors.iter().copied().zip(listeners).collect();
    Ok(Predecessor { stream, estate, doors })
}

/// Byte by byte: what follows comes along with files, and must not be read here.
async fn read_head(stream: &mut UnixStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > LARGEST_HEAD {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "what answers there is no proxy"));
        }
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

async fn refused(head: &str, stream: &mut UnixStream) -> io::Error {
    let problem: Option<serde_json::Value> = serde_json::from_slice(&read_body(head, stream).await).ok();
    let told = problem.and_then(|problem| Some(problem.get("error")?.as_str()?.to_owned()));
    let status = head.split(' ').nth(1).unwrap_or_default();
    io::Error::other(told.unwrap_or_else(|| format!("it answers {status}; it may be too old to hand over")))
}

async fn read_body(head: &str, stream: &mut UnixStream) -> Vec<u8> {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<u64>().ok())?
    });
    let mut body = Vec::new();
    // What broke off is no JSON.
    let _ = stream.take(length.unwrap_or(0).min(LARGEST_PROBLEM)).read_to_end(&mut body).await;
    body
}

/// What a successor begins with.
#[derive(Debug)]
pub(crate) struct Inheritance {
    pub(crate) table: Option<Table>,
    pub(crate) balancing_key: SecretKey,
    pub(crate) ticket_keys: Vec<TicketKey>,
    pub(crate) endpoints: HashMap<EndpointId, Kept>,
}

/// The elder serves until it is told.
#[derive(Debug)]
pub(crate) struct Waiting {
    stream: UnixStream,
    pid: u32,
}

/// The elder that leaves: how tables reach it.
#[derive(Debug, Clone)]
pub(crate) struct Elder(mpsc::Sender<Relay>);

/// A table on its way to the elder.
#[derive(Debug)]
struct Relay {
    table: Arc<Table>,
    followed: oneshot::Sender<()>,
}

/// What keeps the line to the elder going.
#[derive(Debug)]
pub(crate) struct ElderLine {
    stream: UnixStream,
    relays: mpsc::Receiver<Relay>,
    pid: u32,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Left {
    /// The elder's last, if that is news.
    pub(crate) table: Option<Table>,
    /// Under way there.
    pub(crate) in_flight: BTreeMap<EndpointId, u64>,
    pub(crate) elder: Elder,
    pub(crate) line: ElderLine,
}

impl Waiting {
    /// Has the elder leave. `None`: it is gone.
    pub(crate) async fn serving(mut self) -> Option<Left> {
        let told = timeout(LEAVING, async {
            line::write(&mut self.stream, &ToElder::Serving).await?;
            line::read::<ToSuccessor>(&mut self.stream).await
        });
        match told.await {
            Ok(Ok(ToSuccessor::Leaving { table, in_flight })) => {
                let (orders, relays) = mpsc::channel(16);
                let line = ElderLine { stream: self.stream, relays, pid: self.pid };
                Some(Left { table: table.map(|table| *table), in_flight, elder: Elder(orders), line })
            }
            _ => {
                tracing::warn!(pid = self.pid, "the proxy before this one did not say that it leaves");
                None
            }
        }
    }
}

impl Elder {
    /// Comes back when the elder uses the table too, or is gone, or does not answer.
    pub(crate) async fn follow(&self, table: &Arc<Table>) {
        let (followed, done) = oneshot::channel();
        let relay = Relay { table: Arc::clone(table), followed };
        let following = async {
            if self.0.send(relay).await.is_ok() {
                // Dropped: the elder is gone.
                let _ = done.await;
            }
        };
        if timeout(FOLLOWING, following).await.is_err() {
            tracing::warn!("the proxy before this one does not follow a new table");
        }
    }

    /// Whether it has ended.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.is_closed()
    }

    pub(crate) async fn gone(&self) {
        self.0.closed().await;
    }
}

type Pending = Mutex<VecDeque<oneshot::Sender<()>>>;

impl ElderLine {
    /// Until the elder has ended.
    pub(crate) async fn run(self, plane: Arc<Plane>) {
        let Self { stream, relays, pid } = self;
        let (from, to) = stream.into_split();
        let pending = Pending::default();
        // Whichever ends first: the elder is gone.
        tokio::select! {
            () = pass_on(to, relays, &pending) => {}
            () = hear_out(from, &plane, &pending) => {}
        }
        plane.set_elsewhere(BTreeMap::new());
        tracing::info!(pid, "the proxy before this one has ended");
    }
}

async fn pass_on(mut to: OwnedWriteHalf, mut relays: mpsc::Receiver<Relay>, pending: &Pending) {
    while let Some(Relay { table, followed }) = relays.recv().await {
        pending.lock().unwrap_or_else(PoisonError::into_inner).push_back(followed);
        let message = ToElder::Table(Box::new(Table::clone(&table)));
        if line::write(&mut to, &message).await.is_err() {
            return;
        }
    }
    // Nobody has more to say; the other direction tells of the end.
    std::future::pending().await
}

async fn hear_out(mut from: OwnedReadHalf, plane: &Plane, pending: &Pending) {
    loop {
        match line::read(&mut from).await {
            Ok(ToSuccessor::InFlight(counts)) => plane.set_elsewhere(counts),
            Ok(ToSuccessor::Followed(_)) => {
                // They are answered in the order in which they were sent.
                if let Some(first) = pending.lock().unwrap_or_else(PoisonError::into_inner).pop_front() {
                    let _ = first.send(());
                }
            }
            Ok(ToSuccessor::Leaving { .. }) => {}
            Err(_) => return,
        }
    }
}
