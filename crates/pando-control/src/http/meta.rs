//! Who answers, and how the cluster is.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Held;
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use pando_api::v1::status::ClusterStatus;
use pando_api::v1::version::VersionInfo;

use super::reply::{Answer, Refused};
use crate::shared::{EntryPoint, Shared};
use crate::state::State;
use crate::status::View;

/// Whether the control plane answers.
#[utoipa::path(get, operation_id = "health", path = "/healthz", tag = "cluster", security(()), responses((status = 200, description = "It does.")))]
pub(crate) async fn health() -> &'static str {
    "ok\n"
}

/// Who answers, and which versions of this API it speaks.
#[utoipa::path(get, operation_id = "version", path = "/v1/version", tag = "cluster", security(()), responses((status = 200, body = VersionInfo)))]
pub(crate) async fn version(Held(shared): Held<Arc<Shared>>) -> Json<VersionInfo> {
    let version = shared.settings.version.clone();
    Json(VersionInfo { name: "pando".to_owned(), version, api: vec!["v1".to_owned()] })
}

/// This document.
#[utoipa::path(get, operation_id = "openapi", path = "/v1/openapi.json", tag = "cluster", security(()), responses((status = 200, description = "OpenAPI 3.1.")))]
pub(crate) async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], super::openapi_json()).into_response()
}

/// Servers, apps and warnings.
#[utoipa::path(get, operation_id = "cluster_status", path = "/v1/status", tag = "cluster", responses((status = 200, body = ClusterStatus)))]
pub(crate) async fn status(Held(shared): Held<Arc<Shared>>) -> Answer<ClusterStatus> {
    let state = State::load(&*shared.store).await?;
    with_view(&shared, &state, |view| Ok(Json(view.cluster(&shared.settings.version))))
}

/// A view of the moment.
pub(crate) fn with_view<T>(
    shared: &Shared,
    state: &State,
    show: impl FnOnce(View<'_>) -> Result<T, Refused>,
) -> Result<T, Refused> {
    view_of(shared, state, show)
}

/// What a view of the moment shows.
pub(crate) fn view_of<T>(shared: &Shared, state: &State, show: impl FnOnce(View<'_>) -> T) -> T {
    let observed = Arc::clone(&shared.observed.borrow());
    let report = Arc::clone(&shared.report.borrow());
    let entry: Option<&EntryPoint> = shared.settings.entry.as_ref();
    show(View { state, observed: &observed, report: &report, entry, now: shared.now() })
}
