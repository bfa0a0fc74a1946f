//! The token of every request.

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use pando_api::auth::Bearer;
use pando_api::error::{ErrorBody, ErrorCode};
use sha2::{Digest, Sha256};

use super::{Api, Problem};

pub(super) async fn check(State(api): State<Api>, request: Request, next: Next) -> Response {
    let given = request.headers().get(AUTHORIZATION).and_then(Bearer::from_header);
    if given.is_some_and(|given| is_same(&given, &api.inner.token)) {
        return next.run(request).await;
    }
    Problem(ErrorBody::new(ErrorCode::Unauthorized, "the agent's token is missing or wrong")).into_response()
}

/// In the same time whatever is given: digests are compared, to their end.
fn is_same(given: &Bearer, expected: &Bearer) -> bool {
    let digest = |token: &Bearer| Sha256::digest(token.reveal().as_bytes());
    let pairs = digest(given).into_iter().zip(digest(expected));
    pairs.fold(0, |differences, (a, b)| differences | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_token_is_the_same() {
        let token = |text: &str| Bearer::new(text).unwrap();
        assert!(is_same(&token("pando_a"), &token("pando_a")));
        for other in ["pando_b", "pando_", "pando_aa", "a"] {
            assert!(!is_same(&token(other), &token("pando_a")), "{other}");
        }
    }
}
