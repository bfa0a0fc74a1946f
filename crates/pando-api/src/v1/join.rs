//! How a server comes into the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use pando_model::id::ServerId;
use pando_model::name::{RoleName, ServerName};
use pando_model::resources::Capacity;
use pando_model::time::{Millis, Timestamp};
use pando_trust::{Anchor, Fingerprint};
use serde::{Deserialize, Serialize};

/// The longest, and the usual, life of a join token.
pub const JOIN_WITHIN: Millis = Millis::from_secs(15 * 60);

/// `POST /v1/cluster/join-tokens`: lets one server join, once.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct JoinTokenRequest {
    /// What the server is to be for. Empty: nothing yet.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub roles: BTreeSet<RoleName>,
    /// What it is to be called; otherwise it says so itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<ServerName>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// How long it is good for; at most, and without it, 15 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<Millis>,
}

/// The only answer that ever has the secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JoinTokenCreated {
    /// The bearer token for `POST /v1/join`; with address and fingerprint it makes a [`pando_trust::JoinWord`].
    pub secret: String,
    /// Of the cluster's authority.
    #[schema(value_type = String)]
    pub fingerprint: Fingerprint,
    pub expires_at: Timestamp,
    /// By which it is listed and removed like other tokens.
    pub id: String,
}

impl fmt::Debug for JoinTokenCreated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinTokenCreated")
            .field("id", &self.id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// `POST /v1/join`, with the join token. Repeated with the same key after its answer was lost, it answers the same server again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JoinRequest {
    /// For the server's certificate, in PEM form; see [`pando_trust::PendingIdentity::request`].
    pub request: String,
    /// Left aside when the token says one.
    pub name: ServerName,
    /// On the network that the servers share.
    #[schema(value_type = String)]
    pub private_address: IpAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub public_address: Option<IpAddr>,
    /// Where its agent's API is reached by other servers.
    #[schema(value_type = String)]
    pub agent_address: SocketAddr,
    pub capacity: Capacity,
    /// Of its program.
    pub version: String,
}

/// The answer to a [`JoinRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct JoinAnswer {
    pub server: ServerId,
    pub name: ServerName,
    /// In PEM form.
    pub certificate: String,
    #[schema(value_type = Object)]
    pub authority: Anchor,
}
