//! Servers: machines that run the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::desired::Settings;
use crate::id::ServerId;
use crate::name::{RoleName, ServerName};
use crate::resources::Capacity;
use crate::time::Timestamp;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Server {
    pub id: ServerId,
    pub name: ServerName,
    #[schema(value_type = Vec<String>)]
    pub roles: BTreeSet<RoleName>,
    /// On the private network; replicas listen here.
    #[schema(value_type = String)]
    pub private_address: IpAddr,
    /// Where the world reaches it; `None`: as far as is known, nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub public_address: Option<IpAddr>,
    /// Where its agent serves logs, exec and artifacts to the control plane and to other agents.
    #[schema(value_type = String)]
    pub agent_address: SocketAddr,
    pub capacity: Capacity,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    #[serde(default)]
    pub standing: Standing,
    pub joined_at: Timestamp,
}

/// What people want of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// It takes what its roles bring.
    #[default]
    Active,
    /// It is being emptied, or is empty, and gets nothing new; it stays in the cluster.
    Draining,
    /// It is being emptied, and is removed from the cluster then.
    Leaving,
}

impl Server {
    /// Requests from outside arrive here: it balances (`lb`), or it is a `web` server while direct access is open.
    #[must_use]
    pub fn is_entry_point(&self, settings: &Settings) -> bool {
        let has = |role: &str| self.roles.iter().any(|own| own.as_str() == role);
        has("lb") || (has("web") && !settings.lockdown)
    }

    /// Its load balancer sends requests to replicas on the same server while one of them can serve.
    #[must_use]
    pub fn prefers_local(&self) -> bool {
        self.roles.iter().all(|role| role.as_str() != "lb")
    }
}
