//! What the tests of the step share: short ways to say what is assigned and what happened.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use pando_model::app::{HealthCheck, HealthKind};
use pando_model::assignment::{AssignedInstance, AssignedRelease, AssignedTask, Assignment, TaskKind};
use pando_model::id::{InstanceId, ServerId, TaskId, Version};
use pando_model::name::AppName;
use pando_model::observed::{ExitReport, InstanceState, InstanceStatus};
use pando_model::release::{Digest, ReleaseNumber};
use pando_model::resources::{Capacity, Resources};
use pando_model::time::{Millis, Timestamp};
use pando_runtime::{Held, Place, RunKey, RunSpec};
use uuid::Uuid;

use crate::ledger::Ledger;
use crate::reconcile::{Effect, Event, Heading, OnDisk, ReleaseKey, Site, State, step};

pub(super) fn server() -> ServerId {
    ServerId::from_uuid(Uuid::from_u128(7))
}

pub(super) fn site() -> Site {
    Site {
        server: server(),
        releases: "/r".into(),
        address: IpAddr::V4(Ipv4Addr::LOCALHOST),
        users: false,
        proxy: false,
        keeps_entry: false,
        images: "test".to_owned(),
    }
}

pub(super) fn app() -> AppName {
    AppName::new("hits").unwrap()
}

pub(super) fn digest(n: u64) -> Digest {
    Digest::new(format!("{n:064x}")).unwrap()
}

pub(super) fn release(n: u64) -> ReleaseKey {
    (app(), ReleaseNumber(n))
}

pub(super) fn instance_id(n: u128) -> InstanceId {
    InstanceId::from_uuid(Uuid::from_u128(n))
}

pub(super) fn task_id(n: u128) -> TaskId {
    TaskId::from_uuid(Uuid::from_u128(n))
}

pub(super) fn run(n: u128, attempt: u32) -> RunKey {
    RunKey { id: Uuid::from_u128(n), attempt }
}

pub(super) fn instance(n: u16, of_release: u64) -> AssignedInstance {
    AssignedInstance {
        app: app(),
        process: "web".parse().unwrap(),
        replica: format!("web-{n}").parse().unwrap(),
        release: ReleaseNumber(of_release),
        command: "bin/web".to_owned(),
        container: None,
        port: 20_000 + n,
        env: BTreeMap::new(),
        health: HealthCheck {
            kind: HealthKind::Tcp,
            interval: Millis(2000),
            timeout: Millis(1000),
            healthy: 2,
            unhealthy: 3,
            start_timeout: Millis(60_000),
        },
        stop_timeout: Millis(30_000),
        resources: Resources::default(),
    }
}

pub(super) fn assigned_release(n: u64, prepare: Option<&str>) -> AssignedRelease {
    AssignedRelease {
        app: app(),
        release: ReleaseNumber(n),
        artifact: Some(digest(n)),
        image: None,
        prepare: prepare.map(str::to_owned),
        asset_path: None,
        env: BTreeMap::new(),
    }
}

pub(super) fn task(of_release: u64) -> AssignedTask {
    AssignedTask {
        app: app(),
        release: ReleaseNumber(of_release),
        kind: TaskKind::Release,
        command: "bin/migrate".to_owned(),
        container: None,
        env: BTreeMap::new(),
        timeout: Millis(600_000),
        resources: Default::default(),
    }
}

/// Instances by number, all of release 1, which is assigned.
pub(super) fn assignment(revision: u64, instances: &[u16]) -> Assignment {
    let mut assignment = Assignment::empty(server());
    assignment.version = Version::new(1, revision);
    assignment.releases = vec![assigned_release(1, None).into()];
    for n in instances {
        assignment.instances.insert(instance_id(u128::from(*n)), instance(*n, 1).into());
    }
    assignment
}

pub(super) fn exit(code: i32) -> ExitReport {
    ExitReport { code: Some(code), signal: None, out_of_memory: false, last_lines: Vec::new() }
}

pub(super) fn unseen() -> ExitReport {
    ExitReport { code: None, signal: None, out_of_memory: false, last_lines: Vec::new() }
}

pub(super) fn held(key: RunKey, name: &str, exit: Option<ExitReport>) -> Held {
    let spec = RunSpec {
        key,
        app: app(),
        name: name.to_owned(),
        command: "bin/web".to_owned(),
        place: Place::Directory("/r/hits/v1".into()),
        env: BTreeMap::new(),
        user: None,
        resources: Resources::default(),
        port: None,
    };
    Held { spec, pid: Some(4711), exit, unmounted: Vec::new() }
}

pub(super) fn on_disk(n: u64) -> OnDisk {
    OnDisk { release: release(n), sealed: Some(digest(n)) }
}

/// An agent under test: a state, a time, and whatever it asked for last.
pub(super) struct Agent {
    pub(super) state: State,
    pub(super) now: Timestamp,
    /// Saves succeed at once unless this is false.
    pub(super) disk: bool,
    /// The control plane answers a start at once, with nothing newer, unless this is false.
    pub(super) control: bool,
}

impl Agent {
    /// Started with this ledger, nothing adopted yet.
    pub(super) fn with(ledger: Ledger) -> Self {
        let state = State::new(site(), ledger, 1);
        Self { state, now: Timestamp::from_millis(1_000_000), disk: true, control: true }
    }

    /// A new one that found nothing.
    pub(super) fn new() -> Self {
        let mut agent = Self::with(Ledger::empty(server()));
        agent.on(Event::Adopted { held: vec![], releases: vec![] });
        agent
    }

    /// A new one whose release 1 is ready, by an assignment of an earlier epoch.
    pub(super) fn ready() -> Self {
        let mut agent = Self::new();
        let mut earlier = assignment(1, &[]);
        earlier.version.epoch = 0;
        agent.on(Event::Assignment(earlier));
        agent.on(Event::ReleaseReady(release(1)));
        agent
    }

    /// Release 1 is ready; these instances are assigned by revision 1 and have been asked to start.
    pub(super) fn running(instances: &[u16]) -> Self {
        let mut agent = Self::ready();
        agent.on(Event::Assignment(assignment(1, instances)));
        for n in instances {
            agent.on(Event::RunStarted(held(run(u128::from(*n), 0), "web", None)));
        }
        agent
    }

    /// Everything that follows from an event, its saves (when the disk works) included; reports and wake-ups left out.
    pub(super) fn on(&mut self, event: Event) -> Vec<Effect> {
        let mut all = Vec::new();
        let started = matches!(event, Event::Adopted { .. });
        let mut events = Vec::from_iter((started && self.control).then_some(Event::TargetHeard));
        events.push(event);
        while let Some(event) = events.pop() {
            for effect in step(&mut self.state, event, self.now) {
                match effect {
                    Effect::SaveLedger(_) if self.disk => events.push(Event::LedgerSaved),
                    Effect::Report(_) | Effect::WakeAt(_) | Effect::InForce(_) | Effect::Entry(_) => {}
                    other => all.push(other),
                }
            }
        }
        all
    }

    pub(super) fn after(&mut self, millis: u64, event: Event) -> Vec<Effect> {
        self.now = self.now + Millis(millis);
        self.on(event)
    }

    pub(super) fn pass(&mut self, key: RunKey) {
        self.on(Event::CheckPassed(key));
    }

    pub(super) fn fail(&mut self, key: RunKey) {
        self.on(Event::CheckFailed { key, answer: "503 from /health".to_owned() });
    }

    pub(super) fn ends(&mut self, key: RunKey, code: i32) -> Vec<Effect> {
        self.on(Event::RunEnded { key, exit: exit(code) })
    }

    pub(super) fn report(&self) -> pando_model::observed::AgentReport {
        let capacity = Capacity { cpu_millis: 1000, memory_bytes: 1 };
        self.state.facts().at(&Heading { boot: Uuid::nil(), sequence: 1, capacity, now: self.now })
    }

    pub(super) fn status(&self, n: u128) -> Option<InstanceStatus> {
        self.report().instances.get(&instance_id(n)).cloned()
    }

    pub(super) fn state_of(&self, n: u128) -> Option<InstanceState> {
        self.status(n).map(|status| status.state)
    }
}

pub(super) fn starts(effects: &[Effect]) -> Vec<RunKey> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Start(spec) => Some(spec.key),
            _ => None,
        })
        .collect()
}

pub(super) fn stops(effects: &[Effect]) -> Vec<(RunKey, u64)> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Stop { key, timeout } => Some((*key, timeout.0)),
            _ => None,
        })
        .collect()
}

pub(super) fn forgets(effects: &[Effect]) -> Vec<RunKey> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Forget(key) => Some(*key),
            _ => None,
        })
        .collect()
}
