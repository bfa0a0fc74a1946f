//! What releases are made from, in and out.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::{Body, BodyDataStream};
use axum::extract::State as Held;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, TryStreamExt};
use http::header::{ACCEPT_RANGES, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, RANGE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};
use pando_api::v1::artifacts::{ArtifactStored, part_of};
use pando_api::{ErrorBody, ErrorCode};
use pando_model::release::Digest;
use tokio::io::{AsyncReadExt, AsyncSeekExt};
use tokio_util::io::ReaderStream;

use super::extract::Place;
use super::reply::{Answer, Refused};
use crate::artifacts::{ArtifactError, Artifacts, Kind, Stored, Whole, scrub};
use crate::shared::Shared;

/// How long a sender may go on after its release was refused.
const LINGER: Duration = Duration::from_secs(30);

/// Until a server that got the last byte has it on its disk and can hand it on. Whoever waits then asks that server first; if this
/// one were free a moment earlier, it would send all of it once more.
const STORING: Duration = Duration::from_secs(1);

/// Whether it is here. It is kept for a day from now, needed or not.
#[utoipa::path(
    head, operation_id = "probe_artifact", path = "/v1/artifacts/{digest}", tag = "artifacts", params(("digest" = Digest, Path)),
    responses((status = 200, description = "It is."), (status = 404, description = "It is not."))
)]
pub(crate) async fn probe(
    Held(shared): Held<Arc<Shared>>,
    Place(digest): Place<Digest>,
) -> Result<Response, Refused> {
    match Artifacts::new(&shared.settings.artifact_dir).touch(&digest).await {
        Some((kind, length)) => Ok((StatusCode::OK, head(kind, length)).into_response()),
        None => Err(unknown(&digest)),
    }
}

/// Takes a packed release: gzipped tar, whose SHA-256 is the digest in the path.
#[utoipa::path(
    put, operation_id = "send_artifact", path = "/v1/artifacts/{digest}", tag = "artifacts", params(("digest" = Digest, Path)),
    request_body(content_type = "application/gzip", description = "The packed release."),
    responses(
        (status = 200, body = ArtifactStored), (status = 400, description = "It is not what the digest says.", body = ErrorBody),
        (status = 413, body = ErrorBody), (status = 507, description = "The disk is full.", body = ErrorBody)
    )
)]
pub(crate) async fn receive(
    Held(shared): Held<Arc<Shared>>,
    Place(digest): Place<Digest>,
    headers: HeaderMap,
    body: Body,
) -> Answer<ArtifactStored> {
    let most = shared.settings.max_artifact_bytes;
    let told = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|length| length > most) {
        return Err(ArtifactError::TooLarge { most }.into());
    }
    let _turn = shared.uploads.try_acquire().map_err(|_| {
        Refused::new(ErrorCode::Busy, "too many releases are being sent at once; try again in a moment")
    })?;
    let artifacts = Artifacts::new(&shared.settings.artifact_dir);
    let mut pieces = body.into_data_stream();
    match artifacts.receive(&digest, most, &mut pieces).await {
        Ok(stored) => Ok(Json(stored)),
        Err(error) => {
            linger(pieces).await;
            Err(error.into())
        }
    }
}

/// Reads on for a while and throws it away: a sender in the middle of its body would meet a closed connection, and never see why
/// it was refused.
pub(super) async fn linger(mut pieces: BodyDataStream) {
    let rest = async { while let Ok(Some(_)) = pieces.try_next().await {} };
    // Whoever sends for longer learns only that it broke.
    let _ = tokio::time::timeout(LINGER, rest).await;
}

/// The packed release, description of an image or packed layer, whole or from `Range: bytes=N-` on.
#[utoipa::path(
    get, operation_id = "fetch_artifact", path = "/v1/artifacts/{digest}", tag = "artifacts", params(("digest" = Digest, Path)),
    responses(
        (status = 200, content_type = "application/gzip", description = "All of it."),
        (status = 206, content_type = "application/gzip", description = "The part that was asked for."),
        (status = 404, body = ErrorBody), (status = 416, body = ErrorBody),
        (status = 503, description = "It is being sent to several servers already: ask one that has it, or again after `Retry-After`.", body = ErrorBody)
    )
)]
pub(crate) async fn fetch(
    Held(shared): Held<Arc<Shared>>,
    Place(digest): Place<Digest>,
    headers: HeaderMap,
) -> Result<Response, Refused> {
    let artifacts = Artifacts::new(&shared.settings.artifact_dir);
    let Some(Stored { mut file, length, kind }) = artifacts.open(&digest).await else {
        return Err(unknown(&digest));
    };
    let Some(slot) = shared.handouts.take(digest.clone()) else { return Ok(later(&digest)) };
    let part = match headers.get(RANGE).map(|value| part_of(value, length)) {
        None => None,
        Some(Some(part)) => Some(part),
        Some(None) => return Ok(unsatisfiable(length)),
    };
    let (first, end) = part.unwrap_or((0, length));
    file.seek(std::io::SeekFrom::Start(first)).await.map_err(|error| unreadable(&digest, &error))?;
    let pieces = ReaderStream::with_capacity(file.take(end - first), 64 * 1024);
    // The place is given back with the stream.
    let mut whole =
        part.is_none().then(|| Whole::new(digest.clone(), artifacts.path_of(&digest, kind), length));
    let mut left = end - first;
    let pieces = pieces.inspect(move |piece| {
        slot.moved();
        let Ok(piece) = piece else { return };
        left = left.saturating_sub(piece.len() as u64);
        if left == 0 {
            slot.linger(STORING);
        }
        if whole.as_mut().is_some_and(|whole| whole.was_damaged(piece)) {
            scrub::begin(&shared);
        }
    });
    let status = if part.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut response = (status, head(kind, end - first), Body::from_stream(pieces)).into_response();
    if part.is_some() {
        let value = HeaderValue::try_from(format!("bytes {first}-{}/{length}", end - 1));
        response.headers_mut().extend(value.ok().map(|value| (CONTENT_RANGE, value)));
    }
    Ok(response)
}

fn head(kind: Kind, length: u64) -> HeaderMap {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static(kind.content_type())),
        (CONTENT_LENGTH, HeaderValue::from(length)),
        (ACCEPT_RANGES, HeaderValue::from_static("bytes")),
    ];
    headers.into_iter().collect()
}

/// Servers that ask at once get it from each other, so that the uploader's line and this server's carry it a few times only.
fn later(digest: &Digest) -> Response {
    let text = format!("the packed release {digest} is being sent to several servers already");
    let body = ErrorBody::new(ErrorCode::Unavailable, text);
    let mut response = Refused::from(body.hint("ask another server, or again in a moment")).into_response();
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn unknown(digest: &Digest) -> Refused {
    Refused::new(ErrorCode::NotFound, format!("there is no packed release {digest} here"))
}

fn unreadable(digest: &Digest, error: &std::io::Error) -> Refused {
    Refused::new(ErrorCode::Internal, format!("the packed release {digest} can't be read: {error}"))
}

fn unsatisfiable(length: u64) -> Response {
    let body = ErrorBody::new(ErrorCode::Invalid, format!("the packed release has {length} bytes"));
    let mut response = (StatusCode::RANGE_NOT_SATISFIABLE, Json(body)).into_response();
    let value = HeaderValue::try_from(format!("bytes */{length}"));
    response.headers_mut().extend(value.ok().map(|value| (CONTENT_RANGE, value)));
    response
}
