//! Calls by which servers come into the cluster and stay in it.

use pando_model::id::ServerId;

use super::{Client, ClientError};
use crate::v1::agents::{CertificateIssued, CertificateRequest};
use crate::v1::join::{JoinAnswer, JoinRequest, JoinTokenCreated, JoinTokenRequest};

/// Errors: see [`ClientError`].
#[allow(clippy::missing_errors_doc, reason = "the same for each, and said above")]
impl Client {
    /// Makes a token with which one server joins.
    pub async fn create_join_token(
        &self,
        request: &JoinTokenRequest,
    ) -> Result<JoinTokenCreated, ClientError> {
        self.post("/v1/cluster/join-tokens".to_owned(), request).await
    }

    /// Joins; the client's token is the join token.
    pub async fn join(&self, request: &JoinRequest) -> Result<JoinAnswer, ClientError> {
        self.post("/v1/join".to_owned(), request).await
    }

    /// A server asks for a new certificate. Taken even from one whose certificate has expired.
    pub async fn renew_certificate(
        &self,
        server: ServerId,
        request: &CertificateRequest,
    ) -> Result<CertificateIssued, ClientError> {
        self.post(format!("/v1/agents/{server}/certificate"), request).await
    }
}
