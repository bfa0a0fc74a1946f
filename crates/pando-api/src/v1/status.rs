//! The cluster at a glance.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use pando_model::id::{ServerId, Version};
use pando_model::name::{RoleName, ServerName};
use pando_model::resources::Capacity;
use pando_model::server::Standing;
use pando_model::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::apps::AppSummary;

/// `GET /v1/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ClusterStatus {
    /// Of the program.
    pub version: String,
    pub now: Timestamp,
    pub servers: Vec<ServerStatus>,
    pub apps: Vec<AppSummary>,
    /// What a person should know, a line each.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServerStatus {
    pub id: ServerId,
    pub name: ServerName,
    #[schema(value_type = Vec<String>)]
    pub roles: BTreeSet<RoleName>,
    #[schema(value_type = String)]
    pub private_address: IpAddr,
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub public_address: Option<IpAddr>,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What people want of it.
    #[serde(default)]
    pub standing: Standing,
    pub state: ServerState,
    /// `None`: not since the control plane started.
    pub heard_at: Option<Timestamp>,
    pub capacity: Capacity,
    /// What the limits of the replicas here add up to.
    pub reserved: Capacity,
    pub instances: u32,
    /// `None`: the server runs no load balancer.
    pub proxy: Option<ProxyState>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// Not heard since the control plane started, and that is not long ago.
    Unknown,
    Alive,
    /// Not heard for 6 s.
    Suspect,
    /// Not heard for 20 s.
    Lost,
}

/// A load balancer, and whether it has the newest table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ProxyState {
    pub alive: bool,
    pub acknowledged: Option<Version>,
    pub published: Option<Version>,
    /// It uses that one with certificates and keys from before: it is cut off from the control plane, and had the table from
    /// another server.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub older_secrets: bool,
    /// Why it would not take a newer table.
    pub refused: Vec<String>,
}
