//! What servers tell each other when the control plane is away: the newest table, and reports to hand on.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Query as Asked, State as Held};
use axum::response::{IntoResponse, Response};
use axum::{Json, body};
use http::{StatusCode, Uri};
use pando_api::ErrorCode;
use pando_api::v1::agents::{PeerTableQuery, RelayedReport};
use pando_model::id::Version;

use super::door::Caller;
use super::reply::Refused;
use super::server::Served;

/// A report of a server with thousands of replicas stays below.
pub(super) const MOST_REPORT: usize = 2 * 1024 * 1024;

/// 204: it is not newer than what the caller has.
pub(super) async fn table(Held(served): Held<Arc<Served>>, uri: Uri) -> Result<Response, Refused> {
    let asked = Asked::<PeerTableQuery>::try_from_uri(&uri);
    let Asked(have) = asked.map_err(|error| {
        Refused::new(ErrorCode::Invalid, format!("the query is wrong: {}", error.body_text()))
    })?;
    let newest = served.state.neighbours.newest_table(Version::new(have.epoch, have.revision));
    Ok(newest.map_or_else(|| StatusCode::NO_CONTENT.into_response(), |bytes| Json(bytes).into_response()))
}

/// Takes the caller's own report.
pub(super) async fn relay(
    Held(served): Held<Arc<Served>>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<StatusCode, Refused> {
    let invalid = |text: String| Refused::new(ErrorCode::Invalid, text);
    let Some(server) = caller.server() else {
        return Err(Refused::new(ErrorCode::Forbidden, "only servers hand in reports"));
    };
    let bytes = body::to_bytes(body, MOST_REPORT)
        .await
        .map_err(|error| Refused::new(ErrorCode::TooLarge, format!("the report can't be read: {error}")))?;
    let report: RelayedReport =
        serde_json::from_slice(&bytes).map_err(|error| invalid(format!("this is no report: {error}")))?;
    served.state.neighbours.relay(server, report)?;
    Ok(StatusCode::NO_CONTENT)
}
