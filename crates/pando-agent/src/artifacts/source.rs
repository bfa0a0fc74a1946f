//! Where packed releases come from.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use pando_api::client::{Client, ClientError};
use pando_api::error::ErrorCode;
use pando_model::release::Digest;
use pando_rt::error_chain::error_chain;

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

/// The control plane, or another server.
pub trait ArtifactSource: Send + Sync + 'static {
    /// The packed release from byte `offset` on.
    fn fetch(&self, digest: &Digest, offset: u64)
    -> impl Future<Output = Result<Pieces, SourceError>> + Send;
}

impl ArtifactSource for Client {
    async fn fetch(&self, digest: &Digest, offset: u64) -> Result<Pieces, SourceError> {
        let body = self.get_artifact(digest, offset).await.map_err(|error| judge(&error, offset))?;
        let pieces = futures_util::stream::unfold(Some(body), async |body| {
            let mut body = body?;
            match body.piece().await {
                Ok(Some(piece)) => Some((Ok(piece), Some(body))),
                Ok(None) => None,
                Err(error) => Some((Err(SourceError::Away(error_chain(&error))), None)),
            }
        });
        Ok(Box::pin(pieces))
    }
}

fn judge(error: &ClientError, offset: u64) -> SourceError {
    let why = error_chain(error);
    match error {
        ClientError::Refused(body) if body.code == ErrorCode::NotFound => SourceError::Refused(why),
        ClientError::Refused(_) | ClientError::Protocol { .. } if offset > 0 => SourceError::Restart(why),
        _ => SourceError::Away(why),
    }
}
