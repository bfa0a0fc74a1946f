//! Servers that come into the cluster, and their certificates.

use std::sync::Arc;

use axum::extract::State as Held;
use axum::{Extension, Json};
use pando_api::auth::Bearer;
use pando_api::v1::agents::{CertificateIssued, CertificateRequest};
use pando_api::v1::join::{JoinAnswer, JoinRequest, JoinTokenCreated, JoinTokenRequest};
use pando_api::{ErrorBody, ErrorCode, Scope};
use pando_model::id::ServerId;
use pando_model::server::Server;
use pando_model::time::Timestamp;
use pando_trust::{JoinSecret, TrustError, request_key};

use super::extract::{Place, Sent};
use super::reply::{Answer, Refused};
use super::tokens::check_room;
use crate::events::{self, Draft};
use crate::join::{self, Grant, Joining, Used};
use crate::shared::Shared;
use crate::state::State;
use crate::store::{Expect, Key, Outcome, StoreError, Txn};
use crate::tokens::{self, Caller, StoredToken};

const TRIES: usize = 5;

/// Makes a token with which one server joins, once. Its secret is in this answer and nowhere else.
#[utoipa::path(
    post, operation_id = "create_join_token", path = "/v1/cluster/join-tokens", tag = "servers", request_body = JoinTokenRequest,
    responses(
        (status = 200, body = JoinTokenCreated), (status = 400, body = ErrorBody),
        (status = 409, description = "There is a server of that name.", body = ErrorBody)
    )
)]
pub(crate) async fn create_token(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Sent(request): Sent<JoinTokenRequest>,
) -> Answer<JoinTokenCreated> {
    check_room(&shared).await?;
    let secret = JoinSecret::make()?.reveal();
    let bearer =
        Bearer::new(&secret).map_err(|error| Refused::new(ErrorCode::Internal, error.to_string()))?;
    let mut entropy = shared.entropy()?;
    for _ in 0..TRIES {
        let (state, now) = (State::load(&*shared.store).await?, shared.now());
        let (grant, expires_in) = join::grant(&request, &state.world)?;
        let text = format!("a token to join {} was made, says {}", join::words(&grant), caller.name);
        let event = events::put_ops([Draft::new(text)], now, &mut entropy)?;
        let expires_at = now + expires_in;
        let (id, token) = StoredToken::for_joining(&bearer, grant, now, expires_at);
        let txn = Txn::new().put(Key::Token(id.clone()), &token)?.ops(event);
        let txn = open_until(txn, &state, expires_at)?;
        if matches!(shared.store.txn(txn).await?, Outcome::Committed(_)) {
            let fingerprint = shared.trust.fingerprint();
            return Ok(Json(JoinTokenCreated { secret, fingerprint, expires_at, id }));
        }
    }
    Err(Refused::new(
        ErrorCode::Conflict,
        "the cluster's settings are being changed by many at once; try again",
    ))
}

/// Whoever comes with the token may come from anywhere, as long as it is good.
fn open_until(txn: Txn, state: &State, until: Timestamp) -> Result<Txn, Refused> {
    let mut settings = state.world.settings.clone();
    settings.joining_until = settings.joining_until.max(Some(until));
    let key = Key::cluster_settings();
    Ok(txn.unchanged(&key, state.modified(&key)).put(&key, &settings)?)
}

/// Lets nobody come from anywhere any more when no token is left that waits to be used. What can't be written now ends with the
/// token's time.
pub(super) async fn close_early(shared: &Shared) -> Result<(), StoreError> {
    for _ in 0..TRIES {
        let (state, left) = (State::load(&*shared.store).await?, tokens::list(&*shared.store).await?);
        let waiting = left.iter().filter(|token| token.scope == Scope::Join && !token.used);
        let until = waiting.filter_map(|token| token.expires_at).max();
        let mut settings = state.world.settings.clone();
        if settings.joining_until <= until {
            return Ok(());
        }
        settings.joining_until = until;
        let key = Key::cluster_settings();
        let txn = Txn::new().unchanged(&key, state.modified(&key)).put(&key, &settings)?;
        if matches!(shared.store.txn(txn).await?, Outcome::Committed(_)) {
            return Ok(());
        }
    }
    Ok(())
}

/// Joins the cluster: the server is made, and its key certified. The token is used up by that; repeated with the same key, the
/// answer is the same server.
#[utoipa::path(
    post, operation_id = "join", path = "/v1/join", tag = "servers", request_body = JoinRequest,
    responses(
        (status = 200, body = JoinAnswer), (status = 400, body = ErrorBody), (status = 401, body = ErrorBody),
        (status = 403, description = "The token was used by another server.", body = ErrorBody),
        (status = 409, description = "A server has the name or an address already.", body = ErrorBody)
    )
)]
pub(crate) async fn join(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Sent(request): Sent<JoinRequest>,
) -> Answer<JoinAnswer> {
    let key = request_key(&request.request)?;
    // Names and addresses are each one server's: two that come at once are looked at one after the other.
    let _one_at_a_time = shared.joins.lock().await;
    let mut entropy = shared.entropy()?;
    for _ in 0..TRIES {
        let (modified, token) = tokens::stored(&*shared.store, &caller.id).await?.ok_or_else(gone)?;
        let grant = token.join.clone().ok_or_else(gone)?;
        let (state, now) = (State::load(&*shared.store).await?, shared.now());
        let new = (ServerId::new(now, &mut entropy), now);
        let server = match join::admit(&grant, &request, key, &state.world, new)? {
            Joining::Again(server) => return answer(&shared, &request, &server),
            Joining::New(server) => server,
        };
        // What can't be certified must not use the token up.
        let answered = answer(&shared, &request, &server)?;
        let text = format!(
            "{} ({}, pando {}) joined {}",
            server.name,
            server.private_address,
            short(&request.version),
            join::words(&Grant { name: None, ..grant.clone() })
        );
        let event = events::put_ops([Draft::new(text)], now, &mut entropy)?;
        let used = Grant { used: Some(Used { server: server.id, key }), ..grant };
        let spec = Key::ServerSpec(server.id);
        let token_key = Key::Token(caller.id.clone());
        let txn = Txn::new()
            .guard(&token_key, Expect::Modified(modified))
            .put(&token_key, &StoredToken { join: Some(used), ..token })?
            .guard(&spec, Expect::Absent)
            .put(&spec, &server)?
            .ops(event);
        if matches!(shared.store.txn(txn).await?, Outcome::Committed(_)) {
            close_early(&shared).await?;
            return Ok(answered);
        }
    }
    Err(Refused::new(ErrorCode::Conflict, "the join token is being used by many at once"))
}

fn gone() -> Refused {
    Refused::new(ErrorCode::Unauthorized, "the join token is not known, or has expired")
}

/// A version is told by the caller.
fn short(version: &str) -> String {
    version.chars().filter(|character| !character.is_control()).take(40).collect()
}

fn answer(shared: &Shared, request: &JoinRequest, server: &Server) -> Answer<JoinAnswer> {
    Ok(Json(JoinAnswer {
        server: server.id,
        name: server.name.clone(),
        certificate: shared.trust.certify(&request.request, server.id)?,
        authority: shared.trust.anchor().clone(),
    }))
}

/// Certifies a new key of a server. Taken even from one whose certificate has expired.
#[utoipa::path(
    post, operation_id = "renew_certificate", path = "/v1/agents/{server}/certificate", tag = "agents",
    params(("server" = ServerId, Path)), request_body = CertificateRequest,
    responses((status = 200, body = CertificateIssued), (status = 400, body = ErrorBody))
)]
pub(crate) async fn renew(
    Held(shared): Held<Arc<Shared>>,
    Place(server): Place<ServerId>,
    Sent(request): Sent<CertificateRequest>,
) -> Answer<CertificateIssued> {
    let certificate = shared.trust.certify(&request.request, server)?;
    Ok(Json(CertificateIssued { certificate, authority: shared.trust.anchor().clone() }))
}

impl From<TrustError> for Refused {
    fn from(error: TrustError) -> Self {
        let text = pando_rt::error_chain::error_chain(&error);
        match error {
            TrustError::Request(_) => Self::new(ErrorCode::Invalid, text),
            _ => {
                tracing::error!("a request failed: {text}");
                Self::new(ErrorCode::Internal, text)
            }
        }
    }
}
