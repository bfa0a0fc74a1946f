//! Who this server is and where it listens: `server.json`, made once when a cluster is made or joined.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use anyhow::{Context, bail};
use pando_model::id::ServerId;
use pando_model::name::ServerName;
use pando_model::time::Timestamp;
use pando_rt::fs::{read_if_there, write_atomically};
use serde::{Deserialize, Serialize};

/// What a server knows of itself before it has spoken to anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Me {
    pub(crate) id: ServerId,
    pub(crate) name: ServerName,
    pub(crate) joined_at: Timestamp,
    /// Replicas listen here, and the agent.
    pub(crate) private_address: IpAddr,
    /// Where its agent serves the control plane and other agents.
    pub(crate) agent: SocketAddr,
    /// Where the API listens; `None`: this is no control server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) api: Option<SocketAddr>,
    /// The API as this server reaches it.
    pub(crate) control: String,
    /// Where its load balancer listens while it is an entry point.
    pub(crate) http: Vec<SocketAddr>,
    /// Where it listens for TLS. `None`: on port 443 wherever it listens on port 80.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) https: Option<Vec<SocketAddr>>,
    /// Everything as the caller, on one machine.
    #[serde(default)]
    pub(crate) dev: bool,
}

impl Me {
    /// `None`: this server belongs to no cluster yet.
    pub(crate) fn load(path: &Path) -> anyhow::Result<Option<Self>> {
        let bytes = read_if_there(path).with_context(|| format!("can't read `{}`", path.display()))?;
        let Some(bytes) = bytes else { return Ok(None) };
        let me = serde_json::from_slice(&bytes);
        me.map(Some).with_context(|| format!("`{}` is damaged, or of another version", path.display()))
    }

    /// # Errors
    /// When there is none: with what makes one.
    pub(crate) fn expect(path: &Path) -> anyhow::Result<Self> {
        let Some(me) = Self::load(path)? else {
            bail!(
                "this server belongs to no cluster: `pando cluster init` makes one here, `pando server join` joins one \
                 (there is no `{}`)",
                path.display()
            );
        };
        Ok(me)
    }

    /// Where its load balancer listens for TLS.
    pub(crate) fn https(&self) -> Vec<SocketAddr> {
        let beside = || self.http.iter().filter(|http| http.port() == 80);
        self.https.clone().unwrap_or_else(|| beside().map(|http| SocketAddr::new(http.ip(), 443)).collect())
    }

    pub(crate) fn save(&self, path: &Path) -> anyhow::Result<()> {
        write_atomically(path, &serde_json::to_vec_pretty(self)?, 0o600)
            .with_context(|| format!("can't write `{}`", path.display()))
    }
}
