//! An engine behind a bounded queue: one writer thread, and a reader thread where the engine allows it.
//!
//! The threads belong to the store and end with it.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::engine::Engine;
use super::hub::{Hub, Watch};
use super::leases::Leases;
use super::{DEADLINE, LeaseId, Outcome, Range, Reading, Revision, Store, StoreError, Txn};

/// How many calls may wait for one thread; more wait to be let in.
const QUEUE: usize = 256;

/// A store whose calls are carried out by threads of its own.
pub struct ServedStore {
    writer: Queue,
    reader: Option<Queue>,
    hub: Hub,
}

impl fmt::Debug for ServedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedStore").finish_non_exhaustive()
    }
}

type Reply<T> = oneshot::Sender<Result<T, StoreError>>;

enum Command {
    Read(Vec<Range>, Reply<Reading>),
    Txn(Txn, Reply<Outcome>),
    Grant(Duration, Reply<LeaseId>),
    KeepAlive(LeaseId, Reply<()>),
    Revoke(LeaseId, Reply<()>),
}

/// A command with its place in the queue, or the end of the thread.
type Message = Option<(Command, OwnedSemaphorePermit)>;

/// A thread and the way to it.
struct Queue {
    places: Arc<Semaphore>,
    commands: mpsc::Sender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Queue {
    fn start(
        name: &str,
        work: impl FnOnce(&mpsc::Receiver<Message>) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (commands, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name(name.to_owned())
            // Neither recursion nor large frames here; the default of 2 MiB would be for nothing.
            .stack_size(512 * 1024)
            .spawn(move || work(&receiver))
            .map_err(|source| StoreError::Failed { doing: "starting its threads", source: source.into() })?;
        Ok(Self { places: Arc::new(Semaphore::new(QUEUE)), commands, thread: Mutex::new(Some(thread)) })
    }

    /// Lets nobody in any more and waits until the thread has done what it was asked before.
    fn end(&self) {
        self.places.close();
        // A thread that ended already needs no word.
        let _ = self.commands.send(None);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a thread of the store had panicked");
        }
    }

    async fn call<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, StoreError> {
        let whole = async {
            let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| StoreError::Closed)?;
            let (reply, answer) = oneshot::channel();
            let message = Some((command(reply), place));
            self.commands.send(message).map_err(|_| StoreError::Closed)?;
            answer.await.map_err(|_| StoreError::Closed)?
        };
        tokio::time::timeout(DEADLINE, whole).await.map_err(|_| StoreError::TimedOut)?
    }
}

impl ServedStore {
    /// With a `reader`, reads go on while a write waits for the disk.
    pub(crate) fn start<E: Engine>(mut engine: E, reader: Option<E>) -> Result<Self, StoreError> {
        let hub = Hub::default();
        hub.begin_at(engine.read(&[])?.revision);
        let mut leases = Leases::default();
        for (id, ttl) in engine.leases()? {
            leases.begin(id, ttl, Instant::now());
        }
        let work = Writer { engine, leases, hub: hub.clone() };
        let writer = Queue::start("store-write", move |commands| work.run(commands))?;
        let reader = reader
            .map(|mut engine| Queue::start("store-read", move |commands| serve_reads(&mut engine, commands)));
        Ok(Self { writer, reader: reader.transpose()?, hub })
    }
}

impl Drop for ServedStore {
    /// Waits for what was begun, at most a few writes; then the threads have ended and the file is closed.
    fn drop(&mut self) {
        self.hub.close();
        // The writer goes last: closing the file, it writes the log back, which a reader that is still there would prevent.
        if let Some(reader) = &self.reader {
            reader.end();
        }
        self.writer.end();
    }
}

impl Store for ServedStore {
    fn read(&self, ranges: Vec<Range>) -> BoxFuture<'_, Result<Reading, StoreError>> {
        let queue = self.reader.as_ref().unwrap_or(&self.writer);
        queue.call(|reply| Command::Read(ranges, reply)).boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        async move {
            txn.check()?;
            self.writer.call(|reply| Command::Txn(txn, reply)).await
        }
        .boxed()
    }

    fn watch(&self, prefix: &str, from: Revision) -> Watch {
        self.hub.watch(prefix, from)
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, StoreError>> {
        self.writer.call(move |reply| Command::Grant(ttl, reply)).boxed()
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.writer.call(move |reply| Command::KeepAlive(lease, reply)).boxed()
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.writer.call(move |reply| Command::Revoke(lease, reply)).boxed()
    }
}

fn serve_reads<E: Engine>(engine: &mut E, commands: &mpsc::Receiver<Message>) {
    while let Ok(Some((command, _place))) = commands.recv() {
        if let Command::Read(ranges, reply) = command {
            answer(reply, engine.read(&ranges));
        }
    }
}

/// A caller that no longer waits needs no answer.
fn answer<T>(reply: Reply<T>, result: Result<T, StoreError>) {
    drop(reply.send(result));
}

struct Writer<E> {
    engine: E,
    leases: Leases,
    hub: Hub,
}

impl<E: Engine> Writer<E> {
    fn run(mut self, commands: &mpsc::Receiver<Message>) {
        loop {
            self.end_leases();
            let wait = self.leases.next().map(|at| at.saturating_duration_since(Instant::now()));
            let received = match wait {
                None => commands.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
                Some(wait) => commands.recv_timeout(wait),
            };
            match received {
                Ok(Some((command, _place))) => self.carry_out(command),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Ok(None) | Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        }
    }

    fn carry_out(&mut self, command: Command) {
        match command {
            Command::Read(ranges, reply) => answer(reply, self.engine.read(&ranges)),
            Command::Txn(txn, reply) => {
                let applied = self.engine.txn(txn);
                if let Ok(applied) = &applied
                    && let Outcome::Committed(revision) = applied.outcome
                    && !applied.keys.is_empty()
                {
                    self.hub.tell(revision, &applied.keys);
                }
                answer(reply, applied.map(|applied| applied.outcome));
            }
            Command::Grant(ttl, reply) => {
                let granted = self.engine.grant(ttl);
                if let Ok(id) = granted {
                    self.leases.begin(id, ttl, Instant::now());
                }
                answer(reply, granted);
            }
            Command::KeepAlive(lease, reply) => {
                let kept = self.leases.keep(lease, Instant::now());
                answer(reply, if kept { Ok(()) } else { Err(StoreError::NoLease(lease)) });
            }
            Command::Revoke(lease, reply) => answer(reply, self.revoke(lease)),
        }
    }

    fn revoke(&mut self, lease: LeaseId) -> Result<(), StoreError> {
        let (revision, keys) = self.engine.revoke(lease)?;
        self.leases.end(lease);
        if !keys.is_empty() {
            self.hub.tell(revision, &keys);
        }
        Ok(())
    }

    fn end_leases(&mut self) {
        let now = Instant::now();
        for lease in self.leases.due(now) {
            if let Err(error) = self.revoke(lease) {
                let error = pando_rt::error_chain::error_chain(&error);
                tracing::warn!("lease {lease} has ended, but its keys can't be deleted yet: {error}");
                // Tried again after its time once more, rather than at once and forever.
                self.leases.keep(lease, now);
            }
        }
    }
}
