//! The log of decisions, and what the load balancers counted.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Held;
use pando_api::v1::events::{EventPage, EventQuery};
use pando_api::v1::traffic::{EndpointTraffic, Traffic, TrafficQuery};
use pando_model::server::Server;

use super::extract::Asked;
use super::poll;
use super::reply::Answer;
use crate::events::{self, Wanted};
use crate::shared::Shared;
use crate::state::State;
use crate::store::value::decode;
use crate::store::{Key, Range, StoreError, keys};

const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: usize = 1000;

/// What was decided and why, oldest first. With `after` and `wait_millis` a long poll.
#[utoipa::path(get, operation_id = "list_events", path = "/v1/events", tag = "cluster", params(EventQuery), responses((status = 200, body = EventPage)))]
pub(crate) async fn list(
    Held(shared): Held<Arc<Shared>>,
    Asked(query): Asked<EventQuery>,
) -> Answer<EventPage> {
    let until = poll::until(query.wait_millis);
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT).clamp(1, MAX_LIMIT);
    let mut wanted = Wanted { app: query.app, deployment: None, after: query.after, limit };
    loop {
        let page = events::read(&*shared.store, &wanted).await?;
        if !page.events.is_empty() || wanted.after.is_none() {
            return Ok(Json(page));
        }
        // Nothing of what is wanted up to here: go on from here.
        wanted.after = Some(page.next);
        let mut watch = shared.store.watch(keys::EVENTS, page.next);
        if !poll::or_end(&shared, until, async { watch.changed().await.is_some() }).await {
            return Ok(Json(page));
        }
    }
}

/// Every endpoint of the published table, as each load balancer sees it: in rotation or not, ejected and why, under way, totals.
#[utoipa::path(get, operation_id = "endpoint_traffic", path = "/v1/traffic/endpoints", tag = "cluster", params(TrafficQuery), responses((status = 200, body = EndpointTraffic)))]
pub(crate) async fn endpoints(
    Held(shared): Held<Arc<Shared>>,
    Asked(query): Asked<TrafficQuery>,
) -> Answer<EndpointTraffic> {
    let state = State::load(&*shared.store).await?;
    let Some(table) = &state.world.table else { return Ok(Json(EndpointTraffic::default())) };
    let name = |id| state.world.servers.get(&id).map(|server| server.name.clone());
    Ok(Json(shared.traffic.endpoints(table, query.app.as_ref(), name, shared.now())))
}

/// Totals of every load balancer, for taking differences.
#[utoipa::path(get, operation_id = "traffic", path = "/v1/traffic", tag = "cluster", params(TrafficQuery), responses((status = 200, body = Traffic)))]
pub(crate) async fn traffic(
    Held(shared): Held<Arc<Shared>>,
    Asked(query): Asked<TrafficQuery>,
) -> Answer<Traffic> {
    let (_, entries) = shared.store.list(Range::prefix(keys::SERVERS)).await?;
    let specs = entries.iter().filter(|entry| matches!(entry.key.parse(), Ok(Key::ServerSpec(_))));
    let servers = specs.map(decode::<Server>).collect::<Result<Vec<_>, StoreError>>()?;
    let name = |id| servers.iter().find(|server| server.id == id).map(|server| server.name.clone());
    Ok(Json(shared.traffic.view(query.app.as_ref(), name)))
}
