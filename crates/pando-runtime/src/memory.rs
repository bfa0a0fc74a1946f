//! A runtime without processes, for tests and simulation: what runs do is scripted, and time passes when told to.
//!
//! Everything is driven by calls; nothing happens by itself. The world (what runs, what ended, what was forgotten) is apart
//! from the runtime, as a machine is from its daemon: [`MemoryRuntime::reopen`] gives a runtime over the same world.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pando_model::observed::ExitReport;
use pando_model::time::{Millis, Timestamp};
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::run::{Held, RunEvent, RunKey, RunSpec, Runtime, RuntimeError, StartError};

/// Events that may wait; a simulation reads them after each step.
const EVENTS: usize = 64 * 1024;

/// What runs of a command do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Script {
    /// Run until SIGTERM, and end by it at once. What commands without a script do.
    Run,
    /// Run, and end by SIGKILL only.
    IgnoreSigterm,
    /// End as soon as they have started.
    End(ExitReport),
    /// Can't be started, for this reason.
    Refuse(String),
}

/// A [`Runtime`] in memory. Clones share one world and one stream of events.
#[derive(Debug, Clone)]
pub struct MemoryRuntime {
    world: Arc<Mutex<World>>,
    opening: u64,
    events: Arc<Mutex<Option<mpsc::Receiver<RunEvent>>>>,
}

#[derive(Debug)]
struct World {
    now: Timestamp,
    runs: BTreeMap<RunKey, Run>,
    forgotten: BTreeMap<Uuid, u32>,
    scripts: BTreeMap<String, Script>,
    taken: BTreeSet<SocketAddr>,
    warnings: Vec<String>,
    next_pid: u32,
    /// Where ends are told: to the last runtime that was opened.
    events: mpsc::Sender<RunEvent>,
    opening: u64,
}

#[derive(Debug)]
struct Run {
    held: Held,
    kill_at: Option<Timestamp>,
    /// The opening whose runtime knows of it, and so tells its end.
    known_to: u64,
}

impl Default for MemoryRuntime {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryRuntime {
    /// A world in which nothing runs, at the beginning of time.
    #[must_use]
    pub fn new() -> Self {
        let (sender, receiver) = mpsc::channel(EVENTS);
        let world = World {
            now: Timestamp::from_millis(0),
            runs: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            scripts: BTreeMap::new(),
            taken: BTreeSet::new(),
            warnings: Vec::new(),
            next_pid: 1000,
            events: sender,
            opening: 0,
        };
        Self { world: Arc::new(Mutex::new(world)), opening: 0, events: Arc::new(Mutex::new(Some(receiver))) }
    }

    /// A runtime over the same world, as after a restart of the daemon: runs go on, ends are told to the new one for what it
    /// has started or adopted. Calls of the old one must not follow.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let (sender, receiver) = mpsc::channel(EVENTS);
        let mut world = self.world();
        world.events = sender;
        world.opening += 1;
        let opening = world.opening;
        Self { world: Arc::clone(&self.world), opening, events: Arc::new(Mutex::new(Some(receiver))) }
    }

    /// From now on runs of `command` do this.
    pub fn script(&self, command: &str, script: Script) {
        self.world().scripts.insert(command.to_owned(), script);
    }

    /// Something foreign listens on `address`, or no longer does.
    pub fn set_taken(&self, address: SocketAddr, taken: bool) {
        let mut world = self.world();
        if taken {
            world.taken.insert(address);
        } else {
            world.taken.remove(&address);
        }
    }

    pub fn set_warnings(&self, warnings: Vec<String>) {
        self.world().warnings = warnings;
    }

    /// Ends a run by itself, such as by a crash. False: it doesn't run.
    pub fn end(&self, key: RunKey, exit: ExitReport) -> bool {
        self.world().end(key, exit)
    }

    /// Every run is lost, as by a restart of the machine: nobody saw the ends. They are told when adopted, not as events.
    pub fn restart_machine(&self) {
        for run in self.world().runs.values_mut().filter(|run| run.held.exit.is_none()) {
            (run.held.exit, run.held.pid) = (Some(exit(None, None)), None);
        }
    }

    /// Lets time go by: what was to be killed by then is.
    pub fn pass(&self, time: Millis) {
        let mut world = self.world();
        world.now = world.now + time;
        let now = world.now;
        let due = |run: &Run| run.held.exit.is_none() && run.kill_at.is_some_and(|at| at <= now);
        let due: Vec<RunKey> = world.runs.iter().filter(|(_, run)| due(run)).map(|(key, _)| *key).collect();
        for key in due {
            world.end(key, exit(None, Some(9)));
        }
    }

    /// The time in this world, from 0.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.world().now
    }

    /// The runs that run, by key.
    #[must_use]
    pub fn running(&self) -> Vec<RunSpec> {
        let world = self.world();
        let running = world.runs.values().filter(|run| run.held.exit.is_none());
        running.map(|run| run.held.spec.clone()).collect()
    }

    /// When the next run is killed, unless it ends before.
    #[must_use]
    pub fn next_kill(&self) -> Option<Millis> {
        let world = self.world();
        let running = world.runs.values().filter(|run| run.held.exit.is_none());
        running.filter_map(|run| run.kill_at).min().map(|at| at.since(world.now))
    }

    fn world(&self) -> MutexGuard<'_, World> {
        // A test that panicked elsewhere is the one to report.
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn exit(code: Option<i32>, signal: Option<i32>) -> ExitReport {
    ExitReport { code, signal, out_of_memory: false, last_lines: Vec::new() }
}

impl World {
    fn end(&mut self, key: RunKey, exit: ExitReport) -> bool {
        let opening = self.opening;
        let Some(run) = self.runs.get_mut(&key).filter(|run| run.held.exit.is_none()) else { return false };
        (run.held.exit, run.held.pid) = (Some(exit.clone()), None);
        if run.known_to == opening {
            // Closed: nobody wants to know. Full: whoever lets so many wait has a bug that its own assertions show.
            let _ = self.events.try_send(RunEvent::Ended { key, exit });
        }
        true
    }

    fn start(&mut self, spec: RunSpec, opening: u64) -> Result<Held, StartError> {
        let key = spec.key;
        if let Some(run) = self.runs.get_mut(&key) {
            run.known_to = opening;
            return Ok(run.held.clone());
        }
        let refused = |why: String| StartError::Refused { command: spec.command.clone(), why };
        if self.used_up(key) {
            return Err(refused("it was ended and forgotten, or a later start is known".to_owned()));
        }
        if let Some(address) = spec.port.filter(|address| self.listens(*address)) {
            return Err(StartError::PortTaken(address));
        }
        let script = self.scripts.get(&spec.command).cloned().unwrap_or(Script::Run);
        if let Script::Refuse(why) = script {
            return Err(refused(why));
        }
        self.next_pid += 1;
        let held = Held { spec, pid: Some(self.next_pid), exit: None, unmounted: Vec::new() };
        self.runs.insert(key, Run { held: held.clone(), kill_at: None, known_to: opening });
        if let Script::End(exit) = script {
            self.end(key, exit);
        }
        Ok(held)
    }

    fn listens(&self, address: SocketAddr) -> bool {
        let runs = |run: &Run| run.held.exit.is_none() && run.held.spec.port == Some(address);
        self.taken.contains(&address) || self.runs.values().any(runs)
    }

    fn used_up(&self, key: RunKey) -> bool {
        let held = self.runs.keys().any(|held| held.id == key.id && held.attempt > key.attempt);
        held || self.forgotten.get(&key.id).is_some_and(|highest| *highest >= key.attempt)
    }

    fn stop(&mut self, key: RunKey, timeout: Millis) {
        let kill_at = self.now + timeout;
        let Some(run) = self.runs.get_mut(&key).filter(|run| run.held.exit.is_none()) else { return };
        run.kill_at = Some(run.kill_at.map_or(kill_at, |old| old.min(kill_at)));
        let ignores = self.scripts.get(&run.held.spec.command) == Some(&Script::IgnoreSigterm);
        match (ignores, timeout) {
            (false, _) => self.end(key, exit(None, Some(15))),
            (true, Millis::ZERO) => self.end(key, exit(None, Some(9))),
            (true, _) => false,
        };
    }
}

impl Runtime for MemoryRuntime {
    async fn start(&self, spec: RunSpec) -> Result<Held, StartError> {
        self.world().start(spec, self.opening)
    }

    async fn stop(&self, key: RunKey, timeout: Millis) -> Result<(), RuntimeError> {
        self.world().stop(key, timeout);
        Ok(())
    }

    async fn adopt(&self) -> Result<Vec<Held>, RuntimeError> {
        let mut world = self.world();
        for run in world.runs.values_mut() {
            run.known_to = self.opening;
        }
        Ok(world.runs.values().map(|run| run.held.clone()).collect())
    }

    async fn forget(&self, key: RunKey) -> Result<(), RuntimeError> {
        let mut world = self.world();
        match world.runs.get(&key) {
            None => return Ok(()),
            Some(run) if run.held.exit.is_none() => {
                let source =
                    std::io::Error::new(std::io::ErrorKind::ResourceBusy, "it still runs; stop it first");
                return Err(RuntimeError::Io {
                    what: format!("forget run {}.{}", key.id, key.attempt),
                    source,
                });
            }
            Some(_) => {}
        }
        world.runs.remove(&key);
        let highest = world.forgotten.entry(key.id).or_default();
        *highest = key.attempt.max(*highest);
        Ok(())
    }

    fn events(&self) -> Option<mpsc::Receiver<RunEvent>> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn warnings(&self) -> Vec<String> {
        self.world().warnings.clone()
    }
}
