//! Images, sent layer by layer.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use pando_model::image::Layer;
use pando_model::name::AppName;
use pando_model::release::Digest;
use tokio::sync::Notify;

use super::artifacts::{STALL, after_go_ahead, stalled};
use super::transport::{Call, query};
use super::{AgentClient, Client, ClientError};
use crate::v1::images::{HostFacts, ImageAnswer, ImageQuery, ImageStored, LayerQuery, LayerState};

/// A layer is read again to see how far it came, and whole to see that it is right: a large one takes seconds.
const LOOK: Duration = Duration::from_secs(60);

impl Client {
    /// Which servers would run the image, and what of it the cluster lacks.
    ///
    /// # Errors
    /// See [`ClientError`], here and below; refused when it would not fit on a server's disk, or not run there.
    pub async fn image(&self, app: &AppName, asked: &ImageQuery) -> Result<ImageAnswer, ClientError> {
        let call = Call::new(Method::POST, &format!("/v1/apps/{app}/image")).json(asked)?.deadline(LOOK);
        self.transport.send(call).await?.json().await
    }

    /// How much of a layer the control plane has.
    pub async fn layer(&self, diff_id: &Digest) -> Result<LayerState, ClientError> {
        let call = Call::get(&format!("/v1/layers/{diff_id}")).deadline(LOOK);
        self.transport.send(call).await?.json().await
    }

    /// Sends a layer, packed, from byte `from` of its tar on. `sent` is told how many bytes have left.
    pub async fn put_layer(
        &self,
        diff_id: &Digest,
        from: u64,
        frames: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
        sent: Arc<AtomicU64>,
    ) -> Result<Layer, ClientError> {
        let (counter, go_ahead) = (Arc::clone(&sent), Arc::new(Notify::new()));
        let frames = frames.map_ok(move |piece| {
            counter.fetch_add(piece.len() as u64, Ordering::Relaxed);
            Frame::data(piece)
        });
        let body = after_go_ahead(Arc::clone(&go_ahead)).chain(frames);
        let path = format!("/v1/layers/{diff_id}{}", query(&LayerQuery { from })?);
        let call = Call::new(Method::PUT, &path)
            .header(CONTENT_TYPE, HeaderValue::from_static("application/zstd"))
            .body(StreamBody::new(body).boxed_unsync())
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

    /// Sends the description of an image whose layers the control plane has.
    pub async fn put_image(&self, digest: &Digest, description: Vec<u8>) -> Result<ImageStored, ClientError> {
        let call = Call::new(Method::PUT, &format!("/v1/images/{digest}"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
            .body(Full::new(Bytes::from(description)).map_err(|never| match never {}).boxed_unsync())
            .deadline(LOOK);
        self.transport.send(call).await?.json().await
    }
}

impl AgentClient {
    /// What the server is, and how much room it has.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub async fn host(&self) -> Result<HostFacts, ClientError> {
        self.transport.send(Call::get("/v1/host")).await?.json().await
    }
}
