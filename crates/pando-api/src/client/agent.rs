//! The control plane's side of an agent's own API.

use std::net::SocketAddr;
use std::sync::Arc;

use pando_model::id::ServerId;
use pando_trust::Subject;
use rustls::ClientConfig;

use super::exec::{self, ExecStream};
use super::transport::{Call, Transport, query};
use super::{ClientError, LogLines};
use crate::auth::Bearer;
use crate::v1::agents::{ExecStart, LogQuery};

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

    /// Starts a command on this server.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn exec(&self, start: &ExecStart) -> Result<ExecStream, ClientError> {
        exec::open(&self.transport, "/v1/exec", start).await
    }
}
