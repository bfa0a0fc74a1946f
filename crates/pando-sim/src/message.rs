//! What machines say to each other, and how it travels.

use std::sync::Arc;

use pando_model::assignment::{AssignedRelease, Assignment};
use pando_model::id::{ServerId, Version};
use pando_model::observed::AgentReport;
use pando_routing::{SecretMark, Secrets, Table};

use crate::network::{self, RETRANSMIT};
use crate::world::{Event, World};

/// One question of one run of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) machine: usize,
    /// Which start of the daemon asks.
    pub(crate) boot: u64,
    pub(crate) call: u64,
}

#[derive(Debug, Clone)]
pub(crate) enum Question {
    /// Of the control plane: the newest of everything, when it is newer than this; waits so long for it.
    Target(Have, u64),
    /// Of the control plane: here is what is true, and what others said who could not say it themselves.
    Report(Vec<Arc<AgentReport>>),
    /// Of anybody: a packed release.
    Fetch(Box<AssignedRelease>),
    /// Of another agent: its table, when it is newer than this.
    Table(Version),
    /// Of another agent: hand this on.
    Relay(Arc<AgentReport>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Have {
    pub(crate) server: ServerId,
    pub(crate) assignment: Version,
    pub(crate) table: Version,
    pub(crate) secrets: SecretMark,
}

#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Target {
        assignment: Option<Arc<Assignment>>,
        table: Option<Arc<Table>>,
        secrets: Option<Arc<Secrets>>,
    },
    /// Of another agent.
    Table(Option<Arc<Table>>),
    Taken,
    Fetched,
    /// Whoever is no server of the cluster is told nothing; and who is cut off as well hands nothing on.
    Refused,
    /// Nobody listens there, or who did has ended, or has too much to do.
    Away,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    Ask(Caller, Question),
    Answer(Caller, Answer),
}

#[derive(Debug, Clone)]
pub(crate) struct Envelope {
    from: usize,
    to: usize,
    /// Its sender waits no longer than this.
    expires: u64,
    again: u64,
    body: Body,
}

impl World {
    pub(crate) fn ask(&mut self, to: usize, caller: Caller, question: Question, expires: u64) {
        self.send(caller.machine, to, expires, Body::Ask(caller, question));
    }

    pub(crate) fn answer(&mut self, from: usize, caller: Caller, answer: Answer) {
        // Whoever asked has its own deadline; nothing is sent again for longer than the longest of them.
        let expires = self.now + 60_000;
        self.send(from, caller.machine, expires, Body::Answer(caller, answer));
    }

    fn send(&mut self, from: usize, to: usize, expires: u64, body: Body) {
        for delay in self.network.copies(from, to) {
            let envelope = Envelope { from, to, expires, again: RETRANSMIT, body: body.clone() };
            let at = self.now + delay;
            self.queue.put(at, Event::Deliver(Box::new(envelope)));
        }
    }

    pub(crate) fn deliver(&mut self, mut envelope: Envelope) {
        let there = self.machines[envelope.to].on;
        if !there || !self.network.passes(envelope.from, envelope.to) {
            let at = self.now + envelope.again;
            // What was sent to a machine that went down is not known to it when it comes back.
            if there && at <= envelope.expires {
                envelope.again = network::next_retransmission(envelope.again);
                self.queue.put(at, Event::Deliver(Box::new(envelope)));
            }
            return;
        }
        match envelope.body {
            Body::Ask(caller, question) => self.asked(envelope.to, caller, question),
            Body::Answer(caller, answer) => self.answered(caller, answer),
        }
    }

    fn asked(&mut self, at: usize, caller: Caller, question: Question) {
        match question {
            Question::Target(..) | Question::Report(_) if self.control.running.is_none() => {
                self.answer(at, caller, Answer::Away);
            }
            Question::Target(..) | Question::Report(_)
                if !self.control.knows(self.machines[caller.machine].id) =>
            {
                self.answer(at, caller, Answer::Refused);
            }
            Question::Target(have, wait) => self.control_polled(caller, have, wait),
            Question::Report(reports) => self.control_reported(caller, &reports),
            Question::Fetch(release) => self.asked_for_release(at, caller, &release),
            Question::Table(have) => self.asked_for_table(at, caller, have),
            Question::Relay(report) => self.asked_to_relay(at, caller, report),
        }
    }
}
