//! What is true of this server, free of the moment: a report is made from it at any time.

use std::collections::BTreeMap;

use pando_model::id::{InstanceId, ServerId, TaskId, Version};
use pando_model::observed::{
    AgentReport, FailureReason, InstanceState, InstanceStatus, ProxyStatus, ReleaseStatus, TaskState,
};
use pando_model::resources::Capacity;
use pando_model::time::{Millis, Timestamp};
use uuid::Uuid;

use super::health::Verdict;
use super::instance::{Instance, Run};
use super::{State, release};

#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    pub server: ServerId,
    pub assignment: Version,
    pub instances: BTreeMap<InstanceId, InstanceFact>,
    pub tasks: BTreeMap<TaskId, TaskState>,
    pub releases: Vec<ReleaseStatus>,
    pub proxy: Option<ProxyStatus>,
    pub warnings: Vec<String>,
}

/// An [`InstanceStatus`] whose lengths of time are still points in time.
#[derive(Debug, Clone, PartialEq)]
pub struct InstanceFact {
    status: InstanceStatus,
    ready_since: Option<Timestamp>,
    next_start_at: Option<Timestamp>,
}

/// What a report says beyond the facts.
#[derive(Debug, Clone, PartialEq)]
pub struct Heading {
    pub boot: Uuid,
    pub sequence: u64,
    pub capacity: Capacity,
    pub now: Timestamp,
}

impl Facts {
    /// The report at `heading.now`.
    #[must_use]
    pub fn at(&self, heading: &Heading) -> AgentReport {
        let instances = self.instances.iter().map(|(id, fact)| (*id, fact.at(heading.now)));
        AgentReport {
            server: self.server,
            boot: heading.boot,
            sequence: heading.sequence,
            assignment: self.assignment,
            instances: instances.collect(),
            tasks: self.tasks.clone(),
            releases: self.releases.clone(),
            proxy: self.proxy.clone(),
            capacity: heading.capacity,
            firewall: None,
            warnings: self.warnings.clone(),
        }
    }
}

impl InstanceFact {
    fn at(&self, now: Timestamp) -> InstanceStatus {
        let mut status = self.status.clone();
        status.ready_for = self.ready_since.map(|since| now.since(since));
        if let (InstanceState::BackingOff { next_start_in }, Some(at)) =
            (&mut status.state, self.next_start_at)
        {
            *next_start_in = at.since(now);
        }
        status
    }

    /// As it is reported, but for the lengths of time.
    #[must_use]
    pub fn status(&self) -> &InstanceStatus {
        &self.status
    }
}

pub(super) fn of(state: &State) -> Facts {
    let mut instances: BTreeMap<InstanceId, InstanceFact> = BTreeMap::new();
    for (key, stray) in state.strays.iter().filter(|(_, stray)| stray.is_instance) {
        let status = InstanceStatus {
            state: InstanceState::Stopping,
            ready_for: None,
            restarts: key.attempt,
            check: None,
            last_exit: None,
            pid: stray.pid,
            start_period: None,
            unmounted: Vec::new(),
        };
        let fact = InstanceFact { status, ready_since: None, next_start_at: None };
        instances.insert(InstanceId::from_uuid(key.id), fact);
    }
    for (id, instance) in &state.instances {
        instances.insert(*id, fact(state, *id, instance));
    }
    Facts {
        server: state.site.server,
        assignment: state.ledger.assignment.version,
        instances,
        tasks: state.tasks.iter().map(|(id, task)| (*id, task.state())).collect(),
        releases: release::statuses(state),
        proxy: state.has_proxy.then(|| proxy_status(state)),
        warnings: [&state.save_error, &state.entry_error, &state.mistrust]
            .into_iter()
            .flatten()
            .cloned()
            .collect(),
    }
}

fn proxy_status(state: &State) -> ProxyStatus {
    let said = state.proxy.clone().unwrap_or_default();
    ProxyStatus { error: state.entry_error.clone(), ..said }
}

fn fact(state: &State, id: InstanceId, instance: &Instance) -> InstanceFact {
    let assigned = state.ledger.assignment.instances.contains_key(&id);
    let next_start_at = match &instance.run {
        Run::Ended { next_at } => Some(*next_at),
        _ => None,
    };
    let status = InstanceStatus {
        state: if assigned { running_state(state, instance) } else { InstanceState::Stopping },
        ready_for: None,
        restarts: instance.attempt.unwrap_or(0),
        check: instance.health.answer.clone(),
        last_exit: instance.last_exit.clone(),
        pid: match &instance.run {
            Run::Running { pid } | Run::Stopping { pid, .. } => *pid,
            _ => None,
        },
        start_period: instance.health.start_period(),
        unmounted: instance.unmounted.clone(),
    };
    let ready = status.state == InstanceState::Ready;
    let ready_since = instance.health.ready_since.filter(|_| ready);
    InstanceFact { status, ready_since, next_start_at }
}

fn running_state(state: &State, instance: &Instance) -> InstanceState {
    let release = (instance.spec.app.clone(), instance.spec.release);
    let release_failed = || release::failure(state, &release);
    match &instance.run {
        Run::None => match release_failed() {
            Some(message) => InstanceState::Failed { reason: FailureReason::Release, message },
            None => InstanceState::Waiting,
        },
        Run::Ended { .. } if release::is_ready(state, &release) => {
            InstanceState::BackingOff { next_start_in: Millis::ZERO }
        }
        Run::Ended { .. } => match release_failed() {
            Some(message) => InstanceState::Failed { reason: FailureReason::Release, message },
            None => InstanceState::Waiting,
        },
        Run::Refused { reason, message, .. } => {
            InstanceState::Failed { reason: *reason, message: message.clone() }
        }
        Run::Stopping { .. } => InstanceState::Stopping,
        Run::Starting => InstanceState::Starting,
        Run::Running { .. } => match instance.health.verdict() {
            Verdict::Starting => InstanceState::Starting,
            Verdict::Ready => InstanceState::Ready,
            Verdict::Unhealthy => InstanceState::Unhealthy,
        },
    }
}
