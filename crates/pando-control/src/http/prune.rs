//! What nothing needs any more: `pando prune`.

use std::sync::Arc;

use axum::extract::State as Held;
use axum::{Extension, Json};
use pando_api::ErrorBody;
use pando_api::v1::prune::{PruneAnswer, PruneQuery};

use super::extract::Asked;
use super::reply::Answer;
use crate::prune::{self, Deed};
use crate::shared::Shared;
use crate::state::State;
use crate::tokens::Caller;

/// What could go from servers and from the control plane's store, and why. Nothing is changed.
///
/// A server that can't be asked is named with the reason; the others are told nevertheless.
#[utoipa::path(
    get, operation_id = "prunable", path = "/v1/prune", tag = "cluster", params(PruneQuery),
    responses((status = 200, body = PruneAnswer), (status = 404, description = "There is no such server.", body = ErrorBody))
)]
pub(crate) async fn show(
    Held(shared): Held<Arc<Shared>>,
    Asked(query): Asked<PruneQuery>,
) -> Answer<PruneAnswer> {
    let state = State::load(&*shared.store).await?;
    Ok(Json(prune::prune(&shared, &state, Deed::Look, query.server.as_ref()).await?))
}

/// Removes what can go by then, and tells what went.
///
/// What a container is made of, what belongs to a kept release and what is not Pando's stays. What was begun goes on if the caller
/// leaves.
#[utoipa::path(
    post, operation_id = "prune", path = "/v1/prune", tag = "cluster", params(PruneQuery),
    responses((status = 200, body = PruneAnswer), (status = 404, description = "There is no such server.", body = ErrorBody))
)]
pub(crate) async fn remove(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Asked(query): Asked<PruneQuery>,
) -> Answer<PruneAnswer> {
    let state = State::load(&*shared.store).await?;
    let answer = prune::prune(&shared, &state, Deed::Remove, query.server.as_ref()).await?;
    if let Err(error) = prune::tell(&shared, &answer, &caller.name).await {
        tracing::warn!(%error, "what was pruned is in no event");
    }
    Ok(Json(answer))
}
