//! What each server accepts from the network.

use pando_model::desired::FirewallSettings;
use pando_model::firewall::FirewallRule;
use pando_model::id::ServerId;
use pando_model::name::ServerName;
use serde::{Deserialize, Serialize};

use super::status::ServerState;

/// `GET /v1/firewall`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FirewallView {
    pub settings: FirewallSettings,
    /// By name.
    pub servers: Vec<ServerFirewall>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServerFirewall {
    pub server: ServerId,
    pub name: ServerName,
    pub state: ServerState,
    /// The server is to keep the rules in force. False: they are only what others must be able to reach.
    pub enforced: bool,
    pub rules: Vec<FirewallRule>,
    /// Its agent says that these very rules are in force.
    pub in_force: bool,
    /// What stands in the way, a line each, with the command that mends it.
    pub problems: Vec<String>,
}
