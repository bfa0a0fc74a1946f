//! An agent's talk with the load balancer on its own machine.
//!
//! What is known of it and what to send next is judged by the agent's real
//! `View`; here are the calls: at most one push and one poll at a time.

use std::sync::Arc;
use std::time::Duration;

use pando_agent::proxy::view::{Pushed, Sent, View};
use pando_agent::reconcile::Event as AgentInput;
use pando_model::assignment::Entry;
use pando_model::observed::ProxyStatus;
use pando_routing::{ProxyStats, SecretMark, Secrets, Table};
use pando_rt::backoff::Backoff;

use super::daemon::AgentEvent;
use super::disk::Disk;
use crate::world::World;

const TRY_AGAIN: Backoff = Backoff { first: Duration::from_millis(20), most: Duration::from_millis(500) };

/// How long a poll waits for a change.
pub(crate) const PROXY_WAIT: u64 = 500;

#[derive(Debug)]
pub(crate) struct Link {
    view: View,
    newest: Option<Arc<Table>>,
    /// Of that table, or of one before.
    secrets: Option<Arc<Secrets>>,
    pushing: bool,
    /// There is, or is to be, a load balancer to speak with.
    on: bool,
    /// How often that has changed: what was asked before is no answer to what is asked now.
    switched: u64,
    /// In a row.
    pushes_failed: u32,
    polls_failed: u32,
}

impl Link {
    /// One that an earlier agent left running is spoken with from the start, whatever is wanted of it later.
    pub(crate) fn new(kept: &Disk, entry: Option<Entry>, name: &str) -> Self {
        let (newest, secrets) = (kept.table.clone(), kept.secrets.clone());
        let mut view = View::default();
        view.set_secrets(secrets.as_deref());
        if let Some(table) = &newest {
            view.offer(Arc::clone(table));
        }
        view.set_locality(near(entry, name));
        let on = entry.is_some();
        let (pushing, switched, pushes_failed, polls_failed) = (false, 0, 0, 0);
        Self { view, newest, secrets, pushing, on, switched, pushes_failed, polls_failed }
    }

    pub(crate) fn newest(&self) -> Option<&Arc<Table>> {
        self.newest.as_ref()
    }

    /// Of the secret part; empty without one.
    pub(crate) fn mark(&self) -> SecretMark {
        self.secrets.as_ref().map(|secrets| secrets.mark.clone()).unwrap_or_default()
    }

    /// As [`pando_agent`] takes what is published.
    fn take(&mut self, table: Option<Arc<Table>>, secrets: Option<Arc<Secrets>>) -> bool {
        let newer = |table: &Arc<Table>| self.newest.as_ref().is_none_or(|have| have.version < table.version);
        let table = table.filter(newer);
        let mut taken = table.is_some();
        self.newest = table.or(self.newest.take());
        let goes_with = self.newest.as_ref().map(|table| table.secret.mark.clone());
        let other = |new: &Arc<Secrets>| goes_with.as_ref() == Some(&new.mark) && self.mark() != new.mark;
        if let Some(secrets) = secrets.filter(other) {
            (self.secrets, taken) = (Some(secrets), true);
        }
        taken
    }
}

/// What is near to the load balancer of a server by such an entry.
fn near(entry: Option<Entry>, name: &str) -> Option<String> {
    entry.filter(|entry| entry.prefer_local).map(|_| name.to_owned())
}

fn pause(failures: u32) -> u64 {
    let pause = if failures == 0 { Duration::ZERO } else { TRY_AGAIN.nth(failures - 1) };
    u64::try_from(pause.as_millis()).unwrap_or(u64::MAX)
}

impl World {
    fn link(&mut self, at: usize) -> Option<&mut Link> {
        self.machines[at].daemon.as_deref_mut().map(|daemon| &mut daemon.link)
    }

    /// From the control plane; a table alone from another agent. False: nothing of it is newer.
    pub(crate) fn table_came(
        &mut self,
        at: usize,
        table: Option<Arc<Table>>,
        secrets: Option<Arc<Secrets>>,
    ) -> bool {
        let Some(link) = self.link(at) else { return false };
        if !link.take(table, secrets) {
            return false;
        }
        link.view.set_secrets(link.secrets.as_deref());
        let (table, secrets) = (link.newest.clone(), link.secrets.clone());
        if let Some(table) = &table {
            link.view.offer(Arc::clone(table));
        }
        link.pushes_failed = 0;
        let disk = &mut self.machines[at].disk;
        if !disk.full {
            (disk.table, disk.secrets) = (table, secrets);
        }
        self.push_if_due(at);
        true
    }

    /// Its load balancer has ended: nothing of certificates and keys stays.
    pub(super) fn forget_secrets(&mut self, at: usize) {
        let disk = &mut self.machines[at].disk;
        (disk.secrets, disk.proxy_table) = (None, None);
        let Some(link) = self.link(at) else { return };
        link.view.set_secrets(None);
        if link.secrets.take().is_some() {
            self.poll_anew(at);
        }
    }

    /// What its agent knows or keeps of certificates and keys.
    pub(crate) fn holds_secrets(&self, at: usize) -> bool {
        let machine = &self.machines[at];
        let knows = machine.daemon.as_deref().is_some_and(|daemon| daemon.link.secrets.is_some());
        knows || machine.disk.secrets.is_some()
    }

    pub(super) fn begin_asking_proxy(&mut self, at: usize) {
        let on = self.link(at).is_some_and(|link| link.on);
        if on {
            self.put_agent(at, 0, AgentEvent::AskProxy(0));
        }
    }

    pub(super) fn switch_link_on(&mut self, at: usize, entry: Entry) {
        let near = near(Some(entry), &self.machines[at].name);
        let Some(link) = self.link(at) else { return };
        link.view.set_locality(near);
        if !link.on {
            link.switch(true);
            let switched = link.switched;
            self.put_agent(at, 0, AgentEvent::AskProxy(switched));
        }
        self.push_if_due(at);
    }

    pub(super) fn switch_link_off(&mut self, at: usize) {
        if let Some(link) = self.link(at).filter(|link| link.on) {
            link.switch(false);
        }
    }

    fn push_if_due(&mut self, at: usize) {
        let Some(link) = self.link(at) else { return };
        if link.on && !link.pushing && link.view.to_push().is_some() {
            link.pushing = true;
            let (after, switched) = (pause(link.pushes_failed), link.switched);
            self.put_agent(at, after + 1, AgentEvent::Push(switched));
        }
    }

    pub(crate) fn push_to_proxy(&mut self, at: usize, switched: u64) {
        let Some(link) = self.link(at).filter(|link| link.switched == switched) else { return };
        match link.view.to_push() {
            Some(table) => self.offer_table(at, switched, Arc::new(table)),
            None => link.pushing = false,
        }
    }

    pub(crate) fn pushed_to_proxy(&mut self, at: usize, switched: u64, sent: Sent, answer: Pushed) {
        let Some(link) = self.link(at).filter(|link| link.switched == switched) else { return };
        link.pushing = false;
        let failed = matches!(answer, Pushed::Away | Pushed::NotNow(_));
        link.pushes_failed = if failed { link.pushes_failed + 1 } else { 0 };
        let before = link.view.status().clone();
        link.view.pushed(sent, answer);
        self.tell_of_proxy(at, &before, false);
    }

    pub(crate) fn ask_proxy(&mut self, at: usize, switched: u64) {
        let Some(link) = self.link(at).filter(|link| link.switched == switched) else { return };
        let wait = if link.view.sequence() == 0 { 0 } else { PROXY_WAIT };
        let after = link.view.sequence();
        self.poll_stats(at, switched, after, wait);
    }

    /// `None`: it can't be reached.
    pub(crate) fn polled_proxy(&mut self, at: usize, switched: u64, stats: Option<ProxyStats>) {
        let Some(link) = self.link(at).filter(|link| link.switched == switched) else { return };
        let before = link.view.status().clone();
        let after = match stats {
            Some(stats) => {
                link.polls_failed = 0;
                link.view.polled(&stats);
                0
            }
            None => {
                link.polls_failed += 1;
                link.view.lost();
                pause(link.polls_failed)
            }
        };
        self.put_agent(at, after + 1, AgentEvent::AskProxy(switched));
        self.tell_of_proxy(at, &before, !before.alive);
    }

    fn tell_of_proxy(&mut self, at: usize, before: &ProxyStatus, first: bool) {
        let Some(link) = self.link(at) else { return };
        let status = link.view.status().clone();
        if first || status != *before {
            self.feed(at, AgentInput::ProxyChanged(status));
        }
        self.push_if_due(at);
    }
}

impl Link {
    fn switch(&mut self, on: bool) {
        self.on = on;
        self.switched += 1;
        (self.pushing, self.pushes_failed, self.polls_failed) = (false, 0, 0);
        self.view.forget();
    }
}
