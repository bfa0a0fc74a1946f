//! Packed releases, sent and fetched in pieces.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt, TryStreamExt};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, RANGE};
use http::{HeaderValue, Method, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use pando_model::release::Digest;
use tokio::sync::Notify;
use tokio_util::io::ReaderStream;

use super::transport::{Answer, Call, Transport};
use super::{AgentClient, Client, ClientError};
use crate::error::ErrorCode;
use crate::v1::artifacts::ArtifactStored;

/// How long to wait for the word that the body is wanted.
const GO_AHEAD: Duration = Duration::from_secs(2);

/// An upload that moves no byte for so long is given up. Its whole may take as long as it needs.
pub(super) const STALL: Duration = Duration::from_secs(60);

impl Client {
    /// Whether the control plane has it.
    ///
    /// # Errors
    /// See [`ClientError`], here and below.
    pub async fn has_artifact(&self, digest: &Digest) -> Result<bool, ClientError> {
        has(&self.transport, digest).await
    }

    /// Sends a packed release. `sent` is told how many bytes have left so far.
    pub async fn put_artifact(
        &self,
        digest: &Digest,
        file: &Path,
        sent: Arc<AtomicU64>,
    ) -> Result<ArtifactStored, ClientError> {
        let unreadable = |source| ClientError::File { path: file.display().to_string(), source };
        let opened = tokio::fs::File::open(file).await.map_err(unreadable)?;
        let length = opened.metadata().await.map_err(unreadable)?.len();
        let (counter, go_ahead) = (Arc::clone(&sent), Arc::new(Notify::new()));
        let pieces = ReaderStream::with_capacity(opened, 64 * 1024).map_ok(move |piece| {
            counter.fetch_add(piece.len() as u64, Ordering::Relaxed);
            Frame::data(piece)
        });
        let pieces = after_go_ahead(Arc::clone(&go_ahead)).chain(pieces);
        let call = Call::new(Method::PUT, &format!("/v1/artifacts/{digest}"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/gzip"))
            .header(CONTENT_LENGTH, HeaderValue::from(length))
            .body(StreamBody::new(pieces).boxed_unsync())
            .expect_continue(go_ahead)
            .deadline(Duration::from_secs(24 * 3600));
        tokio::select! {
            // Dropping the request on a stall closes its connection; nothing else holds it.
            answer = self.transport.send(call) => answer?.json().await,
            () = stalled(&sent) => {
                Err(ClientError::TimedOut { url: self.url().to_owned(), after: STALL })
            }
        }
    }

    /// Fetches a packed release from byte `offset` on.
    pub async fn get_artifact(&self, digest: &Digest, offset: u64) -> Result<ArtifactBody, ClientError> {
        get(&self.transport, digest, offset).await
    }
}

impl AgentClient {
    /// Whether this server has it, whole.
    ///
    /// # Errors
    /// See [`ClientError`], here and below.
    pub async fn has_artifact(&self, digest: &Digest) -> Result<bool, ClientError> {
        has(&self.transport, digest).await
    }

    /// Fetches a packed release from byte `offset` on.
    pub async fn get_artifact(&self, digest: &Digest, offset: u64) -> Result<ArtifactBody, ClientError> {
        get(&self.transport, digest, offset).await
    }
}

async fn has(transport: &Transport, digest: &Digest) -> Result<bool, ClientError> {
    let call = Call::new(Method::HEAD, &format!("/v1/artifacts/{digest}"));
    match transport.send(call).await {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(ErrorCode::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

async fn get(transport: &Transport, digest: &Digest, offset: u64) -> Result<ArtifactBody, ClientError> {
    let mut call = Call::get(&format!("/v1/artifacts/{digest}"));
    if offset > 0 {
        let value = HeaderValue::try_from(format!("bytes={offset}-"));
        call = call.header(RANGE, value.unwrap_or(HeaderValue::from_static("bytes=0-")));
    }
    let answer = transport.send(call).await?;
    let expected = if offset > 0 { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    if answer.response.status() != expected {
        let what = format!("{} instead of {expected}", answer.response.status());
        return Err(ClientError::Protocol { url: answer.base, what });
    }
    Ok(ArtifactBody::new(answer))
}

/// A stream of nothing that ends when the body is wanted: a refusal is then read before a single byte was sent for nothing. A
/// gateway may keep the word to itself, so the wait has an end.
pub(super) fn after_go_ahead(go_ahead: Arc<Notify>) -> impl Stream<Item = std::io::Result<Frame<Bytes>>> {
    let waited = async move {
        // Either way the body is sent.
        let _ = tokio::time::timeout(GO_AHEAD, go_ahead.notified()).await;
        futures_util::stream::empty()
    };
    waited.flatten_stream()
}

/// Ends when the counter has stood still for [`STALL`].
pub(super) async fn stalled(sent: &AtomicU64) {
    let mut before = sent.load(Ordering::Relaxed);
    loop {
        tokio::time::sleep(STALL).await;
        let now = sent.load(Ordering::Relaxed);
        if now == before {
            return;
        }
        before = now;
    }
}

/// A packed release as it comes. What it is worth, its digest tells.
pub struct ArtifactBody {
    /// How many bytes follow, when the answer says so.
    pub length: Option<u64>,
    pieces: Pin<Box<dyn Stream<Item = Result<Bytes, hyper::Error>> + Send>>,
    base: String,
}

impl std::fmt::Debug for ArtifactBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ArtifactBody").field("length", &self.length).finish_non_exhaustive()
    }
}

impl ArtifactBody {
    fn new(answer: Answer) -> Self {
        let length = answer.response.headers().get(CONTENT_LENGTH);
        let length = length.and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
        let pieces = Box::pin(answer.response.into_body().into_data_stream());
        Self { length, pieces, base: answer.base }
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks, or nothing comes for 60 s.
    pub async fn piece(&mut self) -> Result<Option<Bytes>, ClientError> {
        match tokio::time::timeout(STALL, self.pieces.try_next()).await {
            Ok(Ok(piece)) => Ok(piece),
            Ok(Err(error)) => Err(ClientError::Broken { url: self.base.clone(), source: error.into() }),
            Err(_) => Err(ClientError::TimedOut { url: self.base.clone(), after: STALL }),
        }
    }
}
