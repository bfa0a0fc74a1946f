//! Credentials for registries of images. Passwords come in, and go out to agents that pull from there alone.

use std::sync::Arc;

use axum::extract::State as Held;
use axum::{Extension, Json};
use http::StatusCode;
use pando_api::v1::registries::{RegistryCredentials, RegistryInfo, RegistryList};
use pando_api::{ErrorBody, ErrorCode};
use pando_model::id::ServerId;
use pando_model::registry::RegistryHost;

use super::extract::{Place, Sent};
use super::reply::{Answer, Refused};
use crate::events::{self, Draft};
use crate::registries::{self, StoredRegistry};
use crate::shared::Shared;
use crate::store::{Key, Outcome, Txn};
use crate::tokens::Caller;

const TRIES: usize = 5;
const MAX_REGISTRIES: usize = 100;
const MAX_USERNAME: usize = 256;
/// Cloud providers' tokens are the longest, at a few KiB.
const MAX_PASSWORD: usize = 16 * 1024;

/// Every registry that the cluster has credentials for, without the passwords.
#[utoipa::path(get, operation_id = "list_registries", path = "/v1/registries", tag = "registries", responses((status = 200, body = RegistryList)))]
pub(crate) async fn list(Held(shared): Held<Arc<Shared>>) -> Answer<RegistryList> {
    Ok(Json(RegistryList { registries: registries::list(&*shared.store).await? }))
}

/// From now on servers are this user to the registry.
#[utoipa::path(
    put, operation_id = "set_registry", path = "/v1/registries/{registry}", tag = "registries", params(("registry" = RegistryHost, Path)),
    request_body = RegistryCredentials, responses((status = 200, body = RegistryInfo), (status = 400, body = ErrorBody))
)]
pub(crate) async fn set(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(host): Place<RegistryHost>,
    Sent(credentials): Sent<RegistryCredentials>,
) -> Answer<RegistryInfo> {
    check(&credentials)?;
    let key = Key::Registry(host.clone());
    let RegistryCredentials { username, password } = credentials;
    let text = format!("the cluster is `{username}` to the registry {host} now, says {}", caller.name);
    let (vault, added) = (shared.trust.vault(), (shared.now(), caller.name));
    let sealed = StoredRegistry::seal(&host, username, &password, added, vault);
    let sealed = sealed.map_err(|error| Refused::new(ErrorCode::Internal, error.to_string()))?;
    for _ in 0..TRIES {
        let held = registries::list(&*shared.store).await?;
        if held.len() >= MAX_REGISTRIES && held.iter().all(|one| one.host != host) {
            let text = format!("there are credentials for {MAX_REGISTRIES} registries already; remove some");
            return Err(Refused::new(ErrorCode::Conflict, text));
        }
        let modified = registries::stored(&*shared.store, &host).await?.map(|(modified, _)| modified);
        let event = events::put_ops([Draft::new(text.clone())], shared.now(), &mut shared.entropy()?)?;
        let txn = Txn::new().unchanged(&key, modified).put(&key, &sealed)?.ops(event);
        if matches!(shared.store.txn(txn).await?, Outcome::Committed(_)) {
            return Ok(Json(sealed.info(host)));
        }
    }
    Err(busy())
}

fn check(credentials: &RegistryCredentials) -> Result<(), Refused> {
    let RegistryCredentials { username, password } = credentials;
    let wrong = |text: String| Err(Refused::new(ErrorCode::Invalid, text));
    // A colon ends the name where it is sent.
    if username.is_empty()
        || username.len() > MAX_USERNAME
        || username.contains(|c: char| c == ':' || c.is_control())
    {
        return wrong(format!("a registry's user has 1 to {MAX_USERNAME} characters, and no colon"));
    }
    if password.0.is_empty() || password.0.len() > MAX_PASSWORD {
        return wrong(format!("a registry's password has 1 to {MAX_PASSWORD} bytes"));
    }
    Ok(())
}

/// Forgets the credentials for a registry: images are pulled from there as by anybody.
#[utoipa::path(
    delete, operation_id = "remove_registry", path = "/v1/registries/{registry}", tag = "registries", params(("registry" = RegistryHost, Path)),
    responses((status = 204, description = "They are forgotten."), (status = 404, body = ErrorBody))
)]
pub(crate) async fn remove(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(host): Place<RegistryHost>,
) -> Result<StatusCode, Refused> {
    let key = Key::Registry(host.clone());
    for _ in 0..TRIES {
        let Some((modified, _)) = registries::stored(&*shared.store, &host).await? else {
            return Err(unknown(&host).into());
        };
        let text = format!("the credentials for the registry {host} were removed, says {}", caller.name);
        let event = events::put_ops([Draft::new(text)], shared.now(), &mut shared.entropy()?)?;
        let txn = Txn::new().unchanged(&key, Some(modified)).delete(&key).ops(event);
        if matches!(shared.store.txn(txn).await?, Outcome::Committed(_)) {
            return Ok(StatusCode::NO_CONTENT);
        }
    }
    Err(busy())
}

/// Who a server is to a registry that it is to pull from.
#[utoipa::path(
    get, operation_id = "agent_registry", path = "/v1/agents/{server}/registries/{registry}", tag = "agents",
    params(("server" = ServerId, Path), ("registry" = RegistryHost, Path)),
    responses(
        (status = 200, body = RegistryCredentials),
        (status = 404, description = "There are none, or nothing that the server is to have is there.", body = ErrorBody)
    )
)]
pub(crate) async fn reveal(
    Held(shared): Held<Arc<Shared>>,
    Place((server, host)): Place<(ServerId, RegistryHost)>,
) -> Answer<RegistryCredentials> {
    let pulls = shared
        .published
        .borrow()
        .assignments
        .get(&server)
        .is_some_and(|it| registries::pulls_from(&it.value, &host));
    let stored = if pulls { registries::stored(&*shared.store, &host).await? } else { None };
    let (_, stored) = stored.ok_or_else(|| unknown(&host))?;
    let password = stored.open(&host, shared.trust.vault());
    let password = password.map_err(|error| Refused::new(ErrorCode::Internal, error.to_string()))?;
    Ok(Json(RegistryCredentials { username: stored.username, password }))
}

fn unknown(host: &RegistryHost) -> ErrorBody {
    let error =
        ErrorBody::new(ErrorCode::NotFound, format!("there are no credentials for the registry {host}"));
    error.hint("`pando registry ls` shows those that there are")
}

fn busy() -> Refused {
    Refused::new(ErrorCode::Conflict, "the registries are being changed by many at once; try again")
}
