//! Making, listing and removing tokens.

use std::sync::Arc;

use axum::extract::State as Held;
use axum::{Extension, Json};
use http::StatusCode;
use pando_api::v1::tokens::{TokenCreated, TokenInfo, TokenList, TokenRequest};
use pando_api::{ErrorBody, ErrorCode, Scope};

use super::extract::{Place, Sent};
use super::join::close_early;
use super::reply::{Answer, Refused};
use crate::events::{self, Draft};
use crate::shared::Shared;
use crate::tokens::{self, Caller, NewToken, Removed};

const MAX_NAME: usize = 100;
const MAX_TOKENS: usize = 1000;

/// Every token but for its text, oldest first.
#[utoipa::path(get, operation_id = "list_tokens", path = "/v1/tokens", tag = "tokens", responses((status = 200, body = TokenList)))]
pub(crate) async fn list(Held(shared): Held<Arc<Shared>>) -> Answer<TokenList> {
    Ok(Json(TokenList { tokens: tokens::list(&*shared.store).await? }))
}

/// Makes a token. Its text is in this answer and nowhere else.
#[utoipa::path(
    post, operation_id = "create_token", path = "/v1/tokens", tag = "tokens", request_body = TokenRequest,
    responses((status = 200, body = TokenCreated), (status = 400, body = ErrorBody))
)]
pub(crate) async fn create(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Sent(request): Sent<TokenRequest>,
) -> Answer<TokenCreated> {
    check(&request)?;
    check_room(&shared).await?;
    let bearer = tokens::draw()?;
    let new = NewToken { name: request.name, scope: request.scope, expires_in: request.expires_in };
    let text = format!("token `{}` ({}) was made, says {}", new.name, new.scope, caller.name);
    let now = shared.now();
    let event = events::put_ops([Draft::new(text)], now, &mut shared.entropy()?)?;
    let info = tokens::install(&*shared.store, &bearer, &new, now, event).await?;
    Ok(Json(TokenCreated { token: bearer.reveal().to_owned(), info }))
}

/// Whether there may be one more.
pub(crate) async fn check_room(shared: &Shared) -> Result<(), Refused> {
    if tokens::list(&*shared.store).await?.len() >= MAX_TOKENS {
        let text = format!("there are {MAX_TOKENS} tokens already; remove some");
        return Err(Refused::new(ErrorCode::Conflict, text));
    }
    Ok(())
}

fn check(request: &TokenRequest) -> Result<(), Refused> {
    let invalid = |text: String| Err(Refused::new(ErrorCode::Invalid, text));
    let length = request.name.chars().count();
    if length == 0 || length > MAX_NAME || request.name.chars().any(char::is_control) {
        return invalid(format!("a token's name has 1 to {MAX_NAME} characters and no control characters"));
    }
    if request.scope == Scope::Join {
        return invalid(
            "a token to join says what the server is for: `pando cluster token` makes one".to_owned(),
        );
    }
    if matches!(&request.scope, Scope::Deploy { apps } if apps.is_empty()) {
        return invalid("a token for deploying names at least one app".to_owned());
    }
    if request.expires_in.is_some_and(|length| length.0 == 0) {
        return invalid("a token that expires at once is of no use".to_owned());
    }
    Ok(())
}

/// Removes a token; from then on nobody gets in with it.
#[utoipa::path(
    delete, operation_id = "remove_token", path = "/v1/tokens/{token}", tag = "tokens", params(("token" = String, Path)),
    responses(
        (status = 204, description = "It is removed."), (status = 404, body = ErrorBody),
        (status = 409, description = "It is the last one that may do everything.", body = ErrorBody)
    )
)]
pub(crate) async fn remove(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(id): Place<String>,
) -> Result<StatusCode, Refused> {
    let event = |token: &TokenInfo| {
        let text = format!("token `{}` ({}) was removed, says {}", token.name, token.scope, caller.name);
        events::put_ops([Draft::new(text)], shared.now(), &mut shared.entropy()?)
    };
    match tokens::remove(&*shared.store, &id, event).await? {
        Removed::Done(_) => {
            close_early(&shared).await?;
            Ok(StatusCode::NO_CONTENT)
        }
        Removed::Unknown => Err(Refused::new(ErrorCode::NotFound, format!("there is no token `{id}`"))),
        Removed::LastAdmin => {
            let text = "it is the last lasting token that may do everything";
            Err(ErrorBody::new(ErrorCode::Harmful, text).hint("make another one first").into())
        }
    }
}
