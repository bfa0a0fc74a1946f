//! The routes, and what stands before them: who asks, and how long a body may be.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State as Held};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::{Method, Uri};
use http_body::Body as _;
use pando_api::ErrorCode;

use super::door::Caller;
use super::reply::Refused;
use super::server::Served;
use super::{artifacts, exec, host, logs, prune, shared};

/// Open to everybody who may connect: it tells nothing.
const HEALTH: &str = "/healthz";

/// The one that takes a body, which it bounds itself.
const REPORTS: &str = "/v1/peer/reports";

/// All routes behind the gate; nothing else is reachable.
pub(super) fn router(served: &Arc<Served>) -> Router {
    Router::new()
        .route(HEALTH, get(|| async { "ok\n" }))
        .route("/v1/host", get(host::show))
        .route("/v1/logs", get(logs::show))
        .route("/v1/prune", get(prune::show).post(prune::remove))
        .route("/v1/artifacts/{digest}", get(artifacts::fetch).head(artifacts::probe))
        .route("/v1/peer/table", get(shared::table))
        .route(REPORTS, post(shared::relay))
        .route("/v1/exec", post(exec::open))
        .fallback(unknown)
        .method_not_allowed_fallback(other_method)
        .layer(from_fn_with_state(Arc::clone(served), pass))
        .with_state(Arc::clone(served))
}

async fn unknown(uri: Uri) -> Refused {
    Refused::new(ErrorCode::NotFound, format!("there is no `{}` here", uri.path()))
}

async fn other_method(method: Method, uri: Uri) -> Refused {
    Refused::new(ErrorCode::Invalid, format!("`{}` does not take {method}", uri.path()))
}

/// Runs before every handler. Who may not come in learns not even which paths there are.
async fn pass(Held(served): Held<Arc<Served>>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let caller = parts.extensions.get::<Caller>().copied().unwrap_or(Caller::Unknown);
    if parts.uri.path() != HEALTH
        && let Err(refusal) = served.state.admission.admit(caller, &parts)
    {
        return Refused::from(refusal).into_response();
    }
    if !body.is_end_stream() && parts.uri.path() != REPORTS {
        return Refused::new(ErrorCode::TooLarge, "this takes no body").into_response();
    }
    parts.extensions.insert(caller);
    next.run(Request::from_parts(parts, body)).await
}
