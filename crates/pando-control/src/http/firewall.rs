//! What each server accepts from the network, and why.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Held;
use pando_api::v1::firewall::FirewallView;
use pando_plan::Input;

use super::meta::view_of;
use super::reply::Answer;
use crate::shared::Shared;
use crate::state::State;

/// Rules per server, whether or not they are kept in force.
#[utoipa::path(get, operation_id = "firewall", path = "/v1/firewall", tag = "cluster", responses((status = 200, body = FirewallView)))]
pub(crate) async fn show(Held(shared): Held<Arc<Shared>>) -> Answer<FirewallView> {
    let state = State::load(&*shared.store).await?;
    let observed = Arc::clone(&shared.observed.borrow());
    let input = Input { desired: &state.world, observed: &observed, now: shared.now(), seed: 0 };
    let rules = pando_plan::firewall::rules(&input);
    Ok(Json(view_of(&shared, &state, |view| view.firewall(&rules))))
}
