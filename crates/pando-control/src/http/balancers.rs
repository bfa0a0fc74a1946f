//! Entry points, and closing direct access.

use std::sync::Arc;

use axum::extract::State as Held;
use axum::{Extension, Json};
use pando_api::ErrorBody;
use pando_api::v1::balancers::{BalancerList, LockdownRequest};
use pando_api::v1::cluster::SettingsChange;

use super::connection::Peer;
use super::extract::Sent;
use super::meta::view_of;
use super::reply::Answer;
use super::settings;
use crate::shared::Shared;
use crate::state::State;
use crate::tokens::Caller;

/// Every server that takes requests from outside, with what arrives there.
#[utoipa::path(get, operation_id = "list_balancers", path = "/v1/balancers", tag = "balancers", responses((status = 200, body = BalancerList)))]
pub(crate) async fn list(Held(shared): Held<Arc<Shared>>) -> Answer<BalancerList> {
    let state = State::load(&*shared.store).await?;
    Ok(Json(list_of(&shared, &state)))
}

pub(crate) fn list_of(shared: &Shared, state: &State) -> BalancerList {
    let now = shared.now();
    view_of(shared, state, |view| view.balancers(|server| shared.traffic.counts(server, now)))
}

/// Closes direct access: from then on only servers with the role `lb` take requests from outside.
#[utoipa::path(
    post, operation_id = "lockdown", path = "/v1/balancers/lockdown", tag = "balancers", request_body = LockdownRequest,
    responses(
        (status = 200, body = BalancerList),
        (status = 409, description = "Requests still arrive directly, or no load balancer could take them.", body = ErrorBody)
    )
)]
pub(crate) async fn lockdown(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<Peer>,
    Sent(request): Sent<LockdownRequest>,
) -> Answer<BalancerList> {
    let change = SettingsChange { lockdown: Some(true), force: request.force, ..SettingsChange::default() };
    settings::apply(&shared, &caller, peer, &change).await?;
    list(Held(shared)).await
}

/// Opens direct access again.
#[utoipa::path(post, operation_id = "unlock", path = "/v1/balancers/unlock", tag = "balancers", responses((status = 200, body = BalancerList)))]
pub(crate) async fn unlock(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Extension(peer): Extension<Peer>,
) -> Answer<BalancerList> {
    let change = SettingsChange { lockdown: Some(false), ..SettingsChange::default() };
    settings::apply(&shared, &caller, peer, &change).await?;
    list(Held(shared)).await
}
