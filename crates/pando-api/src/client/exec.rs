//! Upgraded connections.

use futures_util::SinkExt;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, Method, StatusCode};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_util::codec::Framed;

use super::ClientError;
use super::transport::{Call, Transport};
use crate::stream::{self, Channel, Frame, Frames};
use crate::v1::agents::ExecStart;

/// Frames both ways, after the `Start` frame was sent.
pub type ExecStream = Framed<TokioIo<Upgraded>, Frames>;

pub(crate) async fn open(
    transport: &Transport,
    path: &str,
    start: &ExecStart,
) -> Result<ExecStream, ClientError> {
    let protocol = |what: String| ClientError::Protocol { url: transport.base().to_owned(), what };
    let first = serde_json::to_vec(start).map_err(|error| protocol(error.to_string()))?;
    let call = Call::new(Method::POST, path)
        .header(CONNECTION, HeaderValue::from_static("upgrade"))
        .header(UPGRADE, HeaderValue::from_static(stream::UPGRADE));
    let answer = transport.send(call).await?;
    if answer.response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(protocol(format!("{} instead of an upgrade", answer.response.status())));
    }
    let broken = |source: Box<dyn std::error::Error + Send + Sync>| ClientError::Broken {
        url: transport.base().to_owned(),
        source,
    };
    let upgraded = hyper::upgrade::on(answer.response).await.map_err(|error| broken(error.into()))?;
    let mut frames = Framed::new(TokioIo::new(upgraded), Frames);
    let frame = Frame { channel: Channel::Start, payload: first.into() };
    frames.send(frame).await.map_err(|error| broken(error.into()))?;
    Ok(frames)
}
