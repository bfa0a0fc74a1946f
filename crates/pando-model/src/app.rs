//! What an app is, after its file was read, checked and lowered for one target.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::asset::AssetPath;
use crate::name::{AppName, ProcessName, RoleName, ServerName, ServiceName};
use crate::resources::Resources;
use crate::time::Millis;
pub use crate::traffic::{PoolSpec, RouteSpec};

mod order;

pub use order::OrderError;

/// One app, as one target runs it. Every name it mentions exists in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AppSpec {
    pub name: AppName,
    pub run: RunSource,
    /// Runs once per release in its unpacked directory, before it is started anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<String>,
    /// Starts at most once per deployment, on one server, before any traffic moves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_command: Option<String>,
    pub strategy: Strategy,
    /// How long a replica must have been ready without a break before it counts.
    pub min_ready: Millis,
    /// So many releases stay on the servers, the one that runs included: going back and forth between them needs no network.
    #[serde(default = "kept_releases")]
    pub keep_releases: u32,
    /// At least one.
    pub processes: BTreeMap<ProcessName, ProcessSpec>,
    #[serde(default)]
    pub domains: Vec<DomainSpec>,
    #[serde(default)]
    pub routes: Vec<RouteSpec>,
    /// How requests are spread over the replicas of processes that are not among `pools`.
    #[serde(default)]
    pub balancing: Algorithm,
    /// How they are spread, by process.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(value_type = BTreeMap<String, PoolSpec>)]
    pub pools: BTreeMap<ProcessName, PoolSpec>,
    #[serde(default)]
    pub env: BTreeMap<String, EnvValue>,
    #[serde(default)]
    pub volumes: Vec<VolumeSpec>,
    /// The directory whose files the replicas of every release serve that get requests: absolute in an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset_path: Option<AssetPath>,
    /// What else it needs, by the name that `env` and the firewall know it by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<ServiceName, ServiceSpec>,
}

/// What [`AppSpec::keep_releases`] is where nothing else is said.
pub const KEEP_RELEASES: u32 = 5;

fn kept_releases() -> u32 {
    KEEP_RELEASES
}

impl AppSpec {
    /// The processes that get requests: `web`, and whatever a route names.
    #[must_use]
    pub fn routed(&self) -> BTreeSet<&ProcessName> {
        let named: BTreeSet<ProcessName> = self.routes.iter().flat_map(RouteSpec::processes).collect();
        self.processes.keys().filter(|name| name.as_str() == "web" || named.contains(*name)).collect()
    }

    /// How long a replica of one of its processes must have been ready without a break before it counts.
    #[must_use]
    pub fn min_ready_of(&self, process: &ProcessSpec) -> Millis {
        process.min_ready.unwrap_or(self.min_ready)
    }

    /// The process whose user and resources a command has that is of no process, such as the release command or a one-off: `web`,
    /// or else the first by name.
    #[must_use]
    pub fn process_of_commands(&self) -> Option<&ProcessSpec> {
        self.processes.get(&ProcessName::web()).or_else(|| self.processes.values().next())
    }
}

/// What the replicas run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RunSource {
    /// A directory, packed where the file is and unpacked on each server; plain processes.
    Directory { path: String },
    /// A container image by its full reference.
    Image { reference: String, pull_policy: PullPolicy },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PullPolicy {
    #[default]
    Always,
    IfMissing,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    Rolling {
        /// How far below the wanted count the ready replicas may go.
        max_unavailable: Amount,
        /// How far above the wanted count the running replicas may go. Not both zero.
        max_surge: Amount,
    },
    /// Stop all, then start all: a short interruption, never two releases at once.
    Replace,
}

impl Default for Strategy {
    fn default() -> Self {
        Self::Rolling { max_unavailable: Amount::Count(0), max_surge: Amount::Count(1) }
    }
}

/// A count, or a share of the wanted count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Amount {
    Count(u32),
    /// 0 to 100.
    Percent(u32),
}

impl Amount {
    /// Of `wanted`; percents round down here, as Kubernetes does for `maxUnavailable`.
    #[must_use]
    pub fn floor_of(self, wanted: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => share(wanted, percent, 0),
        }
    }

    /// Of `wanted`; percents round up here, as Kubernetes does for `maxSurge`.
    #[must_use]
    pub fn ceil_of(self, wanted: u32) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => share(wanted, percent, 99),
        }
    }
}

fn share(wanted: u32, percent: u32, round: u64) -> u32 {
    u32::try_from((u64::from(wanted) * u64::from(percent) + round) / 100).unwrap_or(u32::MAX)
}

/// A kind of thing that the app runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProcessSpec {
    /// A shell command line, run by `/bin/sh -c`. `None`: the image's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    pub role: RoleName,
    pub count: ReplicaCount,
    /// The port that a container listens on. Plain processes listen on the `PORT` that they are given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_port: Option<u16>,
    pub health: HealthCheck,
    /// How long requests in flight may take to end before SIGTERM, and the process to end before SIGKILL.
    pub stop_timeout: Millis,
    #[serde(default)]
    pub resources: Resources,
    /// Never two at once, not even for a moment.
    #[serde(default)]
    pub singleton: bool,
    /// Beyond the app's; these win.
    #[serde(default)]
    pub env: BTreeMap<String, EnvValue>,
    /// Of the servers with the role, these alone. Empty: all of them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub servers: BTreeSet<ServerName>,
    /// Of the servers with the role, those that have all of these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Whose replicas can be reached before those of this one start; see [`AppSpec::start_order`].
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    #[schema(value_type = Vec<String>)]
    pub depends_on: BTreeSet<ProcessName>,
    /// Who runs in its containers, by name or number, perhaps with a group: `app`, `1000:1000`. `None`: as the image says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Its own [`AppSpec::min_ready`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_ready: Option<Millis>,
}

/// A database, a cache or the like that the app uses and the user runs, on the server with a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ServiceSpec {
    /// What it is, such as `postgres`; for people.
    pub kind: String,
    /// Of the server that it runs on.
    pub role: RoleName,
    pub port: u16,
    /// With `{host}` and `{port}` for where it is; what `from: {service: …}` gives. `None`: the address of the server alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaCount {
    /// In all, spread over the servers with the role.
    Total(u32),
    /// On each server with the role.
    PerServer(u32),
}

/// How the agent finds out whether a replica can serve.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    pub kind: HealthKind,
    /// From one check's start to the next, once the first has passed. Until then: every 100 ms.
    pub interval: Millis,
    pub timeout: Millis,
    /// Passes in a row that bring an unhealthy replica back; the first ever needs one.
    pub healthy: u32,
    /// Failures in a row that make a ready replica unhealthy.
    pub unhealthy: u32,
    /// How long a new replica may take to pass for the first time.
    pub start_timeout: Millis,
}

impl HealthCheck {
    /// [`HealthCheck::unhealthy`] where the file says nothing. The image's own check may say something else then.
    pub const UNHEALTHY: u32 = 3;

    /// [`HealthCheck::interval`] likewise.
    pub const INTERVAL: Millis = Millis::from_secs(2);
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum HealthKind {
    /// GET `path` on the replica's port must answer 200 to 399.
    Http { path: String },
    /// The replica's port must accept a connection.
    Tcp,
    /// The command, run as the replica's user with its environment, must exit 0.
    Command { command: String },
    /// The image's own `HEALTHCHECK`. Where it has none: GET `path`, or, without one, running is ready.
    Image {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        path: Option<String>,
    },
    /// Running is ready.
    None,
}

/// [`ProcessSpec::min_ready`] of a process that may never be asked anything, where the file says nothing: what dies of a wrong command
/// or a missing variable does so within this time, loading a framework included.
pub const MIN_READY_UNASKED: Millis = Millis::from_secs(5);

impl HealthKind {
    /// Running may be all that is known of a replica: whether the image has a check is not known here.
    #[must_use]
    pub fn may_ask_nothing(&self) -> bool {
        matches!(self, Self::None | Self::Image { path: None })
    }
}

/// A domain that the app answers to; its aliases are redirected to it or served alike.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DomainSpec {
    /// A host name in lower case, perhaps `*.example.com`.
    pub domain: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    #[serde(default, skip_serializing_if = "HttpsSpec::is_default")]
    pub https: HttpsSpec,
}

/// How a domain is served once it has a certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HttpsSpec {
    /// Requests without TLS are sent to the same place with it. Default true.
    pub redirect: bool,
    /// What browsers are told to remember. Default: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hsts: Option<HstsSpec>,
    /// Clients have to show a certificate. Default: nobody is asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuthSpec>,
}

/// Who may come in by a certificate of theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientAuthSpec {
    /// The authorities that certificates have to come from, in PEM.
    pub ca_certificates: String,
    /// Who shows none comes in too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optional: bool,
}

impl HttpsSpec {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for HttpsSpec {
    fn default() -> Self {
        Self { redirect: true, hsts: None, client_auth: None }
    }
}

/// For how long browsers use TLS and nothing else for a domain (`Strict-Transport-Security`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HstsSpec {
    pub max_age: Millis,
    #[serde(default)]
    pub include_subdomains: bool,
    /// It may be built into browsers; for that it holds for a year and the subdomains.
    #[serde(default)]
    pub preload: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    RoundRobin,
    LeastConnections,
    #[default]
    PeakEwma,
}

/// Where the value of an environment variable comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnvValue {
    Value(String),
    /// The name of a secret in the cluster's store.
    Secret(String),
    /// Where a service is: its `url`, or the private address of its server.
    Service(ServiceName),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VolumeSpec {
    /// A volume's name or an absolute path on the server.
    pub source: String,
    /// An absolute path in the container.
    pub target: String,
    #[serde(default)]
    pub read_only: bool,
}

impl VolumeSpec {
    /// What becomes of files at a path that an image declares by `VOLUME` and nothing is mounted at, with the remedy.
    #[must_use]
    pub fn missing(target: &str) -> String {
        format!(
            "the image declares `{target}` as a volume, and none is mounted there: what is written to it is lost with each restart and \
             each deploy; name one in the file: `{}`",
            Self::suggested(target)
        )
    }

    /// How one for that path may be written in the file, under a name that no other path of the app suggests.
    #[must_use]
    pub fn suggested(target: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let parts = target.split('/').filter(|part| !part.is_empty());
        let parts: Vec<String> = parts.map(|part| part.chars().map(plain).collect()).collect();
        format!("volumes: [\"{}:{target}\"]", parts.join("-").trim_matches('-'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_of_no_process_are_like_web_or_the_first() {
        let process = crate::traffic::tests::process;
        let user = |names: &[&str]| {
            let mut app: AppSpec = serde_json::from_value(serde_json::json!({
                "name": "a", "run": {"directory": {"path": "."}}, "strategy": "replace", "min_ready": 0, "processes": {},
            }))
            .unwrap();
            for name in names {
                let own = ProcessSpec { user: Some((*name).to_owned()), ..process() };
                app.processes.insert(ProcessName::new(*name).unwrap(), own);
            }
            app.process_of_commands().and_then(|process| process.user.clone())
        };
        assert_eq!(user(&["clock", "web", "worker"]).as_deref(), Some("web"));
        assert_eq!(user(&["worker", "clock"]).as_deref(), Some("clock"));
        assert_eq!(user(&[]), None);
    }

    #[test]
    fn volumes_for_different_paths_are_different_ones() {
        assert_eq!(VolumeSpec::suggested("/data"), "volumes: [\"data:/data\"]");
        assert_eq!(VolumeSpec::suggested("/var/lib/My_db/"), "volumes: [\"var-lib-my-db:/var/lib/My_db/\"]");
        assert!(VolumeSpec::missing("/data").ends_with("`volumes: [\"data:/data\"]`"));
    }

    #[test]
    fn percents_round_like_kubernetes() {
        for (percent, wanted, floor, ceil) in
            [(25, 4, 1, 1), (25, 5, 1, 2), (0, 9, 0, 0), (100, 3, 3, 3), (1, 3, 0, 1)]
        {
            let amount = Amount::Percent(percent);
            assert_eq!(
                (amount.floor_of(wanted), amount.ceil_of(wanted)),
                (floor, ceil),
                "{percent} of {wanted}"
            );
        }
    }
}
