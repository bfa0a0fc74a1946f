//! Apps as they are.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Held;
use pando_api::ErrorBody;
use pando_api::v1::apps::{AppList, AppStatus, ReleaseList};
use pando_model::name::AppName;

use super::extract::Place;
use super::meta::with_view;
use super::reply::Answer;
use crate::deploy::unknown_app;
use crate::shared::Shared;
use crate::state::State;

/// Every app in one line each.
#[utoipa::path(get, operation_id = "list_apps", path = "/v1/apps", tag = "apps", responses((status = 200, body = AppList)))]
pub(crate) async fn list(Held(shared): Held<Arc<Shared>>) -> Answer<AppList> {
    let state = State::load(&*shared.store).await?;
    with_view(&shared, &state, |view| Ok(Json(AppList { apps: view.apps() })))
}

/// One app: its release, deployment, processes and replicas.
#[utoipa::path(
    get, operation_id = "app_status", path = "/v1/apps/{app}", tag = "apps", params(("app" = AppName, Path)),
    responses((status = 200, body = AppStatus), (status = 404, body = ErrorBody))
)]
pub(crate) async fn show(Held(shared): Held<Arc<Shared>>, Place(app): Place<AppName>) -> Answer<AppStatus> {
    let state = State::load_app(&*shared.store, &app).await?;
    with_view(&shared, &state, |view| view.app(&app).map(Json).ok_or_else(|| unknown_app(&app).into()))
}

/// The app's kept releases, newest first.
#[utoipa::path(
    get, operation_id = "list_releases", path = "/v1/apps/{app}/releases", tag = "apps", params(("app" = AppName, Path)),
    responses((status = 200, body = ReleaseList), (status = 404, body = ErrorBody))
)]
pub(crate) async fn releases(
    Held(shared): Held<Arc<Shared>>,
    Place(app): Place<AppName>,
) -> Answer<ReleaseList> {
    let state = State::load_app(&*shared.store, &app).await?;
    with_view(&shared, &state, |view| view.releases(&app).map(Json).ok_or_else(|| unknown_app(&app).into()))
}
