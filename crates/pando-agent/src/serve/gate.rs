//! The routes, and what stands before them: the token, and that no request has a body.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State as Held};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::header::AUTHORIZATION;
use http::{Method, Uri};
use http_body::Body as _;
use pando_api::{Bearer, ErrorBody, ErrorCode};
use sha2::{Digest, Sha256};

use super::reply::Refused;
use super::server::Served;
use super::{artifacts, exec, logs};

/// Open to everybody: it tells nothing.
const HEALTH: &str = "/healthz";

/// All routes behind the gate; nothing else is reachable.
pub(super) fn router(served: &Arc<Served>) -> Router {
    Router::new()
        .route(HEALTH, get(|| async { "ok\n" }))
        .route("/v1/logs", get(logs::show))
        .route("/v1/artifacts/{digest}", get(artifacts::fetch).head(artifacts::probe))
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

/// Runs before every handler. Without the token, nobody learns even which paths there are.
async fn pass(Held(served): Held<Arc<Served>>, request: Request, next: Next) -> Response {
    let shown = request.headers().get(AUTHORIZATION).and_then(Bearer::from_header);
    let known = shown.is_some_and(|shown| same(&shown, &served.state.token));
    if request.uri().path() != HEALTH && !known {
        let refusal =
            ErrorBody::new(ErrorCode::Unauthorized, "this is for the control plane, and takes its token");
        return Refused::from(refusal.hint("ask the control plane instead")).into_response();
    }
    if !request.body().is_end_stream() {
        return Refused::new(ErrorCode::TooLarge, "no request here has a body").into_response();
    }
    next.run(request).await
}

/// In a time that tells nothing about where they differ: what is compared are digests, each byte in any case.
fn same(shown: &Bearer, token: &Bearer) -> bool {
    let [shown, token] = [shown, token].map(|bearer| Sha256::digest(bearer.reveal().as_bytes()));
    shown.iter().zip(token.iter()).fold(0, |differing, (a, b)| differing | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_is_the_same() {
        let bearer = |text: &str| Bearer::new(text).unwrap();
        let token = bearer("pando_abc");
        assert!(same(&bearer("pando_abc"), &token));
        for other in ["pando_ab", "pando_abcd", "pando_abC", "x"] {
            assert!(!same(&bearer(other), &token), "{other}");
        }
    }
}
