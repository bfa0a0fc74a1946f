//! How this agent and the others of the cluster know each other: by certificates, or by tokens on one machine.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use pando_api::Bearer;
use pando_api::client::{AgentClient, Client, ClientError};
use pando_model::id::ServerId;
use pando_model::time::Timestamp;
use pando_rt::clock::Clock;
use pando_trust::tls::client_config;
use pando_trust::{LiveIdentity, Subject, TrustError, VerifyingKey};

/// How both ends of a connection prove who they are.
#[derive(Debug, Clone)]
pub enum Trust {
    /// Plain HTTP, on this machine alone. Nothing is signed; who knows a token is believed.
    Tokens {
        /// Of the scope `agent` for this server; the control plane asks for it.
        control: Bearer,
        /// The agent's own API asks for it, this one and those of other servers.
        own: Bearer,
    },
    /// TLS with certificates of the cluster's authority. What the control plane publishes must be signed.
    Certificates(Membership),
}

/// This server as a member of its cluster.
#[derive(Debug, Clone)]
pub struct Membership {
    /// Of this server. Renewed by the agent at half-life, and swapped here.
    pub identity: Arc<LiveIdentity>,
    /// Where a renewed identity is kept; see [`pando_trust::Identity::load`].
    pub file: PathBuf,
    /// By which certificates are judged, and renewed.
    pub clock: Clock,
}

/// Why nobody can be spoken with.
#[derive(Debug, thiserror::Error)]
pub enum ContactError {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("`{0}` is no address of a control plane: it is https://HOST:PORT")]
    Address(String),
}

impl Membership {
    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.now_millis())
    }

    /// What the control plane publishes is checked by it.
    pub(crate) fn signing_key(&self) -> VerifyingKey {
        *self.identity.current().anchor().signing_key()
    }
}

impl Trust {
    /// `None`: nothing is signed.
    pub(crate) fn membership(&self) -> Option<&Membership> {
        match self {
            Self::Tokens { .. } => None,
            Self::Certificates(membership) => Some(membership),
        }
    }

    /// Speaks to the control plane at `url`: `http://HOST:PORT` of this machine with tokens, `https://HOST:PORT` with
    /// certificates.
    pub(crate) fn control(&self, url: &str) -> Result<Client, ContactError> {
        match self {
            Self::Tokens { control, .. } => Ok(Client::new(url, Some(control.clone()))?),
            Self::Certificates(membership) => {
                let config = client_config(&membership.identity, Subject::Control, &membership.clock)?;
                Ok(Client::with_tls(&place_of(url)?, None, config))
            }
        }
    }

    /// Speaks to the agent of another server.
    pub(crate) fn peer(&self, server: ServerId, address: SocketAddr) -> Result<AgentClient, ContactError> {
        match self {
            Self::Tokens { own, .. } => Ok(AgentClient::new(address, Some(own.clone()))?),
            Self::Certificates(membership) => {
                let expected = Subject::Server(server);
                let config = client_config(&membership.identity, expected, &membership.clock)?;
                Ok(AgentClient::with_tls(address, server, config))
            }
        }
    }
}

/// `HOST:PORT`. The pin of an address is not needed: the identity knows the authority.
fn place_of(url: &str) -> Result<String, ContactError> {
    let wrong = || ContactError::Address(url.to_owned());
    let place = url.strip_prefix("https://").ok_or_else(wrong)?;
    let place = place.split_once('#').map_or(place, |(place, _)| place);
    let place = place.strip_suffix('/').unwrap_or(place);
    let authority: http::uri::Authority = place.parse().map_err(|_| wrong())?;
    let plain = !authority.host().is_empty() && !place.contains('@');
    let port = authority.port_u16().unwrap_or(pando_trust::CONTROL_PORT);
    plain.then(|| format!("{}:{port}", authority.host())).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_from_an_address_with_or_without_its_pin() {
        for (url, place) in [
            ("https://10.0.0.1:7420", "10.0.0.1:7420"),
            ("https://10.0.0.1/", "10.0.0.1:7420"),
            ("https://control.example:9#sha256:00", "control.example:9"),
            ("https://[fd00::1]:9", "[fd00::1]:9"),
        ] {
            assert_eq!(place_of(url).unwrap(), place);
        }
        for bad in ["http://10.0.0.1:7420", "10.0.0.1:7420", "https://", "https://u@h", "https://h/path"] {
            assert!(place_of(bad).is_err(), "{bad}");
        }
    }
}
