//! Packed releases for other servers: what this one has fetched, whole or from some byte on.

use std::io::SeekFrom;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State as Held};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt;
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use pando_api::v1::artifacts::part_of;
use pando_api::{ErrorBody, ErrorCode};
use pando_model::release::Digest;
use tokio::fs::File;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::reply::Refused;
use super::server::Served;
use crate::artifacts::packed;

/// Whether it is here, and would be sent now.
pub(super) async fn probe(
    Held(served): Held<Arc<Served>>,
    Path(digest): Path<String>,
) -> Result<Response, Refused> {
    let (_, length) = open(&served, &digest).await?;
    match served.handouts.take(()) {
        Some(_) => Ok((StatusCode::OK, head(length)).into_response()),
        None => Ok(later()),
    }
}

pub(super) async fn fetch(
    Held(served): Held<Arc<Served>>,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let (mut file, length) = open(&served, &digest).await?;
    let Some(slot) = served.handouts.take(()) else { return Ok(later()) };
    let part = match headers.get(RANGE).map(|value| part_of(value, length)) {
        None => None,
        Some(Some(part)) => Some(part),
        Some(None) => return Ok(unsatisfiable(length)),
    };
    let (first, end) = part.unwrap_or((0, length));
    file.seek(SeekFrom::Start(first)).await.map_err(unreadable)?;
    let pieces = ReaderStream::with_capacity(file.take(end - first), 64 * 1024);
    // The place is given back with the stream; the agent's end doesn't wait for it.
    let shutdown = served.tasks.shutdown().clone();
    let pieces = pieces.inspect(move |_| slot.moved()).take_until(async move { shutdown.wait().await });
    let status = if part.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut response = (status, head(end - first), Body::from_stream(pieces)).into_response();
    if part.is_some() {
        let value = HeaderValue::try_from(format!("bytes {first}-{}/{length}", end - 1));
        response.headers_mut().extend(value.ok().map(|value| (CONTENT_RANGE, value)));
    }
    Ok(response)
}

/// One that is whole, and its length.
async fn open(served: &Served, digest: &str) -> Result<(File, u64), Refused> {
    let unknown = || Refused::new(ErrorCode::NotFound, format!("there is no packed release {digest} here"));
    // Nothing but a digest becomes part of a path.
    let digest = Digest::new(digest).map_err(|_| unknown())?;
    let file = File::open(packed(&served.state.releases, &digest)).await.map_err(|_| unknown())?;
    let length = file.metadata().await.map_err(unreadable)?.len();
    Ok((file, length))
}

fn unreadable(error: std::io::Error) -> Refused {
    Refused::new(ErrorCode::Internal, format!("the packed release can't be read: {error}"))
}

fn head(length: u64) -> HeaderMap {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/gzip")),
        (CONTENT_LENGTH, HeaderValue::from(length)),
        (ACCEPT_RANGES, HeaderValue::from_static("bytes")),
    ];
    headers.into_iter().collect()
}

fn later() -> Response {
    let body = ErrorBody::new(ErrorCode::Unavailable, "this server is sending to several others already");
    let mut response = Refused::from(body.hint("ask another one")).into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn unsatisfiable(length: u64) -> Response {
    let body = ErrorBody::new(ErrorCode::Invalid, format!("the packed release has {length} bytes"));
    let mut response = (StatusCode::RANGE_NOT_SATISFIABLE, Json(body)).into_response();
    let value = HeaderValue::try_from(format!("bytes */{length}"));
    response.headers_mut().extend(value.ok().map(|value| (CONTENT_RANGE, value)));
    response
}
