//! The cluster's servers, and what people want of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use pando_model::firewall::FirewallStatus;
use pando_model::id::InstanceId;
use pando_model::name::{AppName, ReplicaName, RoleName};
use pando_model::release::ReleaseNumber;
use pando_model::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::apps::ReplicaState;
use super::balancers::EntryRole;
use super::status::ServerStatus;

/// `GET /v1/servers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServerList {
    /// By name.
    pub servers: Vec<ServerStatus>,
}

/// `GET /v1/servers/SERVER`, and the answer to every change of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServerDetail {
    #[serde(flatten)]
    pub status: ServerStatus,
    pub joined_at: Timestamp,
    /// Where its agent serves the cluster.
    #[schema(value_type = String)]
    pub agent_address: SocketAddr,
    /// How it takes requests from outside. `None`: it doesn't.
    pub entry: Option<EntryRole>,
    /// Every replica that exists there, until it has stopped; by app and name.
    pub replicas: Vec<ServerReplica>,
    /// How many of them neither its roles nor its standing bring: they are on their way out.
    pub unwanted: u32,
    /// How many replicas its roles bring that are not in service there yet, of processes with a count per server.
    pub missing: u32,
    /// Its agent acts on the newest that was decided for it.
    pub is_current: bool,
    /// What stands between it and what is wanted of it, a line each.
    pub waiting_on: Vec<String>,
    /// What its agent says that a person should know.
    pub warnings: Vec<String>,
    /// `None`: it keeps no packet filter, or has not said.
    pub firewall: Option<FirewallStatus>,
    /// When its certificate ends unless it is renewed. `None`: not known.
    pub certificate_expires_at: Option<Timestamp>,
}

impl ServerDetail {
    /// Nothing of any app is left there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replicas.is_empty()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServerReplica {
    pub app: AppName,
    pub replica: ReplicaName,
    pub instance: InstanceId,
    pub release: ReleaseNumber,
    pub port: u16,
    pub state: ReplicaState,
    /// Requests that are under way to it.
    pub in_flight: u64,
}

/// `POST /v1/servers/SERVER/roles`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RolesRequest {
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub add: BTreeSet<RoleName>,
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub remove: BTreeSet<RoleName>,
    /// Even if something has nowhere to run then.
    #[serde(default)]
    pub force: bool,
}

/// `POST /v1/servers/SERVER/labels`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LabelsRequest {
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    #[serde(default)]
    pub remove: BTreeSet<String>,
    /// Even if something has nowhere to run then.
    #[serde(default)]
    pub force: bool,
}

/// `POST /v1/servers/SERVER/drain`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DrainRequest {
    /// Even if something has nowhere to run then.
    #[serde(default)]
    pub force: bool,
}

/// `DELETE /v1/servers/SERVER?…`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct RemoveQuery {
    /// Even if something has nowhere to run then; a lost server is forgotten at once.
    #[serde(default)]
    pub force: bool,
}

/// The answer to `DELETE /v1/servers/SERVER`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Removal {
    /// It is no longer a server of the cluster. False: it is being emptied, and is forgotten then.
    pub forgotten: bool,
}
