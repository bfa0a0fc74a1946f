//! Servers as they are, and what people want of them.

use std::sync::Arc;

use axum::extract::State as Held;
use axum::{Extension, Json};
use pando_api::v1::servers::{
    DrainRequest, LabelsRequest, Removal, RemoveQuery, RolesRequest, ServerDetail, ServerList,
};
use pando_api::{ErrorBody, ErrorCode};
use pando_model::name::ServerName;
use pando_model::server::{Server, Standing};
use pando_plan::{Input, Liveness};

use super::extract::{Asked, Place, Sent};
use super::meta::with_view;
use super::reply::{Answer, Refused};
use crate::events::{self, Draft};
use crate::servers::{self, check_labels, labels_after, roles_after};
use crate::shared::Shared;
use crate::state::State;
use crate::store::{Key, Outcome, Txn};
use crate::tokens::Caller;

const TRIES: usize = 5;

/// Every server, by name.
#[utoipa::path(get, operation_id = "list_servers", path = "/v1/servers", tag = "servers", responses((status = 200, body = ServerList)))]
pub(crate) async fn list(Held(shared): Held<Arc<Shared>>) -> Answer<ServerList> {
    let state = State::load(&*shared.store).await?;
    with_view(&shared, &state, |view| Ok(Json(ServerList { servers: view.servers() })))
}

/// One server: what it is for, what it has, what runs there and what it waits for.
#[utoipa::path(
    get, operation_id = "server", path = "/v1/servers/{server}", tag = "servers", params(("server" = ServerName, Path)),
    responses((status = 200, body = ServerDetail), (status = 404, body = ErrorBody))
)]
pub(crate) async fn show(
    Held(shared): Held<Arc<Shared>>,
    Place(name): Place<ServerName>,
) -> Answer<ServerDetail> {
    detail(&shared, &State::load(&*shared.store).await?, &name)
}

/// Gives a server roles and takes others. What runs where follows by itself.
#[utoipa::path(
    post, operation_id = "set_roles", path = "/v1/servers/{server}/roles", tag = "servers", params(("server" = ServerName, Path)), request_body = RolesRequest,
    responses(
        (status = 200, body = ServerDetail), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, description = "Something would have nowhere to run.", body = ErrorBody)
    )
)]
pub(crate) async fn roles(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(name): Place<ServerName>,
    Sent(request): Sent<RolesRequest>,
) -> Answer<ServerDetail> {
    let text = servers::roles_words(&request);
    change(&shared, &caller, &name, &text, |input, server| {
        server.roles = roles_after(server, &request)?;
        let admission = &shared.admission;
        unless_forced(request.force, || admission.admit_roles(input, server.id, &server.roles))
    })
    .await
}

/// Gives a server labels and takes others.
#[utoipa::path(
    post, operation_id = "set_labels", path = "/v1/servers/{server}/labels", tag = "servers", params(("server" = ServerName, Path)), request_body = LabelsRequest,
    responses(
        (status = 200, body = ServerDetail), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 409, description = "Something would have nowhere to run.", body = ErrorBody)
    )
)]
pub(crate) async fn labels(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(name): Place<ServerName>,
    Sent(request): Sent<LabelsRequest>,
) -> Answer<ServerDetail> {
    check_labels(&request)?;
    let text = servers::labels_words(&request);
    change(&shared, &caller, &name, &text, |input, server| {
        server.labels = labels_after(server, &request)?;
        let admission = &shared.admission;
        unless_forced(request.force, || admission.admit_labels(input, server.id, &server.labels))
    })
    .await
}

/// Empties a server: what runs there moves to others first. It stays in the cluster.
#[utoipa::path(
    post, operation_id = "drain_server", path = "/v1/servers/{server}/drain", tag = "servers", params(("server" = ServerName, Path)), request_body = DrainRequest,
    responses(
        (status = 200, body = ServerDetail), (status = 404, body = ErrorBody),
        (status = 409, description = "Something would have nowhere to run, or it is leaving.", body = ErrorBody)
    )
)]
pub(crate) async fn drain(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(name): Place<ServerName>,
    Sent(request): Sent<DrainRequest>,
) -> Answer<ServerDetail> {
    change(&shared, &caller, &name, "it is to be emptied", |input, server| {
        match server.standing {
            Standing::Draining => return Ok(()),
            Standing::Leaving => return Err(leaving(server)),
            Standing::Active => server.standing = Standing::Draining,
        }
        unless_forced(request.force, || shared.admission.admit_drain(input, server.id))
    })
    .await
}

fn leaving(server: &Server) -> Refused {
    let error = ErrorBody::new(ErrorCode::Conflict, format!("{} is leaving the cluster", server.name));
    error.hint("`pando server undrain` lets it stay").into()
}

/// Lets a server take work again that was to be emptied or to leave.
#[utoipa::path(
    post, operation_id = "undrain_server", path = "/v1/servers/{server}/undrain", tag = "servers", params(("server" = ServerName, Path)),
    responses((status = 200, body = ServerDetail), (status = 404, body = ErrorBody))
)]
pub(crate) async fn undrain(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(name): Place<ServerName>,
) -> Answer<ServerDetail> {
    change(&shared, &caller, &name, "it takes work again", |_, server| {
        server.standing = Standing::Active;
        Ok(())
    })
    .await
}

/// Empties a server, and forgets it then. With `force`, one that is lost is forgotten at once, and has no voice from then on.
#[utoipa::path(
    delete, operation_id = "remove_server", path = "/v1/servers/{server}", tag = "servers",
    params(("server" = ServerName, Path), RemoveQuery),
    responses(
        (status = 200, body = Removal), (status = 404, body = ErrorBody),
        (status = 409, description = "Something would have nowhere to run, or it runs the control plane.", body = ErrorBody)
    )
)]
pub(crate) async fn remove(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(name): Place<ServerName>,
    Asked(query): Asked<RemoveQuery>,
) -> Answer<Removal> {
    if query.force && forget_lost(&shared, &caller, &name).await? {
        return Ok(Json(Removal { forgotten: true }));
    }
    let Json(_) = change(&shared, &caller, &name, "it is to leave the cluster", |input, server| {
        servers::check_removable(server)?;
        server.standing = Standing::Leaving;
        unless_forced(query.force, || shared.admission.admit_remove(input, server.id))
    })
    .await?;
    Ok(Json(Removal { forgotten: false }))
}

/// False: the server is not lost, so that it can be emptied.
async fn forget_lost(shared: &Shared, caller: &Caller, name: &ServerName) -> Result<bool, Refused> {
    let state = State::load(&*shared.store).await?;
    let server = servers::find(&state.world, name)?;
    let observed = Arc::clone(&shared.observed.borrow());
    let input = Input { desired: &state.world, observed: &observed, now: shared.now(), seed: 0 };
    if input.liveness(server.id) != Liveness::Lost {
        return Ok(false);
    }
    servers::check_removable(server)?;
    match servers::forget(shared, &state, server, &caller.name).await? {
        Outcome::Committed(_) => Ok(true),
        Outcome::Conflict => {
            Err(Refused::new(ErrorCode::Conflict, format!("`{name}` changed meanwhile; look again")))
        }
    }
}

fn unless_forced(force: bool, admit: impl FnOnce() -> Result<(), ErrorBody>) -> Result<(), Refused> {
    if force { Ok(()) } else { admit().map_err(Refused::from) }
}

/// Changes what is wanted of a server; what is so already is no change and no event.
async fn change(
    shared: &Shared,
    caller: &Caller,
    name: &ServerName,
    text: &str,
    change: impl Fn(&Input<'_>, &mut Server) -> Result<(), Refused>,
) -> Answer<ServerDetail> {
    let mut entropy = shared.entropy()?;
    for _ in 0..TRIES {
        let mut state = State::load(&*shared.store).await?;
        let before = servers::find(&state.world, name)?.clone();
        let mut after = before.clone();
        let observed = Arc::clone(&shared.observed.borrow());
        let input = Input { desired: &state.world, observed: &observed, now: shared.now(), seed: 0 };
        change(&input, &mut after)?;
        if after == before {
            return detail(shared, &state, name);
        }
        let key = Key::ServerSpec(after.id);
        let draft = Draft::new(format!("{name}: {text}, says {}", caller.name));
        let event = events::put_ops([draft], shared.now(), &mut entropy)?;
        let txn = Txn::new().unchanged(&key, state.modified(&key)).put(&key, &after)?.ops(event);
        if shared.store.txn(txn).await? != Outcome::Conflict {
            state.world.servers.insert(after.id, after);
            return detail(shared, &state, name);
        }
    }
    Err(Refused::new(ErrorCode::Conflict, format!("`{name}` is being changed by many at once; try again")))
}

fn detail(shared: &Shared, state: &State, name: &ServerName) -> Answer<ServerDetail> {
    let server = servers::find(&state.world, name)?;
    with_view(shared, state, |view| Ok(Json(view.server_detail(server))))
}
