//! The table of routes.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{MethodFilter, MethodRouter, delete, get, on, patch, post, put};
use http::Method;

use super::gate::{Access, Gate, Pace, pass};
use super::{
    agents, apps, artifacts, balancers, certificates, deployments, events, exec, firewall, images, join,
    logs, meta, prune, registries, servers,
};
use super::{interludes, settings, tokens, wishes};
use crate::shared::Shared;

/// What is known of a route without its handler.
#[derive(Debug, Clone)]
pub struct RouteInfo {
    pub method: Method,
    /// With `{names}` for its variable parts.
    pub path: &'static str,
    pub access: Access,
    pub(crate) pace: Pace,
    pub(crate) body: usize,
}

struct Route {
    info: RouteInfo,
    handler: MethodRouter<Arc<Shared>>,
}

/// Bodies of requests that have none worth reading.
const NONE: usize = 0;
/// Requests of people.
const SMALL: usize = 64 * 1024;
/// A page of 64 KiB as JSON, in which a character may take six bytes.
const PAGE: usize = 512 * 1024;
/// A chain of certificates with its key, at their largest.
const PEM: usize = 128 * 1024;
/// A deployment with its settings; below what a value in the store may have.
const SPEC: usize = 768 * 1024;
/// A report of a server with a thousand instances and their last lines.
const REPORT: usize = 16 * 1024 * 1024;

/// The description of an image.
const DESCRIPTION: usize = pando_image::image::MOST_DESCRIPTION;

const MAINTENANCE: &str = "/v1/apps/{app}/maintenance";
const PAUSE: &str = "/v1/apps/{app}/pause";

fn quick(method: Method, path: &'static str, access: Access, handler: MethodRouter<Arc<Shared>>) -> Route {
    Route { info: RouteInfo { method, path, access, pace: Pace::Quick, body: NONE }, handler }
}

fn poll(path: &'static str, access: Access, handler: MethodRouter<Arc<Shared>>) -> Route {
    Route { info: RouteInfo { method: Method::GET, path, access, pace: Pace::Poll, body: NONE }, handler }
}

/// What reads large files, or asks servers.
fn slow(method: Method, path: &'static str, access: Access, handler: MethodRouter<Arc<Shared>>) -> Route {
    quick(method, path, access, handler).pace(Pace::Slow)
}

impl Route {
    fn body(mut self, most: usize) -> Self {
        self.info.body = most;
        self
    }

    fn pace(mut self, pace: Pace) -> Self {
        self.info.pace = pace;
        self
    }
}

fn table() -> Vec<Route> {
    let (fetch, head) = (Method::GET, Method::HEAD);
    vec![
        quick(fetch.clone(), "/healthz", Access::Open, get(meta::health)),
        quick(fetch.clone(), "/v1/version", Access::Open, get(meta::version)),
        quick(fetch.clone(), "/v1/openapi.json", Access::Open, get(meta::openapi)),
        quick(fetch.clone(), "/v1/status", Access::Read, get(meta::status)),
        quick(fetch.clone(), "/v1/apps", Access::Read, get(apps::list)),
        quick(fetch.clone(), "/v1/apps/{app}", Access::ReadApp, get(apps::show)),
        quick(Method::DELETE, "/v1/apps/{app}", Access::ChangeApp, delete(wishes::forget)),
        quick(fetch.clone(), "/v1/apps/{app}/releases", Access::ReadApp, get(apps::releases)),
        quick(fetch.clone(), "/v1/apps/{app}/deployments", Access::ReadApp, get(deployments::list)),
        quick(Method::POST, "/v1/apps/{app}/deployments", Access::ChangeApp, post(deployments::create))
            .body(SPEC),
        poll("/v1/apps/{app}/deployments/{deployment}", Access::ReadApp, get(deployments::show)),
        quick(Method::POST, "/v1/apps/{app}/scale", Access::ChangeApp, post(wishes::scale)).body(SMALL),
        quick(Method::POST, "/v1/apps/{app}/stop", Access::ChangeApp, post(wishes::stop)).body(SMALL),
        quick(Method::POST, "/v1/apps/{app}/start", Access::ChangeApp, post(wishes::start)),
        quick(Method::POST, MAINTENANCE, Access::ChangeApp, post(interludes::begin_maintenance)).body(PAGE),
        quick(Method::DELETE, MAINTENANCE, Access::ChangeApp, delete(interludes::end_maintenance)),
        quick(Method::POST, PAUSE, Access::ChangeApp, post(interludes::pause)).body(SMALL),
        quick(Method::DELETE, PAUSE, Access::ChangeApp, delete(interludes::resume)),
        quick(fetch.clone(), "/v1/apps/{app}/logs", Access::ReadApp, get(logs::show)),
        quick(Method::POST, "/v1/apps/{app}/exec", Access::ChangeApp, post(exec::open)),
        poll("/v1/events", Access::ReadOf, get(events::list)),
        quick(fetch.clone(), "/v1/traffic", Access::ReadOf, get(events::traffic)),
        quick(fetch.clone(), "/v1/traffic/endpoints", Access::ReadOf, get(events::endpoints)),
        quick(fetch.clone(), "/v1/servers", Access::Read, get(servers::list)),
        quick(fetch.clone(), "/v1/servers/{server}", Access::Read, get(servers::show)),
        quick(Method::DELETE, "/v1/servers/{server}", Access::Admin, delete(servers::remove)),
        quick(Method::POST, "/v1/servers/{server}/roles", Access::Admin, post(servers::roles)).body(SMALL),
        quick(Method::POST, "/v1/servers/{server}/labels", Access::Admin, post(servers::labels)).body(SMALL),
        quick(Method::POST, "/v1/servers/{server}/drain", Access::Admin, post(servers::drain)).body(SMALL),
        quick(Method::POST, "/v1/servers/{server}/undrain", Access::Admin, post(servers::undrain)),
        quick(fetch.clone(), "/v1/settings", Access::Read, get(settings::show)),
        quick(Method::PATCH, "/v1/settings", Access::Admin, patch(settings::change)).body(SMALL),
        quick(fetch.clone(), "/v1/balancers", Access::Read, get(balancers::list)),
        quick(Method::POST, "/v1/balancers/lockdown", Access::Admin, post(balancers::lockdown)).body(SMALL),
        quick(Method::POST, "/v1/balancers/unlock", Access::Admin, post(balancers::unlock)),
        quick(fetch.clone(), "/v1/certificates", Access::Read, get(certificates::list)),
        quick(Method::POST, "/v1/certificates", Access::Admin, post(certificates::import)).body(PEM),
        quick(Method::DELETE, "/v1/certificates/{certificate}", Access::Admin, delete(certificates::remove)),
        quick(fetch.clone(), "/v1/registries", Access::Read, get(registries::list)),
        quick(Method::PUT, "/v1/registries/{registry}", Access::Admin, put(registries::set)).body(SMALL),
        quick(Method::DELETE, "/v1/registries/{registry}", Access::Admin, delete(registries::remove)),
        slow(fetch.clone(), "/v1/prune", Access::Read, get(prune::show)),
        slow(Method::POST, "/v1/prune", Access::Admin, post(prune::remove)),
        quick(fetch.clone(), "/v1/firewall", Access::Read, get(firewall::show)),
        quick(head, "/v1/artifacts/{digest}", Access::Send, on(MethodFilter::HEAD, artifacts::probe)),
        quick(Method::PUT, "/v1/artifacts/{digest}", Access::Send, put(artifacts::receive))
            .pace(Pace::Upload),
        quick(fetch.clone(), "/v1/artifacts/{digest}", Access::Fetch, get(artifacts::fetch)),
        slow(Method::POST, "/v1/apps/{app}/image", Access::ChangeApp, post(images::ask)).body(SPEC),
        slow(fetch.clone(), "/v1/layers/{layer}", Access::Send, get(images::layer)),
        quick(Method::PUT, "/v1/layers/{layer}", Access::Send, put(images::receive)).pace(Pace::Upload),
        slow(Method::PUT, "/v1/images/{digest}", Access::Send, put(images::describe)).body(DESCRIPTION),
        quick(Method::POST, "/v1/cluster/join-tokens", Access::Admin, post(join::create_token)).body(SMALL),
        quick(Method::POST, "/v1/join", Access::Join, post(join::join)).body(SMALL),
        quick(Method::POST, "/v1/agents/{server}/certificate", Access::Renew, post(join::renew)).body(SMALL),
        quick(fetch, "/v1/tokens", Access::Admin, get(tokens::list)),
        quick(Method::POST, "/v1/tokens", Access::Admin, post(tokens::create)).body(SMALL),
        quick(Method::DELETE, "/v1/tokens/{token}", Access::Admin, delete(tokens::remove)),
        poll("/v1/agents/{server}/target", Access::Agent, get(agents::target)),
        quick(
            Method::GET,
            "/v1/agents/{server}/registries/{registry}",
            Access::Agent,
            get(registries::reveal),
        ),
        quick(Method::POST, "/v1/agents/{server}/reports", Access::Agent, post(agents::report)).body(REPORT),
    ]
}

/// Every route and what it takes to use it.
#[must_use]
pub fn routes() -> Vec<RouteInfo> {
    table().into_iter().map(|route| route.info).collect()
}

/// All routes behind the gate; nothing else is reachable.
pub(crate) fn router(shared: &Arc<Shared>) -> Router {
    let table = table();
    let routes = table.iter().map(|route| route.info.clone()).collect();
    let gate = Gate { shared: Arc::clone(shared), routes };
    let unrouted = table.into_iter().fold(Router::new(), |router, route| {
        let Route { info, handler } = route;
        router.route(info.path, handler)
    });
    // The gate refuses what has no route before this is reached.
    let routed = unrouted.fallback(|| async { http::StatusCode::NOT_FOUND });
    routed.layer(from_fn_with_state(gate, pass)).with_state(Arc::clone(shared))
}
