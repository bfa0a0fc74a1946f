//! The control plane: its real loop and a real store, in a shell of virtual time.
//!
//! What the shell around `reconcile::step` does with threads and sockets is done
//! here with events: reads and writes of the store take a while, in which others
//! write too; reports wait their turn; long polls wait for what is published. The
//! store outlives every crash, everything else does not.

pub(crate) mod serve;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use futures_util::FutureExt;
use pando_control::reconcile::{self, Effect, State};
use pando_control::state::State as Loaded;
use pando_control::store::{Key, Outcome, Revision, Store, StoreError, Txn, memory};
use pando_model::assignment::Assignment;
use pando_model::desired::Settings;
use pando_model::id::{Entropy, InstanceId, ServerId};
use pando_model::server::Server;
use pando_model::time::Timestamp;
use pando_routing::{SecretMark, Secrets, Table, TicketKey};

use crate::dice::Dice;
use crate::machine;
use crate::message::Answer;
use crate::scenario::Sabotage;
use crate::trace::say;
use crate::world::{Event, World};
use serve::Waiter;

#[derive(Debug)]
pub(crate) struct Control {
    /// Where it runs.
    pub(crate) machine: usize,
    pub(crate) store: memory::Local,
    pub(crate) running: Option<Box<Running>>,
    /// Percent of reads and writes that fail.
    pub(crate) trouble: u64,
    boots: u64,
    dice: Dice,
    /// Steps of the loop.
    pub(crate) steps: u64,
}

/// What agents are to have, as last committed. What the real one adds to it, signatures, is left out: nobody forges anything here.
#[derive(Debug, Default)]
pub(crate) struct Published {
    assignments: BTreeMap<ServerId, Arc<Assignment>>,
    table: Option<Arc<Table>>,
    /// What the table goes with.
    secrets: Option<Arc<Secrets>>,
}

/// One start of the control plane.
#[derive(Debug)]
pub(crate) struct Running {
    boot: u64,
    /// How far its clock is ahead, in milliseconds.
    ahead: i64,
    pub(crate) state: State,
    seed: u64,
    inbox: VecDeque<Incoming>,
    doing: Option<Doing>,
    wake: u64,
    published: Published,
    waiters: BTreeMap<usize, Waiter>,
}

#[derive(Debug)]
enum Incoming {
    Event(reconcile::Event),
    /// The store is at this revision.
    Hint(Revision),
}

#[derive(Debug)]
enum Doing {
    Load,
    Commit(Txn),
}

#[derive(Debug)]
pub(crate) enum ControlEvent {
    /// The store has answered.
    Done,
    Hint(Revision),
    Wake(u64),
    /// The time of a long poll is over.
    PollOver(usize, u64),
}

impl Control {
    pub(crate) fn new(seed: u64) -> Self {
        let (store, dice) = (memory::Local::default(), Dice::new(seed, "control"));
        Self { machine: 0, store, running: None, trouble: 0, boots: 0, dice, steps: 0 }
    }

    /// Writes what `cluster init` does.
    pub(crate) fn found(&self, settings: &Settings, servers: &[&Server]) -> Result<(), StoreError> {
        let txn = Txn::new().put(Key::Epoch, &1_u64)?.put(Key::cluster_settings(), settings)?;
        let put = |txn: Txn, server: &&Server| txn.put(Key::ServerSpec(server.id), server);
        let txn = servers.iter().try_fold(txn, put)?;
        at_once(self.store.txn(txn)).map(|_| ())
    }

    pub(crate) fn load(&self) -> Result<Loaded, StoreError> {
        at_once(Loaded::load(&self.store))
    }

    pub(crate) fn write(&self, txn: Txn) -> Result<Outcome, StoreError> {
        at_once(self.store.txn(txn))
    }

    /// It is of the cluster, as the store has it.
    pub(crate) fn knows(&self, server: ServerId) -> bool {
        at_once(self.store.get(&Key::ServerSpec(server))).is_ok_and(|entry| entry.is_some())
    }

    /// The loop's state, once it has read the store.
    pub(crate) fn state(&self) -> Option<(&State, &Loaded)> {
        let state = &self.running.as_deref()?.state;
        Some((state, state.loaded.as_ref()?))
    }
}

/// The store of a simulation answers in the call itself.
fn at_once<T>(call: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    call.now_or_never().unwrap_or(Err(StoreError::TimedOut))
}

impl World {
    /// As its machine's wall clock was at its start, which may be wrong; steady since.
    pub(crate) fn control_now(&self) -> Timestamp {
        let ahead = match self.control.running.as_deref() {
            Some(running) => running.ahead,
            None => self.machines[self.control.machine].clock,
        };
        machine::clock(self.now, ahead)
    }

    pub(crate) fn start_control(&mut self) {
        let (now, ahead) = (self.control_now(), self.machines[self.control.machine].clock);
        let control = &mut self.control;
        control.boots += 1;
        let seed = control.dice.word();
        control.running = Some(Box::new(Running {
            boot: control.boots,
            ahead,
            state: State::new(now),
            seed,
            inbox: VecDeque::new(),
            doing: None,
            wake: 0,
            published: Published::default(),
            waiters: BTreeMap::new(),
        }));
        say!(self, "control", "starts");
        self.control_hears(Incoming::Event(reconcile::Event::Tick));
    }

    /// Its process ends in the middle of everything. What it was writing is written, or not.
    pub(crate) fn end_control(&mut self, reachable: bool) {
        let Some(running) = self.control.running.take() else { return };
        say!(self, "control", "is killed");
        if let Some(Doing::Commit(txn)) = running.doing
            && self.control.dice.chance(50)
        {
            // Nobody hears how it went.
            drop(self.control.write(txn));
        }
        for waiter in running.waiters.into_values().filter(|_| reachable) {
            self.answer(self.control.machine, waiter.caller, Answer::Away);
        }
    }

    /// Somebody else has written.
    pub(crate) fn hint_control(&mut self, revision: Revision) {
        let at = self.now + self.control.dice.between(0, 5);
        self.put_control(at, ControlEvent::Hint(revision));
    }

    fn put_control(&mut self, at: u64, event: ControlEvent) {
        if let Some(running) = &self.control.running {
            self.queue.put(at, Event::Control(running.boot, event));
        }
    }

    pub(crate) fn control_event(&mut self, boot: u64, event: ControlEvent) {
        let Some(running) = self.control.running.as_deref().filter(|running| running.boot == boot) else {
            return;
        };
        match event {
            ControlEvent::Done => self.store_answers(),
            ControlEvent::Hint(revision) => self.control_hears(Incoming::Hint(revision)),
            ControlEvent::Wake(turn) if turn == running.wake => {
                self.control_hears(Incoming::Event(reconcile::Event::Tick));
            }
            ControlEvent::Wake(_) => {}
            ControlEvent::PollOver(machine, call) => self.poll_over(machine, call),
        }
    }

    fn control_hears(&mut self, incoming: Incoming) {
        if let Some(running) = self.control.running.as_deref_mut() {
            running.inbox.push_back(incoming);
        }
        self.control_works();
    }

    /// One event after another, until the store must be waited for.
    fn control_works(&mut self) {
        loop {
            let Some(running) = self.control.running.as_deref_mut() else { return };
            if running.doing.is_some() {
                return;
            }
            let Some(incoming) = running.inbox.pop_front() else { return };
            let event = match incoming {
                Incoming::Event(event) => event,
                Incoming::Hint(revision) if running.knows(revision) => continue,
                Incoming::Hint(_) => reconcile::Event::StoreChanged,
            };
            self.control_steps(event);
        }
    }

    fn control_steps(&mut self, event: reconcile::Event) {
        let now = self.control_now();
        let Some(running) = self.control.running.as_deref_mut() else { return };
        running.seed = Entropy::from_seed(running.seed).next_u64();
        self.control.steps += 1;
        let learns = matches!(event, reconcile::Event::Committed(_) | reconcile::Event::Loaded(_));
        let effects = reconcile::step(&mut running.state, event, now, running.seed);
        if learns {
            self.note_decisions();
        }
        for effect in effects {
            self.carry_out(effect);
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let now = self.control_now();
        match effect {
            Effect::Load => self.control_does(Doing::Load),
            Effect::Commit(txn) => {
                self.note_live_proxies();
                self.control_does(Doing::Commit(txn));
            }
            Effect::Publish => self.publish(),
            Effect::Show => {}
            Effect::Advance(length) => {
                say!(self, "control", "its clock is moved on by {} ms", length.0);
                let Some(running) = self.control.running.as_deref_mut() else { return };
                running.ahead += i64::try_from(length.0).unwrap_or(i64::MAX);
            }
            Effect::WakeAt(at) => {
                let Some(running) = self.control.running.as_deref_mut() else { return };
                running.wake += 1;
                let (turn, at) = (running.wake, self.now + at.since(now).0);
                self.put_control(at, ControlEvent::Wake(turn));
            }
        }
    }

    fn control_does(&mut self, doing: Doing) {
        let slow = self.machines[self.control.machine].slowness;
        let at = self.now + self.control.dice.between(0, 4) * slow;
        if let Some(running) = self.control.running.as_deref_mut() {
            running.doing = Some(doing);
        }
        self.put_control(at, ControlEvent::Done);
    }

    fn store_answers(&mut self) {
        let Some(running) = self.control.running.as_deref_mut() else { return };
        let Some(doing) = running.doing.take() else { return };
        let fails = self.control.dice.chance(self.control.trouble);
        // A write that failed may still have been done.
        let done = !fails || self.control.dice.chance(50);
        let answer = match doing {
            Doing::Load => self.read_store().map(|loaded| reconcile::Event::Loaded(Box::new(loaded))),
            Doing::Commit(txn) if done => self.control.write(txn).map(reconcile::Event::Committed),
            Doing::Commit(_) => Err(StoreError::TimedOut),
        };
        let event = match answer {
            Ok(event) if !fails => event,
            _ => reconcile::Event::StoreFailed,
        };
        if event == reconcile::Event::StoreFailed {
            say!(self, "control", "the store fails");
        }
        self.control_steps(event);
        self.control_works();
    }

    fn read_store(&mut self) -> Result<Loaded, StoreError> {
        let mut loaded = self.control.load()?;
        if self.scenario.sabotage == Some(Sabotage::DoublingStore) {
            let id = InstanceId::from_uuid(self.dice.uuid());
            let instances = loaded.world.apps.values_mut().map(|app| &mut app.assigned.instances);
            if let Some(instances) = instances.into_iter().find(|instances| !instances.is_empty())
                && let Some(one) = instances.values().next().cloned()
            {
                instances.insert(id, one);
            }
        }
        Ok(loaded)
    }

    /// Tells the agents what was committed; what did not change keeps its `Arc`.
    fn publish(&mut self) {
        let Some(running) = self.control.running.as_deref_mut() else { return };
        let Some(loaded) = &running.state.loaded else { return };
        let (world, held) = (&loaded.world, &running.published);
        let same =
            held.table.as_ref().map(|held| held.version) == world.table.as_ref().map(|new| new.version);
        let fits = world.secrets == world.table_secrets;
        let (table, secrets) = match &world.table {
            Some(table) if !same && fits => marked(table, &world.secrets),
            // The one that goes with the secrets that there are is about to be made.
            _ => (held.table.clone(), held.secrets.clone()),
        };
        let kept = |server: &ServerId, assignment: &Assignment| {
            held.assignments.get(server).filter(|kept| ***kept == *assignment)
        };
        let assignments = world.assignments.iter().map(|(server, assignment)| {
            (*server, kept(server, assignment).cloned().unwrap_or_else(|| Arc::new(assignment.clone())))
        });
        running.published = Published { assignments: assignments.collect(), table, secrets };
        self.check_published();
        self.serve_waiters();
    }
}

/// A table and the secret part that it goes with.
fn marked(table: &Table, mark: &SecretMark) -> (Option<Arc<Table>>, Option<Arc<Secrets>>) {
    let mut key = [0; 32];
    key.iter_mut().zip(mark.0.bytes()).for_each(|(to, from)| *to = from);
    let ticket_keys = vec![TicketKey(key)];
    let secrets = Secrets { mark: mark.clone(), ticket_keys, ..Secrets::default() };
    (Some(Arc::new(table.marked(mark.clone()))), Some(Arc::new(secrets)).filter(|_| !mark.is_empty()))
}

impl Running {
    fn knows(&self, revision: Revision) -> bool {
        self.state.loaded.as_ref().is_some_and(|loaded| loaded.revision >= revision)
    }
}
