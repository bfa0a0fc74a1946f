//! The agent: its real state machine, in a shell of virtual time.
//!
//! Each effect takes a while and is answered by an event, as in the real shell;
//! what was under way when the daemon ends is never answered.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt;
use pando_agent::ledger::Ledger;
use pando_agent::line::{self, Line};
use pando_agent::proxy::view::{Pushed, Sent};
use pando_agent::reconcile::{Effect, Event as AgentInput, Facts, ReleaseKey, Site, State, step};
use pando_model::assignment::{Assignment, Entry};
use pando_model::time::Timestamp;
use pando_routing::ProxyStats;
use pando_runtime::{RunKey, RunSpec, Runtime};
use uuid::Uuid;

use super::checks::Check;
use super::detour::Detour;
use super::link::Link;
use super::releases::{self, Job};
use super::talk::{Poller, Reporter};
use crate::scenario::Sabotage;
use crate::trace::say;
use crate::world::{Event, World};

#[derive(Debug)]
pub(crate) struct Daemon {
    pub(crate) boot: u64,
    /// As reports name this start.
    pub(crate) id: Uuid,
    pub(crate) state: State,
    /// How far its clock is ahead: as the wall clock was at its start, steady since.
    clock: i64,
    wake: Option<Timestamp>,
    wake_turn: u64,
    pub(crate) facts: Option<Arc<Facts>>,
    pub(crate) reporter: Reporter,
    pub(crate) poller: Poller,
    pub(crate) link: Link,
    pub(crate) line: Line,
    pub(crate) line_turn: u64,
    pub(crate) detour: Detour,
    /// How requests from outside are to be taken; `None`: not known yet.
    pub(crate) entry: Option<Option<Entry>>,
    pub(crate) checks: BTreeMap<RunKey, Check>,
    pub(crate) jobs: BTreeMap<ReleaseKey, Job>,
    pub(crate) calls: u64,
    pub(crate) turns: u64,
}

/// What happens to one start of an agent.
#[derive(Debug)]
pub(crate) enum AgentEvent {
    Feed(Box<AgentInput>),
    Wake(u64),
    Start(Box<RunSpec>),
    Written(Box<Ledger>),
    CheckDue(RunKey, u64),
    JobStep(ReleaseKey, u64),
    Poll,
    ReportDue(u64),
    /// Nobody has answered this call.
    CallOver(u64),
    Push(u64),
    /// For the link as it was switched on for the n-th time; so the next two.
    Pushed(u64, Sent, Pushed),
    AskProxy(u64),
    Polled(u64, Option<Box<ProxyStats>>),
    KeepEntry,
    LineTick(u64),
    /// Those who were asked instead of the control plane have had their time.
    RoundOver(u64),
}

impl World {
    pub(crate) fn start_daemon(&mut self, at: usize) {
        if self.machines[at].daemon.is_some() {
            return;
        }
        let (id, seed) = (self.dice.uuid(), self.dice.word());
        let machine = &mut self.machines[at];
        machine.daemon_boots += 1;
        machine.runtime = machine.runtime.reopen();
        machine.ends = machine.runtime.events();
        let held = machine.runtime.adopt().now_or_never().and_then(Result::ok).unwrap_or_default();
        let site = Site {
            server: machine.id,
            releases: PathBuf::from("/releases"),
            address: machine.address,
            users: false,
            proxy: true,
            keeps_entry: true,
            images: String::new(),
        };
        let ledger = machine.disk.ledger.clone();
        let remembered = ledger.assignment.version;
        let poller = Poller::new(remembered);
        let link = Link::new(&machine.disk, ledger.assignment.entry, &machine.name);
        let releases = machine.disk.found();
        machine.daemon = Some(Box::new(Daemon {
            boot: machine.daemon_boots,
            id,
            state: State::new(site, ledger, seed),
            clock: machine.clock,
            wake: None,
            wake_turn: 0,
            facts: None,
            reporter: Reporter::new(self.now),
            poller,
            link,
            line: Line::default(),
            line_turn: 0,
            detour: Detour::default(),
            entry: None,
            checks: BTreeMap::new(),
            jobs: BTreeMap::new(),
            calls: 0,
            turns: 0,
        }));
        say!(self, self.machines[at].name, "the daemon starts");
        self.check_in_force(at, remembered);
        self.feed(at, AgentInput::Adopted { held, releases });
        self.put_agent(at, 0, AgentEvent::Poll);
        self.begin_asking_proxy(at);
        self.arm_reporter(at);
    }

    /// For the start of the daemon that is running now; later ones don't hear of it.
    pub(crate) fn put_agent(&mut self, at: usize, after: u64, event: AgentEvent) {
        if let Some(daemon) = &self.machines[at].daemon {
            self.queue.put(self.now + after, Event::Agent(at, daemon.boot, event));
        }
    }

    /// As [`World::put_agent`], after a while that is longer on a slow machine.
    pub(crate) fn put_agent_soon(&mut self, at: usize, least: u64, most: u64, event: AgentEvent) {
        let after = self.dice.between(least, most) * self.machines[at].slowness;
        self.put_agent(at, after, event);
    }

    pub(crate) fn agent_event(&mut self, at: usize, boot: u64, event: AgentEvent) {
        let Some(daemon) = self.machines[at].daemon.as_deref().filter(|daemon| daemon.boot == boot) else {
            return;
        };
        match event {
            AgentEvent::Feed(event) => self.feed(at, *event),
            AgentEvent::Wake(turn) if turn == daemon.wake_turn => self.agent_wakes(at),
            AgentEvent::Wake(_) => {}
            AgentEvent::Start(spec) => self.start_run(at, *spec),
            AgentEvent::Written(ledger) => self.ledger_written(at, *ledger),
            AgentEvent::CheckDue(key, turn) => self.check_due(at, key, turn),
            AgentEvent::JobStep(key, turn) => self.job_step(at, &key, turn),
            AgentEvent::Poll => self.poll_control(at),
            AgentEvent::ReportDue(turn) => self.report_due(at, turn),
            AgentEvent::CallOver(call) => self.call_failed(at, call, line::Event::Called),
            AgentEvent::Push(switched) => self.push_to_proxy(at, switched),
            AgentEvent::Pushed(switched, sent, answer) => self.pushed_to_proxy(at, switched, sent, answer),
            AgentEvent::AskProxy(switched) => self.ask_proxy(at, switched),
            AgentEvent::Polled(switched, stats) => self.polled_proxy(at, switched, stats.map(|stats| *stats)),
            AgentEvent::KeepEntry => self.keep_entry(at),
            AgentEvent::LineTick(turn) if turn == daemon.line_turn => self.line(at, line::Event::Tick),
            AgentEvent::LineTick(_) => {}
            AgentEvent::RoundOver(round) => self.round_over(at, round),
        }
    }

    pub(crate) fn agent_now(&self, at: usize) -> Timestamp {
        let machine = &self.machines[at];
        let ahead = machine.daemon.as_deref().map_or(machine.clock, |daemon| daemon.clock);
        super::clock(self.now, ahead)
    }

    pub(crate) fn feed(&mut self, at: usize, event: AgentInput) {
        let now = self.agent_now(at);
        let Some(daemon) = self.machines[at].daemon.as_deref_mut() else { return };
        self.counts.agent_steps += 1;
        for effect in step(&mut daemon.state, event, now) {
            self.perform(at, effect);
        }
    }

    fn perform(&mut self, at: usize, effect: Effect) {
        match effect {
            Effect::SaveLedger(ledger) => self.put_agent_soon(at, 1, 12, AgentEvent::Written(ledger)),
            Effect::Start(spec) => self.put_agent_soon(at, 3, 30, AgentEvent::Start(spec)),
            Effect::Stop { key, timeout } => self.stop_run(at, key, timeout),
            Effect::Forget(key) => self.forget_run(at, key),
            Effect::EnsureRelease(release) => self.order(at, releases::Order::Ensure(release)),
            Effect::SealRelease(release) => self.order(at, releases::Order::Seal(release)),
            Effect::RemoveRelease(key) => self.order(at, releases::Order::Remove(key)),
            Effect::StartCheck(spec) => self.start_check(at, *spec),
            Effect::StopCheck(key) => self.stop_check(at, key),
            Effect::Report(facts) => self.has_news(at, *facts),
            Effect::InForce(assignment) => self.in_force(at, &assignment),
            Effect::Entry(entry) => self.want_entry(at, entry),
            Effect::WakeAt(wake) => self.set_wake(at, wake),
        }
    }

    fn set_wake(&mut self, at: usize, wake: Option<Timestamp>) {
        let now = self.agent_now(at);
        let Some(daemon) = self.machines[at].daemon.as_deref_mut() else { return };
        daemon.wake = wake;
        daemon.wake_turn += 1;
        let turn = daemon.wake_turn;
        if let Some(wake) = wake {
            self.put_agent(at, wake.since(now).0 + 1, AgentEvent::Wake(turn));
        }
    }

    fn agent_wakes(&mut self, at: usize) {
        self.feed(at, AgentInput::Tick);
    }

    fn ledger_written(&mut self, at: usize, ledger: Ledger) {
        let lies = self.scenario.sabotage == Some(Sabotage::LyingDisk) && self.dice.chance(50);
        let disk = &mut self.machines[at].disk;
        if disk.full {
            let why = "no space left on the disk".to_owned();
            return self.feed(at, AgentInput::LedgerFailed(why));
        }
        if !lies {
            disk.ledger = ledger;
        }
        self.feed(at, AgentInput::LedgerSaved);
    }

    fn in_force(&mut self, at: usize, assignment: &Assignment) {
        say!(self, self.machines[at].name, "assignment {} is in force", assignment.version);
        self.check_in_force(at, assignment.version);
    }
}
