//! The cluster's authority as the control plane holds it: in the store, made once; and its own identity, made from that at each start.
//!
//! Whose certificate still counts is decided at the gate, which looks each caller
//! up among the servers.

use std::sync::Arc;

use pando_api::AgentClient;
use pando_model::id::ServerId;
use pando_model::server::Server;
use pando_model::time::Timestamp;
use pando_rt::clock::Clock;
use pando_rt::error_chain::error_chain;
use pando_trust::tls::{self, Callers};
use pando_trust::{Anchor, Authority, Fingerprint, Kind, LiveIdentity, Signed, Subject, TrustError};
use rustls::ServerConfig;
use serde::Serialize;

use crate::store::value::decode;
use crate::store::{Expect, Key, Outcome, Store, StoreError, Txn};

/// What the control plane proves itself and others by.
#[derive(Debug)]
pub struct Trust {
    authority: Authority,
    identity: Arc<LiveIdentity>,
    clock: Clock,
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum TrustOpenError {
    #[error("can't read or keep the cluster's certificate authority")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl Trust {
    /// The authority that the store holds; the first time, one is made for the cluster of this name. The control plane gets a
    /// fresh identity from it.
    ///
    /// # Errors
    /// When the store fails, what it holds is damaged, or the clock is centuries off.
    pub async fn open(store: &dyn Store, cluster: &str, clock: &Clock) -> Result<Self, TrustOpenError> {
        let now = Timestamp::from_millis(clock.now_millis());
        let authority = authority(store, cluster, now).await?;
        let identity = LiveIdentity::new(authority.control_identity(now)?);
        Ok(Self { authority, identity, clock: clock.clone() })
    }

    /// What members are told of the authority.
    #[must_use]
    pub fn anchor(&self) -> &Anchor {
        self.authority.anchor()
    }

    /// What people and joining servers pin.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        self.authority.fingerprint()
    }

    /// The control plane's own.
    #[must_use]
    pub fn identity(&self) -> &Arc<LiveIdentity> {
        &self.identity
    }

    /// A certificate (PEM) for a server's key, given its request.
    ///
    /// # Errors
    /// [`TrustError::Request`], or as [`Authority::issue`].
    pub fn certify(&self, request: &str, server: ServerId) -> Result<String, TrustError> {
        self.authority.issue(request, Subject::Server(server), self.now())
    }

    /// # Errors
    /// As [`Authority::sign`].
    pub fn sign<T: Serialize>(&self, kind: Kind, value: T) -> Result<Signed<T>, TrustError> {
        self.authority.sign(kind, value)
    }

    /// For serving the API by TLS: people come with a token, servers with a certificate. Always presents the newest identity.
    ///
    /// # Errors
    /// When TLS can't be set up.
    pub fn server_config(&self) -> Result<Arc<ServerConfig>, TrustError> {
        tls::server_config(&self.identity, Callers::Anyone, &self.clock)
    }

    /// Speaks to the agent of a server as the control plane.
    ///
    /// # Errors
    /// When TLS can't be set up.
    pub fn agent(&self, server: &Server) -> Result<AgentClient, TrustError> {
        let config = tls::client_config(&self.identity, Subject::Server(server.id), &self.clock)?;
        Ok(AgentClient::with_tls(server.agent_address, server.id, config))
    }

    /// Renews the control plane's own certificate once half of its life is over.
    pub fn renew(&self) {
        if self.now() < self.identity.current().renew_at() {
            return;
        }
        match self.authority.control_identity(self.now()) {
            Ok(renewed) => {
                self.identity.swap(renewed);
                tracing::info!("the control plane's certificate was renewed");
            }
            Err(error) => {
                tracing::error!("the control plane's certificate can't be renewed: {}", error_chain(&error));
            }
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.now_millis())
    }
}

async fn authority(store: &dyn Store, cluster: &str, now: Timestamp) -> Result<Authority, TrustOpenError> {
    let key = Key::cluster_secret();
    loop {
        if let Some(entry) = store.get(&key).await? {
            return Ok(decode(&entry)?);
        }
        let made = Authority::make(cluster, now)?;
        let txn = Txn::new().guard(&key, Expect::Absent).put(&key, &made)?;
        if matches!(store.txn(txn).await?, Outcome::Committed(_)) {
            tracing::info!("the cluster's certificate authority was made: {}", made.fingerprint());
            return Ok(made);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory;

    #[tokio::test]
    async fn the_authority_is_made_once() {
        let (store, clock) = (memory::open().unwrap(), Clock::manual(1_790_000_000_000));
        let first = Trust::open(&store, "main", &clock).await.unwrap();
        let second = Trust::open(&store, "other", &clock).await.unwrap();
        assert_eq!(first.anchor(), second.anchor());
        let signed = first.sign(Kind::Table, 7).unwrap();
        assert_eq!(second.sign(Kind::Table, 7).unwrap(), signed);
    }

    #[tokio::test]
    async fn damaged_secrets_are_told_and_not_replaced() {
        let (store, clock) = (memory::open().unwrap(), Clock::manual(1_790_000_000_000));
        let key = Key::cluster_secret();
        store.txn(Txn::new().put(&key, &"nonsense").unwrap()).await.unwrap();
        let error = Trust::open(&store, "main", &clock).await.unwrap_err();
        assert!(error_chain(&error).contains("/v1/secrets/cluster"), "{}", error_chain(&error));
    }

    #[tokio::test]
    async fn the_own_certificate_is_renewed_at_half_life() {
        let (store, clock) = (memory::open().unwrap(), Clock::manual(1_790_000_000_000));
        let trust = Trust::open(&store, "main", &clock).await.unwrap();
        let first = trust.identity().current().not_after();
        clock.advance(3 * 86_400_000);
        trust.renew();
        assert_eq!(trust.identity().current().not_after(), first);
        clock.advance(86_400_000);
        trust.renew();
        assert!(trust.identity().current().not_after() > first);
    }
}
