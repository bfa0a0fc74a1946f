//! What nothing needs any more: looked at, and removed.

use std::time::Duration;

use http::Method;

use super::transport::{Call, query};
use super::{AgentClient, Client, ClientError};
use crate::v1::prune::{PruneAnswer, PruneQuery, Pruning};

/// Servers are asked in turn for what their disks and engines tell, and a removal takes its time.
const WITHIN: Duration = Duration::from_secs(65);

/// How long a server may take, with what it begins no more of after forty seconds.
const SERVER_WITHIN: Duration = Duration::from_secs(55);

/// Errors: see [`ClientError`].
#[allow(clippy::missing_errors_doc, reason = "the same for each, and said above")]
impl Client {
    /// What could go. Nothing is changed.
    pub async fn prunable(&self, asked: &PruneQuery) -> Result<PruneAnswer, ClientError> {
        let call = Call::get(&format!("/v1/prune{}", query(asked)?)).deadline(WITHIN);
        self.transport.send(call).await?.json().await
    }

    /// Removes what can go by then.
    pub async fn prune(&self, asked: &PruneQuery) -> Result<PruneAnswer, ClientError> {
        let call = Call::new(Method::POST, &format!("/v1/prune{}", query(asked)?)).deadline(WITHIN);
        self.transport.send(call).await?.json().await
    }
}

/// Errors: see [`ClientError`].
#[allow(clippy::missing_errors_doc, reason = "the same for each, and said above")]
impl AgentClient {
    /// What could go from this server. Nothing is changed.
    pub async fn prunable(&self) -> Result<Pruning, ClientError> {
        self.transport.send(Call::get("/v1/prune").deadline(SERVER_WITHIN)).await?.json().await
    }

    /// Removes from this server what can go by then.
    pub async fn prune(&self) -> Result<Pruning, ClientError> {
        let call = Call::new(Method::POST, "/v1/prune").deadline(SERVER_WITHIN);
        self.transport.send(call).await?.json().await
    }
}
