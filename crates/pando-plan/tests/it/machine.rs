//! A server of the world: its agent, its load balancer and its replicas, as they would behave.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pando_model::Version;
use pando_model::assignment::{AssignedInstance, Assignment};
use pando_model::id::{InstanceId, ServerId, TaskId};
use pando_model::name::ProcessName;
use pando_model::observed::{
    AgentReport, ExitReport, FailureReason, Fetched, InstanceState, InstanceStatus, ProxyStatus,
    ReleaseState, ReleaseStatus, TaskState,
};
use pando_model::release::ReleaseNumber;
use pando_model::time::Millis;
use pando_routing::{EndpointState, Table};
use uuid::Uuid;

/// How the replicas of a release behave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Behaviour {
    /// Ready so long after its start.
    Good(u64),
    /// Its check says 503 for ever.
    NeverReady,
    /// Ends at once, each time.
    Crash,
    /// Ready, then ends so long after its start, each time.
    CrashAfter(u64),
    /// Its workers, of which nothing is asked, end so long after their start, each time; everything else is good.
    WorkersEnd(u64),
    /// Its port is taken, the first so many times.
    PortTaken(u32),
    /// Can't be unpacked.
    NoSpace,
    /// A fifth of it has come, and nothing more does.
    Comes,
    /// Its check says 503 for ever on one server, and passes on the others.
    BrokenOn(ServerId),
}

#[derive(Debug, Clone)]
pub(crate) struct Replica {
    pub(crate) port: u16,
    pub(crate) server: ServerId,
    pub(crate) release: ReleaseNumber,
    pub(crate) process: ProcessName,
    pub(crate) started_at: u64,
    pub(crate) down_until: Option<u64>,
    pub(crate) restarts: u32,
    pub(crate) last_exit: Option<ExitReport>,
    pub(crate) port_taken: bool,
    /// Takes so long to end after SIGTERM.
    pub(crate) stopping_since: Option<u64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Machine {
    pub(crate) id: ServerId,
    pub(crate) assignment: Assignment,
    pub(crate) table: Table,
    pub(crate) replicas: BTreeMap<InstanceId, Replica>,
    pub(crate) tasks: BTreeMap<TaskId, u64>,
    pub(crate) in_flight: BTreeMap<InstanceId, u64>,
    pub(crate) sequence: u64,
    pub(crate) boot: u64,
    /// The agent is away until then; replicas and balancer go on.
    pub(crate) agent_down_until: u64,
    pub(crate) proxy_down_until: u64,
    /// It has no power.
    pub(crate) off: bool,
    /// Its agent and the control plane don't hear each other; everything else works.
    pub(crate) cut: bool,
    /// It and the control plane don't hear each other, but other servers bring it tables and take its reports.
    pub(crate) deaf: bool,
    /// An agent that starts asks first: it starts nothing until it has heard something, or until then.
    pub(crate) asks_until: u64,
    /// Something was wrong with it at this time, or will be until then.
    pub(crate) trouble: u64,
}

/// An agent that starts waits so long for an answer.
const ASKS_FOR: u64 = 5000;

/// A task whose end nobody saw.
const VANISHED: u64 = u64::MAX;

/// Replicas (down, stopping, restarts), tasks and endpoints with requests.
pub(crate) type Visible = (Vec<(InstanceId, bool, bool, u32)>, usize, Vec<InstanceId>);

impl Replica {
    pub(crate) fn new(server: ServerId, assigned: &AssignedInstance, now: u64, port_taken: bool) -> Self {
        Self {
            port: assigned.port,
            server,
            release: assigned.release,
            process: assigned.process.clone(),
            started_at: now,
            down_until: None,
            restarts: 0,
            last_exit: None,
            port_taken,
            stopping_since: None,
        }
    }

    pub(crate) fn end(&mut self, now: u64, code: i32) {
        let wait = pando_rt_backoff(self.restarts);
        self.down_until = Some(now + wait);
        let last_lines = vec!["panic: no database".to_owned()];
        self.last_exit =
            Some(ExitReport { code: Some(code), signal: None, out_of_memory: false, last_lines });
    }

    pub(crate) fn is_ready(&self, now: u64, behaviours: &BTreeMap<ReleaseNumber, Behaviour>) -> bool {
        let after = match behaviours.get(&self.release) {
            Some(Behaviour::Good(after)) => *after,
            Some(Behaviour::CrashAfter(_) | Behaviour::WorkersEnd(_) | Behaviour::PortTaken(_)) => 100,
            Some(Behaviour::BrokenOn(server)) if *server != self.server => 100,
            _ => return false,
        };
        self.down_until.is_none() && !self.port_taken && now >= self.started_at + after
    }

    pub(crate) fn status(&self, now: u64, behaviours: &BTreeMap<ReleaseNumber, Behaviour>) -> InstanceStatus {
        let ready = self.is_ready(now, behaviours);
        let state = if self.stopping_since.is_some() {
            InstanceState::Stopping
        } else if self.port_taken {
            let message = format!("port {} is taken", self.port);
            InstanceState::Failed { reason: FailureReason::PortTaken, message }
        } else if let Some(until) = self.down_until {
            InstanceState::BackingOff { next_start_in: Millis(until.saturating_sub(now)) }
        } else if ready {
            InstanceState::Ready
        } else {
            InstanceState::Starting
        };
        let never = match behaviours.get(&self.release) {
            Some(Behaviour::NeverReady) => true,
            Some(Behaviour::BrokenOn(server)) => *server == self.server,
            _ => false,
        };
        InstanceStatus {
            ready_for: ready.then(|| Millis(now - self.started_at)),
            state,
            restarts: self.restarts,
            check: never.then(|| "503 from /health".to_owned()),
            last_exit: self.last_exit.clone(),
            pid: None,
            start_period: None,
            unmounted: Vec::new(),
        }
    }
}

fn pando_rt_backoff(restarts: u32) -> u64 {
    [0, 1000, 2000, 4000, 8000].get(restarts as usize).copied().unwrap_or(16_000)
}

impl Machine {
    pub(crate) fn new(id: ServerId) -> Self {
        Self {
            id,
            assignment: Assignment::empty(id),
            table: Table::default(),
            replicas: BTreeMap::new(),
            tasks: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            sequence: 0,
            boot: 0,
            agent_down_until: 0,
            proxy_down_until: 0,
            off: false,
            cut: false,
            deaf: false,
            asks_until: 0,
            trouble: 0,
        }
    }

    /// The agent runs, and is heard.
    pub(crate) fn is_heard(&self, now: u64) -> bool {
        !self.off && !self.cut && self.agent_down_until <= now
    }

    /// Its load balancer takes requests.
    pub(crate) fn balances(&self, now: u64) -> bool {
        !self.off && self.assignment.entry.is_some() && self.proxy_down_until <= now
    }

    /// Everything that ran is gone; what is on disk stays.
    pub(crate) fn lose_power(&mut self, now: u64) {
        (self.off, self.trouble) = (true, now);
        self.replicas.clear();
        self.in_flight.clear();
        self.tasks.values_mut().for_each(|started| *started = VANISHED);
    }

    pub(crate) fn start_again(&mut self, now: u64) {
        (self.off, self.trouble) = (false, now);
        (self.boot, self.sequence) = (self.boot + 1, 0);
        self.ask(now);
    }

    /// Its agent ends, and starts again then; everything else goes on.
    pub(crate) fn agent_away(&mut self, until: u64) {
        (self.agent_down_until, self.trouble) = (until, self.trouble.max(until));
        self.boot += 1;
        self.ask(until);
    }

    /// Its agent starts at `now`, or when it is there at all.
    fn ask(&mut self, now: u64) {
        self.asks_until = now.max(self.agent_down_until) + ASKS_FOR;
    }

    /// What a report would show, but for times.
    pub(crate) fn visible(&self) -> Visible {
        let replicas = self.replicas.iter().map(|(id, replica)| {
            (*id, replica.down_until.is_some(), replica.stopping_since.is_some(), replica.restarts)
        });
        (replicas.collect(), self.tasks.len(), self.in_flight.keys().copied().collect())
    }

    pub(crate) fn report(
        &self,
        now: u64,
        behaviours: &BTreeMap<ReleaseNumber, Behaviour>,
        command_exit: Option<i32>,
        ready: &BTreeSet<InstanceId>,
    ) -> AgentReport {
        let task = |(id, started): (&TaskId, &u64)| {
            let state = match command_exit {
                _ if *started == VANISHED => TaskState::Unknown,
                _ if now < started + 300 => TaskState::Running,
                Some(code) => TaskState::Ended(ExitReport {
                    code: Some(code),
                    signal: None,
                    out_of_memory: false,
                    last_lines: vec![],
                }),
                None => TaskState::Unknown,
            };
            (*id, state)
        };
        let release = |wanted: &Arc<pando_model::assignment::AssignedRelease>| ReleaseStatus {
            app: wanted.app.clone(),
            release: wanted.release,
            state: match behaviours.get(&wanted.release) {
                Some(Behaviour::NoSpace) => {
                    ReleaseState::Failed { message: "no space left on device".to_owned() }
                }
                Some(Behaviour::Comes) => {
                    ReleaseState::Fetching(Fetched { bytes: 12_400_000, of: Some(62_000_000) })
                }
                _ => ReleaseState::Ready,
            },
        };
        AgentReport {
            server: self.id,
            boot: Uuid::from_u128(u128::from(self.boot)),
            sequence: self.sequence,
            assignment: self.assignment.version,
            instances: self
                .replicas
                .iter()
                .map(|(id, replica)| (*id, replica.status(now, behaviours)))
                .collect(),
            tasks: self.tasks.iter().map(task).collect(),
            releases: self.assignment.releases.iter().map(release).collect(),
            proxy: self.assignment.entry.is_some().then(|| self.proxy_status(now, ready)),
            capacity: pando_model::resources::Capacity { cpu_millis: 4000, memory_bytes: 8_000_000_000 },
            firewall: None,
            warnings: vec![],
        }
    }

    /// `ready`: what can be reached, wherever it is.
    fn proxy_status(&self, now: u64, ready: &BTreeSet<InstanceId>) -> ProxyStatus {
        let version = self.table.version;
        let active = self.table.endpoints().filter(|(_, e)| e.state == EndpointState::Active);
        let ids = active.map(|(_, endpoint)| InstanceId::from_uuid(endpoint.id.0));
        ProxyStatus {
            alive: self.proxy_down_until <= now,
            acknowledged: (version.revision > 0).then(|| Version::new(version.epoch, version.revision)),
            secrets: Default::default(),
            refused: None,
            not_in_rotation: ids.filter(|id| !ready.contains(id)).collect(),
            in_flight: self.in_flight.clone(),
            without_certificate: Vec::new(),
            error: None,
        }
    }
}
