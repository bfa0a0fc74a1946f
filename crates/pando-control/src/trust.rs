//! The cluster's authority as the control plane holds it: in the store, sealed, made once; and its own identity, made from that at each start.
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
use pando_trust::{Anchor, Authority, Fingerprint, Kind, LiveIdentity, Sealed, Signed, Subject, TrustError};
use pando_trust::{Vault, VaultError};
use rustls::ServerConfig;
use serde::{Deserialize, Serialize};

use crate::store::value::decode;
use crate::store::{Expect, Key, Outcome, Store, StoreError, Txn};

/// What the control plane proves itself and others by.
#[derive(Debug)]
pub struct Trust {
    authority: Authority,
    vault: Vault,
    identity: Arc<LiveIdentity>,
    clock: Clock,
}

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum TrustOpenError {
    #[error("can't read or keep the cluster's certificate authority")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl Trust {
    /// The authority that the store holds, sealed by the vault; the first time, one is made for the cluster of this name. The
    /// control plane gets a fresh identity from it.
    ///
    /// # Errors
    /// When the store fails, what it holds is damaged or sealed with another key, or the clock is centuries off.
    pub async fn open(
        store: &dyn Store,
        vault: Vault,
        cluster: &str,
        clock: &Clock,
    ) -> Result<Self, TrustOpenError> {
        let now = Timestamp::from_millis(clock.now_millis());
        let authority = authority(store, &vault, cluster, now).await?;
        let identity = LiveIdentity::new(authority.control_identity(now)?);
        Ok(Self { authority, vault, identity, clock: clock.clone() })
    }

    /// What seals the store's secrets.
    #[must_use]
    pub fn vault(&self) -> &Vault {
        &self.vault
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

/// As the store may have it.
#[derive(Deserialize)]
#[serde(untagged)]
enum Kept {
    Sealed(Sealed),
    /// As versions before the vault wrote it. It is sealed at once.
    Plain(Box<Authority>),
}

async fn authority(
    store: &dyn Store,
    vault: &Vault,
    cluster: &str,
    now: Timestamp,
) -> Result<Authority, TrustOpenError> {
    let key = Key::cluster_secret();
    let place = key.to_string();
    loop {
        let (authority, expect) = match store.get(&key).await? {
            None => (Authority::make(cluster, now)?, Expect::Absent),
            Some(entry) => match decode::<Kept>(&entry)? {
                Kept::Sealed(sealed) => return Ok(vault.open_sealed(&place, &sealed)?),
                Kept::Plain(authority) => (*authority, Expect::Modified(entry.modified)),
            },
        };
        let txn = Txn::new().guard(&key, expect).put(&key, &vault.seal(&place, &authority)?)?;
        if matches!(store.txn(txn).await?, Outcome::Committed(_)) {
            tracing::info!("the cluster's certificate authority was sealed: {}", authority.fingerprint());
            return Ok(authority);
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
        let directory = tempfile::tempdir().unwrap();
        let vault = || Vault::open(&directory.path().join("key")).unwrap();
        let first = Trust::open(&store, vault(), "main", &clock).await.unwrap();
        let second = Trust::open(&store, vault(), "other", &clock).await.unwrap();
        assert_eq!(first.anchor(), second.anchor());
        let signed = first.sign(Kind::Table, 7).unwrap();
        assert_eq!(second.sign(Kind::Table, 7).unwrap(), signed);
    }

    #[tokio::test]
    async fn damaged_secrets_are_told_and_not_replaced() {
        let (store, clock) = (memory::open().unwrap(), Clock::manual(1_790_000_000_000));
        let key = Key::cluster_secret();
        store.txn(Txn::new().put(&key, &"nonsense").unwrap()).await.unwrap();
        let vault = Vault::ephemeral().unwrap();
        let error = Trust::open(&store, vault, "main", &clock).await.unwrap_err();
        assert!(error_chain(&error).contains("/v1/secrets/cluster"), "{}", error_chain(&error));
    }

    #[tokio::test]
    async fn the_authority_is_sealed_also_where_it_was_not() {
        let (store, clock) = (memory::open().unwrap(), Clock::manual(1_790_000_000_000));
        let key = Key::cluster_secret();
        let old = Authority::make("main", Timestamp::from_millis(clock.now_millis())).unwrap();
        store.txn(Txn::new().put(&key, &old).unwrap()).await.unwrap();
        let directory = tempfile::tempdir().unwrap();
        let vault = || Vault::open(&directory.path().join("key")).unwrap();
        for _ in 0..2 {
            let trust = Trust::open(&store, vault(), "main", &clock).await.unwrap();
            assert_eq!(trust.anchor(), old.anchor());
            let entry = store.get(&key).await.unwrap().unwrap();
            assert!(!String::from_utf8_lossy(&entry.value).contains("PRIVATE"));
        }
        let error = Trust::open(&store, Vault::ephemeral().unwrap(), "main", &clock).await.unwrap_err();
        assert!(error.to_string().contains("another key"), "{error}");
    }

    #[tokio::test]
    async fn the_own_certificate_is_renewed_at_half_life() {
        let (store, clock) = (memory::open().unwrap(), Clock::manual(1_790_000_000_000));
        let vault = Vault::ephemeral().unwrap();
        let trust = Trust::open(&store, vault, "main", &clock).await.unwrap();
        let first = trust.identity().current().not_after();
        clock.advance(3 * 86_400_000);
        trust.renew();
        assert_eq!(trust.identity().current().not_after(), first);
        clock.advance(86_400_000);
        trust.renew();
        assert!(trust.identity().current().not_after() > first);
    }
}
