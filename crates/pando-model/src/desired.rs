//! What people asked for, and what was decided and recorded on the way there.
//!
//! Everything here lives in the store and survives any crash. The planner holds
//! no state between its calls: what it must remember is written here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use pando_routing::Network;
pub use pando_routing::SecretMark;
use serde::{Deserialize, Serialize};

use crate::assignment::Assignment;
use crate::firewall::{Cidr, OpenPort};
use crate::id::{DeploymentId, InstanceId, ServerId, TaskId};
use crate::name::{AppName, ProcessName, ReplicaName};
use crate::release::{Release, ReleaseNumber};
use crate::server::Server;
use crate::time::{Millis, Timestamp};

/// The whole of the store that planning needs, read at one revision.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Desired<Table> {
    pub epoch: u64,
    pub settings: Settings,
    pub servers: BTreeMap<ServerId, Server>,
    pub apps: BTreeMap<AppName, AppDesired>,
    /// The routing table as last published.
    pub table: Option<Table>,
    /// When it was.
    #[serde(default)]
    pub published_at: Timestamp,
    /// Which secrets it went out with.
    #[serde(default)]
    pub table_secrets: SecretMark,
    /// Which secrets there are for tables now.
    #[serde(default)]
    pub secrets: SecretMark,
    /// The assignments as last published.
    pub assignments: BTreeMap<ServerId, Assignment>,
    pub ports: BTreeMap<PortKey, PortLease>,
}

impl<Table> Desired<Table> {
    /// Takes a table as published, with the secrets that there are.
    pub fn take_table(&mut self, table: Table, at: Timestamp) {
        (self.table, self.published_at) = (Some(table), at);
        self.table_secrets = self.secrets.clone();
    }
}

/// The cluster's own settings.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Settings {
    /// An app without domains answers every host (`pando dev`).
    #[serde(default)]
    pub open_host: bool,
    /// The servers share one machine, so that a port is nobody else's (`pando dev`).
    #[serde(default)]
    pub one_machine: bool,
    /// Requests from outside are taken by servers with the role `lb` alone.
    #[serde(default)]
    pub lockdown: bool,
    #[serde(default)]
    pub firewall: FirewallSettings,
    /// A token for joining was made that is good until then: whoever has it may come from anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub joining_until: Option<Timestamp>,
}

/// What people say of the firewall; the rest follows from roles.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FirewallSettings {
    /// Agents keep the rules in force. Off in `pando dev`, and until somebody turns it on.
    #[serde(default)]
    pub enabled: bool,
    /// Who may reach SSH. Empty: everybody.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub ssh_from: BTreeSet<Cidr>,
    /// Who may reach the API, beside the cluster's servers.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub control_from: BTreeSet<Cidr>,
    /// What else stays open.
    #[serde(default)]
    pub open: BTreeSet<OpenPort>,
    /// Rules come into force even when somebody who is connected to SSH or the API now could not connect again.
    #[serde(default)]
    pub cut_sessions: bool,
}

/// One app, as the store has it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AppDesired {
    pub wish: Wish,
    /// The releases that are kept, oldest first.
    pub releases: BTreeMap<ReleaseNumber, Release>,
    /// Deployments that have not ended, oldest first: the first is under way, the others wait for it.
    pub deployments: VecDeque<Deployment>,
    pub assigned: Assigned,
}

/// What people asked for, beyond deploying. Written by the API alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Wish {
    /// `pando stop` was said, and no `start` or `deploy` since.
    #[serde(default)]
    pub stopped: bool,
    /// With `stopped`: the unpacked releases are removed from the servers too.
    #[serde(default)]
    pub remove: bool,
    /// Counts that `pando scale` set; they win over the release's.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, u32>)]
    pub scale: BTreeMap<ProcessName, u32>,
    /// Visitors get a page instead of the app.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<MaintenanceWish>,
    /// Requests wait. It holds until its end, whatever stands here afterwards.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pause: Option<PauseWish>,
}

impl Wish {
    /// The pause, while it lasts.
    #[must_use]
    pub fn pause_at(&self, now: Timestamp) -> Option<&PauseWish> {
        self.pause.as_ref().filter(|pause| now < pause.until)
    }
}

/// `pando maintenance on`: everybody gets 503 with a page, but who is let through.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceWish {
    pub since: Timestamp,
    /// Who said so.
    pub by: String,
    /// Whose requests pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub allow: Vec<Network>,
    /// The sentence on the page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// An HTML page in place of Pando's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub page: Option<String>,
    /// What `Retry-After` says, in whole seconds.
    pub retry_after: Millis,
}

/// `pando pause`: requests wait, and go on in their order when it ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseWish {
    pub since: Timestamp,
    /// When it ends by itself.
    pub until: Timestamp,
    /// Who said so.
    pub by: String,
    /// How many requests wait at each load balancer, of one route; more get 503.
    pub most: u32,
}

impl PauseWish {
    /// How long a request may wait: as long as the pause is.
    #[must_use]
    pub fn hold(&self) -> Millis {
        self.until.since(self.since)
    }
}

/// What was decided for an app. Written by the planner alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Assigned {
    /// What the app runs when no deployment is under way.
    #[serde(default)]
    pub committed: Option<Target>,
    #[serde(default)]
    pub instances: BTreeMap<InstanceId, Instance>,
    /// The releases that were ever committed and are kept, the latest first: those that somebody may want again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub served: Vec<ReleaseNumber>,
}

/// A release as a deployment brings it: restarting the same release is a new target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub release: ReleaseNumber,
    pub deployment: DeploymentId,
}

/// One decided replica on one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    pub replica: ReplicaName,
    pub target: Target,
    pub server: ServerId,
    pub port: u16,
    pub created_at: Timestamp,
    pub phase: Phase,
    /// Since when a serving instance has not been ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unready_since: Option<Timestamp>,
}

/// Where an instance is on its way through life. It only moves down this list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum Phase {
    /// Assigned; gets no requests.
    Starting,
    /// Was ready for long enough: in the table whenever it is ready.
    Serving { since: Timestamp },
    /// Gets no new requests; those in flight may end until `deadline`.
    Draining { since: Timestamp, deadline: Timestamp },
    /// Left the assignment; the agent stops it.
    Stopping { since: Timestamp },
}

/// One attempt to make the cluster run a release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Deployment {
    pub id: DeploymentId,
    pub app: AppName,
    pub kind: DeploymentKind,
    pub release: ReleaseNumber,
    pub created_at: Timestamp,
    pub created_by: String,
    pub phase: DeploymentPhase,
    /// When it became the one under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeploymentKind {
    Deploy,
    Rollback,
    Restart,
}

/// Where a deployment is. `Queued` → `Releasing` → `Rolling` → `Done`, or from either of the middle ones →
/// `GoingBack` → `Failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "phase", rename_all = "snake_case")]
pub enum DeploymentPhase {
    /// Waits for the one before it.
    Queued,
    /// The release is being brought to the servers; then its release command runs, at most once.
    Releasing {
        /// The task, once it was decided where it runs; never a second one.
        task: Option<ReleaseTask>,
    },
    /// Replicas are being replaced.
    Rolling,
    /// Recorded before the first step of going back.
    GoingBack {
        failure: Failure,
        since: Timestamp,
    },
    Done {
        /// How many replicas it started.
        replaced: u32,
    },
    Failed {
        failure: Failure,
    },
}

impl DeploymentPhase {
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self, Self::Done { .. } | Self::Failed { .. })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReleaseTask {
    pub id: TaskId,
    pub server: ServerId,
}

/// Why a deployment failed: everything that a person needs to mend it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Failure {
    /// One sentence, such as ``web-1 on main was not ready within 60 s: 503 from /health``.
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<ReplicaName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The failing check's last answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// How the last run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<crate::observed::ExitReport>,
}

/// An (address, port) as it stands in the store's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortKey {
    pub server: ServerId,
    pub port: u16,
}

impl Serialize for PortKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{}/{}", self.server, self.port))
    }
}

impl<'de> Deserialize<'de> for PortKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bad = || serde::de::Error::custom(format!("`{text}` is not SERVER/PORT"));
        let (server, port) = text.split_once('/').ok_or_else(bad)?;
        Ok(Self { server: server.parse().map_err(|_| bad())?, port: port.parse().map_err(|_| bad())? })
    }
}

/// Who has a port. It is not given to another app for 24 h after it was freed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortLease {
    pub app: AppName,
    /// `None`: freed at `changed_at`.
    pub instance: Option<InstanceId>,
    pub changed_at: Timestamp,
}
