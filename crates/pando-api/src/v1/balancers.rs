//! Entry points: where requests from outside arrive, and who balances them.

use std::net::IpAddr;

use pando_model::id::ServerId;
use pando_model::name::{AppName, ServerName};
use pando_model::time::{Millis, Timestamp};
use serde::{Deserialize, Serialize};

use super::status::{ProxyState, ServerState};

/// `GET /v1/balancers`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct BalancerList {
    /// Requests from outside are taken by servers with the role `lb` alone.
    pub lockdown: bool,
    /// By name.
    pub entry_points: Vec<EntryPointStatus>,
    /// What visitors ask for, by domain.
    pub domains: Vec<DomainOwner>,
    /// What should be seen to before visitors notice, a line each: domains without a certificate, certificates that expire.
    #[serde(default)]
    pub warnings: Vec<String>,
}

/// How a server takes requests from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntryRole {
    /// It has the role `lb`, and treats all replicas alike.
    Balancer,
    /// It has the role `web`, and prefers its own replicas. Closed by a lockdown.
    Direct,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct EntryPointStatus {
    pub server: ServerId,
    pub name: ServerName,
    pub role: EntryRole,
    pub state: ServerState,
    #[schema(value_type = String)]
    pub private_address: IpAddr,
    #[schema(value_type = Option<String>)]
    pub public_address: Option<IpAddr>,
    pub proxy: ProxyState,
    /// Endpoints of the published table that are to get requests.
    pub endpoints: u32,
    /// Of those, how many get them here.
    pub in_rotation: u32,
    /// Requests and open WebSockets that came in here and are under way.
    pub in_flight: u64,
    pub requests: RequestCounts,
}

impl EntryPointStatus {
    /// It balances with the newest table and what goes with it, as far as is known.
    #[must_use]
    pub fn is_working(&self) -> bool {
        let current = self.proxy.published.is_none() || self.proxy.acknowledged >= self.proxy.published;
        self.state == ServerState::Alive && self.proxy.alive && current && !self.proxy.older_secrets
    }
}

/// What arrived at an entry point for apps of this cluster. Requests that no route matches (the noise of the internet) are apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct RequestCounts {
    pub last_minute: u64,
    pub last_ten_minutes: u64,
    /// As far back as is known.
    pub total: u64,
    /// Matched by no route, as far back as is known.
    pub unmatched: u64,
    /// For how long the counters have been followed; what was counted before is in no window.
    pub followed: Millis,
    /// When counters last came. `None`: never.
    pub heard_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct DomainOwner {
    pub domain: String,
    pub app: AppName,
}

/// `POST /v1/balancers/lockdown`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LockdownRequest {
    /// Even while requests still arrive elsewhere, or no load balancer is alive.
    #[serde(default)]
    pub force: bool,
}
