//! Apps as they are, and the wishes about them that are no deployment.

use std::collections::{BTreeMap, BTreeSet};

use pando_model::app::VolumeSpec;
use pando_model::desired::{Deployment, Wish};
use pando_model::id::{InstanceId, ServerId};
use pando_model::name::{AppName, ProcessName, ReplicaName, RoleName, ServerName};
use pando_model::observed::ExitReport;
use pando_model::release::{Release, ReleaseNumber};
use pando_model::time::{Millis, Timestamp};
use serde::{Deserialize, Serialize};

/// `GET /v1/apps`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AppList {
    pub apps: Vec<AppSummary>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AppSummary {
    pub name: AppName,
    pub state: AppState,
    /// What runs now. `None`: nothing was deployed successfully yet.
    pub release: Option<ReleaseNumber>,
    pub wanted: u32,
    pub ready: u32,
    pub urls: Vec<String>,
    /// Visitors get a page instead of the app, since then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance_since: Option<Timestamp>,
    /// Requests wait, until then at the longest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<Timestamp>,
}

/// An app in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AppState {
    /// Known, and nothing was deployed successfully yet.
    New,
    /// Every wanted replica is ready.
    Running,
    /// Not every wanted replica is ready, and no deployment is under way.
    Degraded,
    Deploying,
    GoingBack,
    Stopping,
    Stopped,
}

/// `GET /v1/apps/APP`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct AppStatus {
    pub name: AppName,
    pub state: AppState,
    pub release: Option<ReleaseNumber>,
    /// The deployment under way.
    pub deployment: Option<Deployment>,
    /// How many deployments wait behind it.
    pub queued: usize,
    /// The last deployment that ended.
    pub last: Option<Deployment>,
    pub wish: Wish,
    /// Every load balancer that lives has taken in what the wish says of maintenance and pause.
    #[serde(default)]
    pub wish_in_force: bool,
    pub processes: Vec<ProcessStatus>,
    pub replicas: Vec<ReplicaStatus>,
    /// What Pando waits for, a line each.
    pub waiting_on: Vec<String>,
    pub domains: Vec<String>,
    /// Where the app answers, such as `https://hits.example.com`.
    pub urls: Vec<String>,
    /// What the servers of its replicas can't do for what runs there, each line after the server's name: their container engine
    /// gives no answer, limits are not enforced. Before these, what its replicas lose with each restart: files where the image
    /// declares a volume and the file names none.
    #[serde(default)]
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProcessStatus {
    pub process: ProcessName,
    pub role: RoleName,
    /// How many replicas there should be.
    pub wanted: u32,
    /// How many replicas are ready and in service, of every release: while one replaces another, both count.
    pub ready: u32,
    /// How many replicas exist, of every release, until they have stopped.
    pub existing: u32,
    /// `pando scale` set the count.
    pub scaled: bool,
}

/// One instance of a replica; while it is replaced, a replica has two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReplicaStatus {
    pub replica: ReplicaName,
    pub process: ProcessName,
    pub instance: InstanceId,
    pub release: ReleaseNumber,
    pub server: ServerId,
    pub server_name: ServerName,
    pub port: u16,
    pub state: ReplicaState,
    /// When it came into the state's phase of its life: was assigned, began to serve, began to drain or to stop.
    pub since: Timestamp,
    pub pid: Option<u32>,
    pub restarts: u32,
    /// For how long it has been ready without a break.
    pub ready_for: Option<Millis>,
    /// Requests under way, of all load balancers.
    pub in_flight: u64,
    /// The failing check's last answer, or why it can't start.
    pub problem: Option<String>,
    /// How the last run ended, when one has.
    pub last_exit: Option<ExitReport>,
    /// What its image declares by `VOLUME` and nothing is mounted at: files there go with each restart and each deploy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmounted: Vec<String>,
}

/// What those of the replicas that are to stay lose with each restart, and what to do about it, a line for each path.
pub fn losses<'a>(replicas: impl IntoIterator<Item = &'a ReplicaStatus>) -> Vec<String> {
    let stays =
        |replica: &&ReplicaStatus| !matches!(replica.state, ReplicaState::Draining | ReplicaState::Stopping);
    let paths: BTreeSet<&String> =
        replicas.into_iter().filter(stays).flat_map(|replica| &replica.unmounted).collect();
    paths.into_iter().map(|path| VolumeSpec::missing(path)).collect()
}

/// Decision and observation in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaState {
    /// Decided; its server has not told of it yet, or fetches and prepares the release.
    Pending,
    /// Runs; its check has not passed yet.
    Starting,
    /// Its check passes; not in the load balancers' table yet.
    Ready,
    /// Ready, and decided to be in service.
    Serving,
    /// Was ready, and its check fails now.
    Unhealthy,
    /// Ended; waits before it is started again.
    BackingOff,
    /// Gets no new requests; those under way may end.
    Draining,
    Stopping,
    /// Can't be started where it is.
    Failed,
    /// Its server has not been heard for the *lost* time.
    Lost,
}

/// `GET /v1/apps/APP/releases`: newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReleaseList {
    pub releases: Vec<ReleaseSummary>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ReleaseSummary {
    #[serde(flatten)]
    pub release: Release,
    /// The app runs it now.
    pub current: bool,
    /// A deployment of it succeeded, as far as kept deployments tell.
    pub succeeded: bool,
}

/// `POST /v1/apps/APP/scale`. Answers the [`Wish`] as it is then.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ScaleRequest {
    /// A count (0 to 1,000), or null: as the file has it again. Processes that are not named stay as they are.
    #[schema(value_type = BTreeMap<String, Option<u32>>)]
    pub processes: BTreeMap<ProcessName, Option<u32>>,
}

/// `POST /v1/apps/APP/stop`. Answers the [`Wish`] as it is then; `POST …/start` has no body.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct StopRequest {
    /// Remove the unpacked releases from the servers too.
    #[serde(default)]
    pub remove: bool,
}

/// `POST /v1/apps/APP/maintenance`. Answers the [`Wish`] as it is then; `DELETE` ends it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MaintenanceRequest {
    /// Addresses and ranges whose requests pass.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub allow: Vec<pando_routing::Network>,
    /// The sentence on the page, of at most 1,000 bytes. Default: one that says that it is maintenance.
    #[serde(default)]
    pub message: Option<String>,
    /// An HTML page in place of Pando's own, of at most 64 KiB.
    #[serde(default)]
    pub page: Option<String>,
    /// What `Retry-After` says: 1 s to 1 day. Default: 60 s.
    #[serde(default)]
    pub retry_after: Option<Millis>,
}

/// `POST /v1/apps/APP/pause`. Answers the [`Wish`] as it is then; `DELETE` ends it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// How long at the longest: up to 5 min. Default: 30 s.
    #[serde(default)]
    pub length: Option<Millis>,
    /// How many requests wait at each load balancer, of one route: up to 100,000. Default: 1,000.
    #[serde(default)]
    pub most: Option<u32>,
}
