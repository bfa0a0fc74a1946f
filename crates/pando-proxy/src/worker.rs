//! Threads that serve: one a core, each with its own event loop, its own listeners and its own connections.
//!
//! A connection stays on one thread with all that it takes to answer it, so that nothing on the way of a request is
//! shared but counters and the table. The kernel spreads new connections over the listeners; where it does so unevenly, or there
//! are fewer listeners than workers, connections are handed over as they are accepted.

mod accept;
mod guests;
mod share;
mod waiting;

pub(crate) use waiting::make_room;

use std::cell::Cell;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::access_log;
use crate::plane::Plane;
use crate::serve::Entrance;
use guests::{Bounded, Guests};
use share::{Handed, Shares};

/// Connections that were handed over and not taken yet.
const HANDED: usize = 1024;

pub(crate) use waiting::Presence;

thread_local! {
    static INDEX: Cell<usize> = const { Cell::new(0) };
}

/// Which worker this thread is; 0 on any other thread.
pub(crate) fn index() -> usize {
    INDEX.get()
}

/// The threads. They go on until told that it is over.
#[derive(Debug)]
pub(crate) struct Workers {
    threads: Vec<JoinHandle<()>>,
    open: Shutdown,
    over: Shutdown,
}

/// What all workers have in common.
#[derive(Debug, Clone)]
struct Common {
    plane: Arc<Plane>,
    clients: Tasks,
    room: Arc<Semaphore>,
    guests: Option<Arc<Guests>>,
    shares: Arc<Shares>,
    /// Begins when connections are taken.
    open: Shutdown,
    over: Shutdown,
}

impl Workers {
    /// Starts as many as the plane says; they take no connection until they are [opened](Self::open). Their connections are
    /// tasks of `clients`; there are at most as many as the plane's limits say.
    ///
    /// # Errors
    /// A thread or an event loop can't be had.
    pub(crate) async fn start(
        listeners: Vec<(TcpListener, Entrance)>,
        plane: &Arc<Plane>,
        clients: &Tasks,
    ) -> io::Result<Self> {
        let count = plane.workers.max(1);
        let (doors, queues): (Vec<_>, Vec<_>) = (0..count).map(|_| mpsc::channel(HANDED)).unzip();
        let (open, over) = (Shutdown::new(), Shutdown::new());
        let common = Common {
            plane: Arc::clone(plane),
            clients: clients.clone(),
            room: Arc::new(Semaphore::new(plane.limits.connections.min(Semaphore::MAX_PERMITS))),
            guests: plane.limits.connections_per_address.map(Guests::new),
            shares: Arc::new(Shares::new(doors, is_spread(&listeners, count))),
            open: open.clone(),
            over: over.clone(),
        };
        let mut workers = Self { threads: Vec::with_capacity(count), open, over };
        let mut dealt: Vec<Vec<(TcpListener, Entrance)>> = (0..count).map(|_| Vec::new()).collect();
        for (n, listener) in listeners.into_iter().enumerate() {
            dealt[n % count].push(listener);
        }
        for (n, (queue, listeners)) in queues.into_iter().zip(dealt).enumerate() {
            let (started, start) = oneshot::channel();
            let common = common.clone();
            let thread = std::thread::Builder::new().name(format!("pando-worker-{n}"));
            workers.threads.push(thread.spawn(move || work(n, listeners, queue, common, started))?);
            start.await.map_err(io::Error::other)??;
        }
        Ok(workers)
    }

    /// From here on connections are taken.
    pub(crate) fn open(&self) {
        self.open.begin();
    }

    /// Ends what is still there, and the threads.
    pub(crate) async fn end(self) {
        self.over.begin();
        for thread in self.threads {
            // A thread that panicked has said so.
            let _ = tokio::task::spawn_blocking(move || thread.join().is_ok()).await;
        }
    }
}

/// Whether every worker gets a listener of its own at each address.
fn is_spread(listeners: &[(TcpListener, Entrance)], workers: usize) -> bool {
    let mut counts: HashMap<Option<SocketAddr>, usize> = HashMap::new();
    for (listener, _) in listeners {
        *counts.entry(listener.local_addr().ok()).or_default() += 1;
    }
    counts.values().all(|count| *count >= workers)
}

fn work(
    n: usize,
    listeners: Vec<(TcpListener, Entrance)>,
    queue: mpsc::Receiver<Handed>,
    common: Common,
    started: oneshot::Sender<io::Result<()>>,
) {
    INDEX.set(n);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return drop(started.send(Err(error))),
    };
    runtime.block_on(async {
        let begun = begin(listeners, queue, &common);
        let goes_on = begun.is_ok();
        let _ = started.send(begun);
        if goes_on {
            tokio::select! {
                () = common.over.wait() => {}
                // It never ends by itself.
                () = access_log::gather(common.plane.log.clone()) => {}
            }
        }
    });
    // Closes every connection that is left.
    drop(runtime);
    if let Some(log) = &common.plane.log {
        log.flush();
    }
}

fn begin(
    listeners: Vec<(TcpListener, Entrance)>,
    queue: mpsc::Receiver<Handed>,
    common: &Common,
) -> io::Result<()> {
    for (listener, entrance) in listeners {
        let listener = crate::listen::into_async(listener)?;
        common.clients.spawn(accept::accept(listener, entrance, common.clone()));
    }
    common.clients.spawn(accept::receive(queue, common.clone()));
    Ok(())
}

/// A connection that was accepted, and its seat.
#[derive(Debug)]
struct Accepted {
    tcp: tokio::net::TcpStream,
    address: SocketAddr,
    entrance: Entrance,
    guest: Bounded,
    seat: Option<tokio::sync::OwnedSemaphorePermit>,
}
