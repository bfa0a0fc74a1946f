//! Scaling, stopping, starting and forgetting apps.

use std::sync::Arc;

use axum::extract::State as Held;
use axum::{Extension, Json};
use pando_api::v1::apps::{ScaleRequest, StopRequest};
use pando_api::{ErrorBody, ErrorCode};
use pando_model::desired::{AppDesired, Wish};
use pando_model::name::AppName;
use pando_plan::Input;

use super::extract::{Place, Sent};
use super::reply::{Answer, Refused};
use crate::deploy::unknown_app;
use crate::events::{self, Draft};
use crate::shared::Shared;
use crate::state::State;
use crate::store::{Expect, Key, Op, Outcome, Range, Txn};
use crate::tokens::Caller;

const TRIES: usize = 5;
const MAX_REPLICAS: u32 = 1000;

/// Sets counts of processes; null gives one back to the file.
#[utoipa::path(
    post, operation_id = "scale", path = "/v1/apps/{app}/scale", tag = "apps", params(("app" = AppName, Path)), request_body = ScaleRequest,
    responses(
        (status = 200, body = Wish), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 422, description = "The servers can't hold it.", body = ErrorBody)
    )
)]
pub(crate) async fn scale(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(app): Place<AppName>,
    Sent(request): Sent<ScaleRequest>,
) -> Answer<Wish> {
    if request.processes.is_empty() {
        return Err(Refused::new(ErrorCode::Invalid, "no process was named"));
    }
    if let Some((process, count)) = request.processes.iter().find(|(_, count)| **count > Some(MAX_REPLICAS)) {
        let text = format!("`{process}`={}; {MAX_REPLICAS} are the most", count.unwrap_or(0));
        return Err(Refused::new(ErrorCode::Invalid, text));
    }
    let text = format!("{} is wanted, says {}", counts(&request), caller.name);
    change(&shared, &app, text, |state, known| {
        let mut wish = known.wish.clone();
        for (process, count) in &request.processes {
            match count {
                Some(count) => drop(wish.scale.insert(process.clone(), *count)),
                None => drop(wish.scale.remove(process)),
            }
        }
        let observed = Arc::clone(&shared.observed.borrow());
        let input = Input { desired: &state.world, observed: &observed, now: shared.now(), seed: 0 };
        shared.admission.admit_scale(&input, &app, &wish.scale)?;
        Ok(wish)
    })
    .await
}

fn counts(request: &ScaleRequest) -> String {
    let words = request.processes.iter().map(|(process, count)| match count {
        Some(count) => format!("{process}={count}"),
        None => format!("{process} as in the file"),
    });
    words.collect::<Vec<_>>().join(", ")
}

/// Stops every replica and keeps everything else.
#[utoipa::path(
    post, operation_id = "stop", path = "/v1/apps/{app}/stop", tag = "apps", params(("app" = AppName, Path)), request_body = StopRequest,
    responses((status = 200, body = Wish), (status = 404, body = ErrorBody))
)]
pub(crate) async fn stop(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(app): Place<AppName>,
    Sent(request): Sent<StopRequest>,
) -> Answer<Wish> {
    let text = format!("it is to be stopped, says {}", caller.name);
    change(&shared, &app, text, |_, known| {
        Ok(Wish { stopped: true, remove: request.remove, ..known.wish.clone() })
    })
    .await
}

/// Starts what was stopped.
#[utoipa::path(
    post, operation_id = "start", path = "/v1/apps/{app}/start", tag = "apps", params(("app" = AppName, Path)),
    responses((status = 200, body = Wish), (status = 404, body = ErrorBody), (status = 409, body = ErrorBody))
)]
pub(crate) async fn start(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(app): Place<AppName>,
) -> Answer<Wish> {
    let text = format!("it is to be started, says {}", caller.name);
    change(&shared, &app, text, |_, known| {
        if known.assigned.committed.is_none() && known.deployments.is_empty() {
            let error = ErrorBody::new(ErrorCode::Conflict, format!("`{app}` has no release that could run"));
            return Err(error.hint("deploy it first").into());
        }
        Ok(Wish { stopped: false, remove: false, ..known.wish.clone() })
    })
    .await
}

/// Replaces the app's wish; the same wish again is no change and no event.
pub(super) async fn change(
    shared: &Shared,
    app: &AppName,
    text: String,
    wish: impl Fn(&State, &AppDesired) -> Result<Wish, Refused>,
) -> Answer<Wish> {
    let mut entropy = shared.entropy()?;
    for _ in 0..TRIES {
        let state = State::load(&*shared.store).await?;
        let known = state.app(app).ok_or_else(|| unknown_app(app))?;
        let wish = wish(&state, known)?;
        if wish == known.wish {
            return Ok(Json(wish));
        }
        let key = Key::AppSpec(app.clone());
        let event = events::put_ops([Draft::new(text.clone()).app(app)], shared.now(), &mut entropy)?;
        let txn = Txn::new().unchanged(&key, state.modified(&key)).put(&key, &wish)?.ops(event);
        if shared.store.txn(txn).await? != Outcome::Conflict {
            return Ok(Json(wish));
        }
    }
    Err(Refused::new(ErrorCode::Conflict, format!("`{app}` is being changed by many at once; try again")))
}

/// Forgets a stopped app: its releases, deployments and settings.
#[utoipa::path(
    delete, operation_id = "forget_app", path = "/v1/apps/{app}", tag = "apps", params(("app" = AppName, Path)),
    responses(
        (status = 204, description = "It is forgotten."), (status = 404, body = ErrorBody),
        (status = 409, description = "It runs, or is being deployed.", body = ErrorBody)
    )
)]
pub(crate) async fn forget(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(app): Place<AppName>,
) -> Result<http::StatusCode, Refused> {
    let mut entropy = shared.entropy()?;
    let state = State::load_app(&*shared.store, &app).await?;
    let known = state.app(&app).ok_or_else(|| unknown_app(&app))?;
    check_forgettable(&app, known)?;
    let (_, entries) = shared.store.list(Range::prefix(Key::app_prefix(&app))).await?;
    // Exactly what was read and judged: a deployment that came meanwhile has put the counter.
    let guarded = [Key::AppSpec(app.clone()), Key::AppCounter(app.clone()), Key::AppAssigned(app.clone())];
    let txn = guarded.iter().fold(Txn::new(), |txn, key| txn.unchanged(key, state.modified(key)));
    let txn = entries.iter().fold(txn, |txn, entry| {
        txn.guard(&entry.key, Expect::Modified(entry.modified)).op(Op::Delete { key: entry.key.clone() })
    });
    let text = format!("it was forgotten, with its releases, says {}", caller.name);
    let event = events::put_ops([Draft::new(text).app(&app)], shared.now(), &mut entropy)?;
    match shared.store.txn(txn.ops(event)).await? {
        Outcome::Committed(_) => Ok(http::StatusCode::NO_CONTENT),
        Outcome::Conflict => {
            Err(Refused::new(ErrorCode::Conflict, format!("`{app}` changed meanwhile; look again")))
        }
    }
}

fn check_forgettable(app: &AppName, known: &AppDesired) -> Result<(), Refused> {
    if let Some(deployment) = known.deployments.front() {
        let text = format!("a deployment of `{app}` ({}) is under way", deployment.release);
        return Err(ErrorBody::new(ErrorCode::Busy, text).hint("wait for it").into());
    }
    let never_ran = known.assigned.committed.is_none();
    if !known.assigned.instances.is_empty() || !(known.wish.stopped || never_ran) {
        let error = ErrorBody::new(ErrorCode::Harmful, format!("`{app}` is not stopped"));
        return Err(error.hint("`pando stop` first, and wait until its replicas have ended").into());
    }
    Ok(())
}
