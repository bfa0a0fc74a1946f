//! Where packed releases come from: another server that has it, or the control plane.
//!
//! A release is sent to the cluster once and spreads from server to server. The
//! control plane hands each one to a few servers at a time and sends others away;
//! by then there is somebody else to ask. Whom a piece comes from doesn't matter:
//! the whole is believed by its digest alone.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::FuturesUnordered;
use futures_util::{Stream, StreamExt};
use pando_api::client::{AgentClient, ArtifactBody, Client, ClientError};
use pando_api::error::ErrorCode;
use pando_api::v1::registries::RegistryCredentials;
use pando_model::id::ServerId;
use pando_model::registry::RegistryHost;
use pando_model::release::Digest;
use pando_rt::error_chain::error_chain;
use pando_runtime::docker::Credentials;

use crate::peers::Peers;

/// The bytes of one, as they come.
pub type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, SourceError>> + Send>>;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Asking again won't help.
    #[error("{0}")]
    Refused(String),
    /// It can't go on from where we are: begin anew.
    #[error("{0}")]
    Restart(String),
    /// Not there, or gone in the middle: ask again.
    #[error("{0}")]
    Away(String),
}

/// What a source answers.
pub struct Sent {
    /// How many bytes the pieces are together, if that is known.
    pub left: Option<u64>,
    pub pieces: Pieces,
}

impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sent").field("left", &self.left).finish_non_exhaustive()
    }
}

/// Whom to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    Anybody,
    /// What came from others was not what it claimed to be.
    ControlAlone,
}

/// The control plane and other servers, or either.
pub trait ArtifactSource: Send + Sync + 'static {
    /// The packed release from byte `offset` on.
    fn fetch(
        &self,
        digest: &Digest,
        offset: u64,
        whom: Whom,
    ) -> impl Future<Output = Result<Sent, SourceError>> + Send;

    /// Who this server is to a registry. `None`: nobody in particular.
    fn credentials(
        &self,
        _: &RegistryHost,
    ) -> impl Future<Output = Result<Option<Credentials>, SourceError>> + Send {
        std::future::ready(Ok(None))
    }
}

/// Servers that are asked before the control plane is: enough to find one soon once a third of them has it, few enough that
/// those who have it are not flooded.
const FEW: usize = 2;

/// Servers that are asked when the control plane has nothing to give.
const MANY: usize = 16;

/// How long to wait for their word. A neighbour answers in a millisecond; one that is gone must not hold up a deployment.
const WORD: Duration = Duration::from_millis(300);

/// The agent's own [`ArtifactSource`].
pub(crate) struct Sources {
    pub(crate) control: Client,
    pub(crate) server: ServerId,
    pub(crate) peers: Peers,
    pub(crate) known: Known,
}

/// What the control plane last said of registries. It is kept in memory for when the control plane is away, and nowhere else: on this
/// server's disk it could be sealed only by a key that lies beside it.
#[derive(Debug, Default)]
pub(crate) struct Known(Mutex<BTreeMap<RegistryHost, Option<Credentials>>>);

impl ArtifactSource for Sources {
    async fn fetch(&self, digest: &Digest, offset: u64, whom: Whom) -> Result<Sent, SourceError> {
        if whom == Whom::Anybody
            && let Some(sent) = self.ask_peers(digest, offset, FEW).await
        {
            return Ok(sent);
        }
        match self.control.get_artifact(digest, offset).await {
            Ok(body) => Ok(sent(body)),
            Err(error) => {
                let judged = judge(&error, offset);
                // It may have lost what the servers still have.
                let others = matches!(judged, SourceError::Refused(_)) && whom == Whom::Anybody;
                let found = if others { self.ask_peers(digest, offset, MANY).await } else { None };
                found.ok_or(judged)
            }
        }
    }

    async fn credentials(&self, host: &RegistryHost) -> Result<Option<Credentials>, SourceError> {
        let asked = match self.control.registry_credentials(self.server, host).await {
            Ok(RegistryCredentials { username, password }) => {
                Some(Credentials { username, password: password.0 })
            }
            Err(error) if error.code() == Some(ErrorCode::NotFound) => None,
            Err(error) => return self.known.get(host).ok_or_else(|| judge(&error, 0)),
        };
        self.known.set(host, asked.clone());
        Ok(asked)
    }
}

impl Known {
    fn get(&self, host: &RegistryHost) -> Option<Option<Credentials>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(host).cloned()
    }

    fn set(&self, host: &RegistryHost, said: Option<Credentials>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(host.clone(), said);
    }
}

impl Sources {
    /// From the first of `count` servers that says that it has it, and hands it out.
    async fn ask_peers(&self, digest: &Digest, offset: u64, count: usize) -> Option<Sent> {
        let asked: FuturesUnordered<_> =
            self.peers.some(count).into_iter().map(|(id, peer)| asked(id, peer, digest)).collect();
        let mut having = asked.filter_map(std::future::ready);
        while let Some((id, peer)) = having.next().await {
            match peer.get_artifact(digest, offset).await {
                Ok(body) => {
                    tracing::debug!("fetching {digest:?} from {id}");
                    return Some(sent(body));
                }
                Err(error) => tracing::debug!("{id}: {}", error_chain(&error)),
            }
        }
        None
    }
}

async fn asked(id: ServerId, peer: AgentClient, digest: &Digest) -> Option<(ServerId, AgentClient)> {
    let has = tokio::time::timeout(WORD, peer.has_artifact(digest)).await;
    matches!(has, Ok(Ok(true))).then_some((id, peer))
}

fn sent(body: ArtifactBody) -> Sent {
    Sent { left: body.length, pieces: pieces(body) }
}

fn pieces(body: ArtifactBody) -> Pieces {
    Box::pin(futures_util::stream::unfold(Some(body), async |body| {
        let mut body = body?;
        match body.piece().await {
            Ok(Some(piece)) => Some((Ok(piece), Some(body))),
            Ok(None) => None,
            Err(error) => Some((Err(SourceError::Away(error_chain(&error))), None)),
        }
    }))
}

fn judge(error: &ClientError, offset: u64) -> SourceError {
    let why = error_chain(error);
    match error {
        ClientError::Refused(body) if body.code == ErrorCode::NotFound => SourceError::Refused(why),
        // Others get it just now, or something stands in its way that may pass.
        ClientError::Refused(body) if body.code == ErrorCode::Unavailable => SourceError::Away(why),
        ClientError::Refused(_) | ClientError::Protocol { .. } if offset > 0 => SourceError::Restart(why),
        _ => SourceError::Away(why),
    }
}
