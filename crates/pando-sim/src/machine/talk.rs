//! An agent's talk with the control plane: the long poll for its target, and its reports.
//!
//! The pace is that of the real agent: at once when there is news, else every
//! 2 s; and a growing pause after a failure. What follows from a silence is
//! judged by the agent's real `line`.

use std::sync::Arc;
use std::time::Duration;

use pando_agent::line;
use pando_agent::reconcile::{Event as AgentInput, Facts, Heading};
use pando_model::assignment::Assignment;
use pando_model::id::Version;
use pando_model::observed::AgentReport;
use pando_model::resources::Capacity;
use pando_routing::{Secrets, Table};
use pando_rt::backoff::Backoff;

use super::daemon::AgentEvent;
use crate::control::serve::{POLL_WAIT, version};
use crate::message::{Answer, Caller, Have, Question};
use crate::scenario::Sabotage;
use crate::world::World;

const TRY_AGAIN: Backoff = Backoff { first: Duration::from_millis(50), most: Duration::from_secs(1) };
const HEARTBEAT: u64 = 2000;
const COALESCE: u64 = 20;
const EMPTY_PACE: u64 = 100;
/// As long as the client of the API waits for an answer, for a connection, and for a report to be taken.
const DEADLINE: u64 = 10_000;
const CONNECT: u64 = 5000;
const WITHIN: u64 = 4000;

#[derive(Debug)]
pub(crate) struct Poller {
    /// The newest assignment seen.
    assignment: Version,
    call: Option<u64>,
    began: u64,
    /// How long the next answer may take. The first comes at once: whoever starts waits for a word.
    wait: u64,
    failures: u32,
}

impl Poller {
    pub(crate) fn new(assignment: Version) -> Self {
        Self { assignment, call: None, began: 0, wait: 0, failures: 0 }
    }
}

#[derive(Debug)]
pub(crate) struct Reporter {
    sequence: u64,
    call: Option<u64>,
    posted: u64,
    failures: u32,
    /// Not before.
    earliest: u64,
    news: bool,
    turn: u64,
}

impl Reporter {
    pub(crate) fn new(now: u64) -> Self {
        Self { sequence: 0, call: None, posted: now, failures: 0, earliest: now, news: false, turn: 0 }
    }
}

fn pause(failures: u32) -> u64 {
    u64::try_from(TRY_AGAIN.nth(failures.saturating_sub(1)).as_millis()).unwrap_or(u64::MAX)
}

/// The questions, and what becomes of them.
impl World {
    pub(crate) fn call_control(&mut self, at: usize, question: Question, patience: u64) -> u64 {
        let to = self.control.machine;
        let there = self.machines[to].on && self.network.connects(at, to);
        let patience = if there { patience } else { patience.min(CONNECT) };
        self.call(at, to, question, patience)
    }

    /// Asks, and gives up when nobody has answered in time.
    pub(crate) fn call(&mut self, at: usize, to: usize, question: Question, patience: u64) -> u64 {
        let Some(daemon) = self.machines[at].daemon.as_deref_mut() else { return 0 };
        daemon.calls += 1;
        let caller = Caller { machine: at, boot: daemon.boot, call: daemon.calls };
        let expires = self.now + patience;
        self.put_agent(at, patience, AgentEvent::CallOver(caller.call));
        self.ask(to, caller, question, expires);
        caller.call
    }

    pub(crate) fn answered(&mut self, caller: Caller, answer: Answer) {
        let (at, call) = (caller.machine, caller.call);
        let daemon = self.machines[at].daemon.as_deref().filter(|daemon| daemon.boot == caller.boot);
        let Some(daemon) = daemon else { return };
        let polls = daemon.poller.call == Some(call);
        let reports = daemon.reporter.call == Some(call);
        match answer {
            Answer::Away => self.call_failed(at, call, line::Event::Called),
            // Who says no is there.
            Answer::Refused => self.call_failed(at, call, line::Event::Answered),
            Answer::Target { assignment, table, secrets } if polls => {
                self.target_came(at, assignment, table, secrets);
            }
            Answer::Taken if reports => self.report_taken(at),
            Answer::Fetched => self.release_fetched(at, call),
            Answer::Table(table) => self.peer_answered(at, call, table),
            Answer::Target { .. } | Answer::Taken => {}
        }
    }

    pub(crate) fn call_failed(&mut self, at: usize, call: u64, what: line::Event) {
        let Some(daemon) = self.machines[at].daemon.as_deref_mut() else { return };
        if daemon.poller.call == Some(call) {
            daemon.poller.call = None;
            daemon.poller.failures += 1;
            let after = pause(daemon.poller.failures);
            self.line(at, what);
            self.put_agent(at, after, AgentEvent::Poll);
        } else if daemon.reporter.call == Some(call) {
            let reporter = &mut daemon.reporter;
            reporter.call = None;
            reporter.news = true;
            reporter.failures += 1;
            reporter.earliest = reporter.posted + pause(reporter.failures);
            self.line(at, what);
            self.arm_reporter(at);
        } else {
            self.fetch_failed(at, call);
        }
    }

    /// What is known of the line to the control plane, and what follows.
    pub(crate) fn line(&mut self, at: usize, event: line::Event) {
        let now = self.agent_now(at);
        let Some(daemon) = self.machines[at].daemon.as_deref_mut() else { return };
        let effect = line::step(&mut daemon.line, event, now);
        daemon.line_turn += 1;
        let (turn, wake) = (daemon.line_turn, daemon.line.wakes_at());
        if let Some(wake) = wake {
            self.put_agent(at, wake.since(now).0 + 1, AgentEvent::LineTick(turn));
        }
        match effect {
            Some(line::Effect::AskOthers) => self.ask_others(at),
            Some(line::Effect::Back) => self.poll_anew(at),
            None => {}
        }
    }
}

/// The long poll.
impl World {
    pub(crate) fn poll_control(&mut self, at: usize) {
        let id = self.machines[at].id;
        let Some(daemon) = self.machines[at].daemon.as_deref_mut() else { return };
        if daemon.poller.call.is_some() {
            return;
        }
        let table = daemon.link.newest().map(|table| version(table)).unwrap_or_default();
        let secrets = daemon.link.mark();
        let have = Have { server: id, assignment: daemon.poller.assignment, table, secrets };
        daemon.poller.began = self.now;
        let wait = daemon.poller.wait;
        let call = self.call_control(at, Question::Target(have, wait), DEADLINE + wait);
        if let Some(daemon) = self.machines[at].daemon.as_deref_mut() {
            daemon.poller.call = Some(call);
        }
    }

    /// A poll from before the silence may hang on a connection that is long dead; or says that something is here which is not.
    pub(super) fn poll_anew(&mut self, at: usize) {
        let Some(daemon) = self.machines[at].daemon.as_deref_mut() else { return };
        daemon.poller.wait = 0;
        if daemon.poller.call.take().is_some() {
            self.put_agent(at, 0, AgentEvent::Poll);
        }
    }

    fn target_came(
        &mut self,
        at: usize,
        assignment: Option<Arc<Assignment>>,
        table: Option<Arc<Table>>,
        secrets: Option<Arc<Secrets>>,
    ) {
        let deaf = self.scenario.sabotage == Some(Sabotage::DeafAgent);
        let now = self.now;
        let Some(daemon) = self.machines[at].daemon.as_deref_mut() else { return };
        let poller = &mut daemon.poller;
        let waited = std::mem::replace(&mut poller.wait, POLL_WAIT) > 0;
        (poller.call, poller.failures) = (None, 0);
        let pace = if waited { EMPTY_PACE.saturating_sub(now - poller.began) } else { 0 };
        let newer = assignment.filter(|one| one.version > poller.assignment && !deaf);
        if let Some(assignment) = &newer {
            poller.assignment = assignment.version;
        }
        let tabled = self.table_came(at, table, secrets);
        let after = if newer.is_some() || tabled { 0 } else { pace };
        self.put_agent(at, after, AgentEvent::Poll);
        self.line(at, line::Event::Answered);
        if let Some(assignment) = newer {
            self.feed(at, AgentInput::Assignment(Assignment::clone(&assignment)));
        }
        self.feed(at, AgentInput::TargetHeard);
    }
}

/// Reports.
impl World {
    pub(crate) fn has_news(&mut self, at: usize, facts: Facts) {
        if let Some(daemon) = self.machines[at].daemon.as_deref_mut() {
            daemon.facts = Some(Arc::new(facts));
        }
        self.report_soon(at);
    }

    /// There is something to tell.
    pub(crate) fn report_soon(&mut self, at: usize) {
        if let Some(daemon) = self.machines[at].daemon.as_deref_mut() {
            daemon.reporter.news = true;
            self.arm_reporter(at);
        }
    }

    /// Sets the time of the next report; the last word counts.
    pub(crate) fn arm_reporter(&mut self, at: usize) {
        let Some(daemon) = self.machines[at].daemon.as_deref_mut() else { return };
        let reporter = &mut daemon.reporter;
        if reporter.call.is_some() {
            return;
        }
        let due = if reporter.news { reporter.earliest } else { reporter.earliest + HEARTBEAT };
        reporter.turn += 1;
        let turn = reporter.turn;
        self.put_agent(at, due.saturating_sub(self.now), AgentEvent::ReportDue(turn));
    }

    pub(crate) fn report_due(&mut self, at: usize, turn: u64) {
        let now = self.now;
        let Some(daemon) = self.machines[at].daemon.as_deref_mut() else { return };
        let reporter = &mut daemon.reporter;
        if reporter.turn != turn || reporter.call.is_some() {
            return;
        }
        reporter.news = false;
        (reporter.earliest, reporter.posted) = (now, now);
        let mut reports = daemon.detour.waiting(now);
        let Some(own) = self.make_report(at) else { return self.arm_reporter(at) };
        reports.push(own);
        self.line(at, line::Event::Called);
        let call = self.call_control(at, Question::Report(reports), WITHIN);
        if let Some(daemon) = self.machines[at].daemon.as_deref_mut() {
            daemon.reporter.call = Some(call);
        }
    }

    /// What is true now; whoever makes a report draws the next number. `None` before the first facts are known.
    pub(crate) fn make_report(&mut self, at: usize) -> Option<Arc<AgentReport>> {
        let now = self.agent_now(at);
        let daemon = self.machines[at].daemon.as_deref_mut()?;
        let facts = daemon.facts.clone()?;
        daemon.reporter.sequence += 1;
        let capacity = Capacity { cpu_millis: 8000, memory_bytes: 32_000_000_000 };
        let heading = Heading { boot: daemon.id, sequence: daemon.reporter.sequence, capacity, now };
        Some(Arc::new(facts.at(&heading)))
    }

    fn report_taken(&mut self, at: usize) {
        let Some(daemon) = self.machines[at].daemon.as_deref_mut() else { return };
        let reporter = &mut daemon.reporter;
        (reporter.call, reporter.failures) = (None, 0);
        reporter.earliest = reporter.posted + COALESCE;
        daemon.detour.handed_on(reporter.posted);
        self.line(at, line::Event::Answered);
        self.arm_reporter(at);
    }
}
