//! The callers' side of an agent's own API: the control plane's, and other agents'.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, StatusCode};
use pando_model::id::{ServerId, Version};
use pando_trust::{SignedBytes, Subject};
use rustls::ClientConfig;

use super::exec::{self, ExecStream};
use super::transport::{Call, Transport, query};
use super::{ClientError, LogLines};
use crate::auth::Bearer;
use crate::v1::agents::{ExecStart, LogQuery, PeerTableQuery, RelayedReport};

/// Speaks to one agent. Cheap to clone.
#[derive(Debug, Clone)]
pub struct AgentClient {
    pub(super) transport: Transport,
}

impl AgentClient {
    /// Plain, to an agent on this machine.
    ///
    /// # Errors
    /// [`ClientError::Address`] when `address` is of another machine.
    pub fn new(address: SocketAddr, token: Option<Bearer>) -> Result<Self, ClientError> {
        Ok(Self { transport: Transport::new(&format!("http://{address}"), token)? })
    }

    /// By TLS to the agent of `server`, whoever else may answer at `address`. `config` is made by
    /// [`pando_trust::tls::client_config`] for that server.
    #[must_use]
    pub fn with_tls(address: SocketAddr, server: ServerId, config: Arc<ClientConfig>) -> Self {
        Self { transport: Transport::with_tls(&address.to_string(), None, config, Subject::Server(server)) }
    }

    /// Log lines of this server, oldest first.
    ///
    /// # Errors
    /// See [`ClientError`]. The deadline is for the stream's beginning.
    pub async fn logs(&self, wanted: &LogQuery) -> Result<LogLines, ClientError> {
        let answer = self.transport.send(Call::get(&format!("/v1/logs{}", query(wanted)?))).await?;
        Ok(LogLines::new(answer))
    }

    /// The newest table that this server has, as it was signed, when it is newer than `have`.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn newest_table(&self, have: Version) -> Result<Option<SignedBytes>, ClientError> {
        let have = PeerTableQuery { epoch: have.epoch, revision: have.revision };
        let answer = self.transport.send(Call::get(&format!("/v1/peer/table{}", query(&have)?))).await?;
        if answer.response.status() == StatusCode::NO_CONTENT {
            return answer.nothing().await.map(|()| None);
        }
        answer.json().await.map(Some)
    }

    /// Gives this server the caller's report, to hand it on to the control plane.
    ///
    /// # Errors
    /// See [`ClientError`]; a refusal as unavailable when it can't reach the control plane either.
    pub async fn relay_report(&self, report: &RelayedReport) -> Result<(), ClientError> {
        let call = Call::new(Method::POST, "/v1/peer/reports").json(report)?;
        self.transport.send(call).await?.nothing().await
    }

    /// Starts a command on this server.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn exec(&self, start: &ExecStart) -> Result<ExecStream, ClientError> {
        exec::open(&self.transport, "/v1/exec", start).await
    }
}
