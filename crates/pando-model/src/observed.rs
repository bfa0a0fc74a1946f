//! What agents and proxies last reported, each fact dated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use pando_routing::SecretMark;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::firewall::FirewallStatus;
use crate::id::{InstanceId, ServerId, TaskId, Version};
use crate::name::AppName;
use crate::release::ReleaseNumber;
use crate::resources::Capacity;
use crate::time::{Millis, Timestamp};

/// Everything that is known of the world. Kept in memory: reports fill it anew after a restart.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Observed {
    /// When this control plane began to listen. Nothing is lost in the first 30 s after.
    pub since: Timestamp,
    /// Shared, since whoever looks is handed all of it with every report of one.
    pub servers: BTreeMap<ServerId, Arc<ServerObserved>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ServerObserved {
    /// When the agent last spoke to the control plane itself, by the control plane's clock. One that never did counts from when
    /// the control plane began to listen.
    pub heard_at: Timestamp,
    /// When `report` came, perhaps through another server, by the control plane's clock.
    pub reported_at: Timestamp,
    /// When a report last said that the server's load balancer was alive, by the control plane's clock.
    #[serde(default)]
    pub proxy_heard_at: Option<Timestamp>,
    /// When the load balancer was first heard after its last long silence: it had no table to use in time before then.
    #[serde(default)]
    pub proxy_back_at: Option<Timestamp>,
    pub report: AgentReport,
}

/// The whole truth about one server, as its agent sees it. Later reports replace earlier ones whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentReport {
    pub server: ServerId,
    /// One run of the agent; a new one starts its sequence anew.
    pub boot: Uuid,
    /// Rises with each report of one boot. A receiver drops what is not newer.
    pub sequence: u64,
    /// The newest assignment that the agent holds on disk and acts on.
    pub assignment: Version,
    /// Every instance that exists here, assigned or still stopping.
    pub instances: BTreeMap<InstanceId, InstanceStatus>,
    pub tasks: BTreeMap<TaskId, TaskState>,
    pub releases: Vec<ReleaseStatus>,
    pub proxy: Option<ProxyStatus>,
    pub capacity: Capacity,
    /// `None`: the agent keeps no packet filter, and knows of none that stands in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall: Option<FirewallStatus>,
    /// What limits this server's honesty, such as "no cgroups: memory limits are not enforced".
    #[serde(default)]
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct InstanceStatus {
    pub state: InstanceState,
    /// For how long it has been ready without a break, when the report was made. `None`: not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_for: Option<Millis>,
    /// Starts after the first, since it was assigned.
    #[serde(default)]
    pub restarts: u32,
    /// What the last check said when it failed, such as `503 from /health`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// How the last run ended, when one has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<ExitReport>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How long its image lets it start before failures of the image's own check count. `None`: nothing is said of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_period: Option<Millis>,
    /// What its image declares by `VOLUME` and nothing is mounted at: files there go with each run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmounted: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum InstanceState {
    /// Its release is being fetched, unpacked or prepared.
    Waiting,
    /// Runs; its check has not passed yet.
    Starting,
    /// Runs and its check passes.
    Ready,
    /// Runs, was ready, and its check fails now.
    Unhealthy,
    /// Ended; started again in `next_start_in`.
    BackingOff { next_start_in: Millis },
    /// No longer assigned; SIGTERM was sent, or is about to be.
    Stopping,
    /// Can't be started here at all; another instance is needed.
    Failed { reason: FailureReason, message: String },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureReason {
    /// Something else listens on its port.
    PortTaken,
    /// Its release could not be fetched, unpacked or prepared.
    Release,
    /// The machine refused to start it.
    Start,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ExitReport {
    /// `None` when a signal ended it, or nobody saw.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// The kernel ended it for want of memory.
    pub out_of_memory: bool,
    /// The last lines of its output, oldest first; at most 20.
    pub last_lines: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TaskState {
    /// Its release is not here yet; it has not been started.
    Waiting,
    Running,
    Ended(ExitReport),
    /// It could not be started, and will not be.
    Failed {
        message: String,
    },
    /// It was started and nobody saw its end.
    Unknown,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseStatus {
    pub app: AppName,
    pub release: ReleaseNumber,
    #[serde(flatten)]
    pub state: ReleaseState,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ReleaseState {
    Fetching(Fetched),
    Unpacking,
    Preparing,
    Ready,
    /// Tried again when the assignment changes.
    Failed {
        message: String,
    },
}

/// How much of a release has come to a server, as it is packed. Told a few times a second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    #[serde(default)]
    pub bytes: u64,
    /// What there is to come in all; `None` before that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of: Option<u64>,
}

/// What a server's load balancer confirmed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// The agent could speak with it when the report was made.
    pub alive: bool,
    /// The newest table that every worker of it uses.
    pub acknowledged: Option<Version>,
    /// Which secret part it uses with that. Another than the table was published with where only other servers could be asked for
    /// the table.
    #[serde(default, skip_serializing_if = "SecretMark::is_empty")]
    pub secrets: SecretMark,
    /// A newer table that it would not take, and why.
    pub refused: Option<TableRefusal>,
    /// Endpoints of the acknowledged table that get no requests.
    pub not_in_rotation: BTreeSet<InstanceId>,
    /// Requests (and open WebSockets) per endpoint; endpoints with none are left out.
    pub in_flight: BTreeMap<InstanceId, u64>,
    /// Why it can't be kept running as it should, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Hosts of the table that it answers over TLS with a certificate that nobody vouches for; the first hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without_certificate: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableRefusal {
    pub version: Version,
    pub reasons: Vec<String>,
}
