//! Servers: machines that run the agent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

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
    /// Where its agent serves logs, exec and artifacts to the control plane.
    #[schema(value_type = String)]
    pub agent_address: SocketAddr,
    pub capacity: Capacity,
    /// The server runs a load balancer that publishing must wait for.
    pub has_proxy: bool,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    pub joined_at: Timestamp,
}
