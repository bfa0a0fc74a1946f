//! Recording deployments, and following them.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State as Held;
use axum::{Extension, Json};
use pando_api::v1::deployments::{
    Accepted, DeployRequest, DeployResponse, DeploymentList, DeploymentQuery, DeploymentView, DryRun,
};
use pando_api::{ErrorBody, ErrorCode};
use pando_model::app::RunSource;
use pando_model::id::DeploymentId;
use pando_model::name::AppName;
use pando_plan::Input;

use super::directories;
use super::extract::{Asked, Place, Sent};
use super::meta::with_view;
use super::poll;
use super::reply::{Answer, Refused};
use crate::artifacts::{Artifacts, Kind};
use crate::deploy::{self, Proposed, propose, unknown_app};
use crate::events::{self, Wanted};
use crate::shared::Shared;
use crate::state::State;
use crate::store::{Key, Outcome, Range, keys};
use crate::tokens::Caller;

/// How often a change by somebody else in between is taken up before it is said.
const TRIES: usize = 5;

/// How many lines of progress are told.
const PROGRESS: usize = 1000;

/// Two views in a row are at least so far apart: reports come every 20 ms.
const BREATH: Duration = Duration::from_millis(20);

/// Deploys a release, goes back to one, or restarts.
///
/// Answers once it is recorded; the deployment goes on whoever stays to watch.
#[utoipa::path(
    post, operation_id = "deploy", path = "/v1/apps/{app}/deployments", tag = "deployments", params(("app" = AppName, Path)),
    request_body = DeployRequest,
    responses(
        (status = 200, body = DeployResponse), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody),
        (status = 403, description = "A volume is a directory of the servers that no administrator has let the app have.", body = ErrorBody),
        (status = 409, description = "Another is under way, or the app's state does not allow it.", body = ErrorBody),
        (status = 422, description = "The servers can't hold it.", body = ErrorBody)
    )
)]
pub(crate) async fn create(
    Held(shared): Held<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Place(app): Place<AppName>,
    Sent(request): Sent<DeployRequest>,
) -> Answer<DeployResponse> {
    let mut entropy = shared.entropy()?;
    let id = DeploymentId::new(shared.now(), &mut entropy);
    for _ in 0..TRIES {
        let asked = deploy::Asked { by: &caller.name, at: shared.now(), id };
        let state = State::load(&*shared.store).await?;
        let proposed = propose(&state, &app, &request, asked)?;
        directories::check(&caller, state.app(&app), &proposed.proposal.release.spec)?;
        if let Some(dry_run) = judge(&shared, &state, &proposed, request.dry_run)? {
            return Ok(Json(DeployResponse::DryRun(dry_run)));
        }
        check_artifact(&shared, &proposed).await?;
        let outcome = shared.store.txn(proposed.txn(&state, &mut entropy)?).await?;
        if outcome != Outcome::Conflict {
            return Ok(Json(DeployResponse::Accepted(accepted(proposed))));
        }
    }
    Err(Refused::new(ErrorCode::Conflict, format!("`{app}` is being changed by many at once; try again")))
}

/// Asks the planner whether it fits; and, for a dry run, what it would do.
fn judge(shared: &Shared, state: &State, proposed: &Proposed, dry: bool) -> Result<Option<DryRun>, Refused> {
    let observed = Arc::clone(&shared.observed.borrow());
    let input = Input { desired: &state.world, observed: &observed, now: shared.now(), seed: 0 };
    let proposal = &proposed.proposal;
    shared.admission.admit(&input, &proposal.release.spec)?;
    Ok(dry
        .then(|| DryRun { release: proposal.release.number, plan: shared.dry_run.dry_run(&input, proposal) }))
}

/// What a release is made from must be here, and be what it runs.
async fn check_artifact(shared: &Shared, proposed: &Proposed) -> Result<(), Refused> {
    let release = &proposed.proposal.release;
    let Some(digest) = &release.artifact else { return Ok(()) };
    let wanted = match release.spec.run {
        RunSource::Directory { .. } => Kind::Packed,
        RunSource::Image { .. } => Kind::Image,
    };
    let text = match Artifacts::new(&shared.settings.artifact_dir).touch(digest).await {
        Some((kind, _)) if kind == wanted => return Ok(()),
        Some((kind, _)) => format!("the artifact {digest} is {kind}, and the release needs {wanted}"),
        None => format!("{wanted}, {digest}, is not on the control server"),
    };
    Err(ErrorBody::new(ErrorCode::Conflict, text).hint("send it first, then deploy").into())
}

fn accepted(proposed: Proposed) -> Accepted {
    Accepted {
        deployment: proposed.proposal.deployment.id,
        release: proposed.proposal.release.number,
        queued_behind: proposed.queued_behind,
    }
}

/// The app's kept deployments, newest first.
#[utoipa::path(
    get, operation_id = "list_deployments", path = "/v1/apps/{app}/deployments", tag = "deployments", params(("app" = AppName, Path)),
    responses((status = 200, body = DeploymentList), (status = 404, body = ErrorBody))
)]
pub(crate) async fn list(
    Held(shared): Held<Arc<Shared>>,
    Place(app): Place<AppName>,
) -> Answer<DeploymentList> {
    let state = State::load_app(&*shared.store, &app).await?;
    if state.app(&app).is_none() {
        return Err(unknown_app(&app).into());
    }
    let deployments = state.deployments(&app).into_iter().cloned().collect();
    Ok(Json(DeploymentList { deployments }))
}

/// One deployment: where it is, what was done, what it waits for.
///
/// With `after` and `wait_millis` a long poll, answered as soon as there is something else to see.
#[utoipa::path(
    get, operation_id = "deployment", path = "/v1/apps/{app}/deployments/{deployment}", tag = "deployments",
    params(("app" = AppName, Path), ("deployment" = DeploymentId, Path), DeploymentQuery),
    responses((status = 200, body = DeploymentView), (status = 404, body = ErrorBody))
)]
pub(crate) async fn show(
    Held(shared): Held<Arc<Shared>>,
    Place((app, id)): Place<(AppName, DeploymentId)>,
    Asked(query): Asked<DeploymentQuery>,
) -> Answer<DeploymentView> {
    let until = poll::until(query.wait_millis);
    let mut observed = shared.observed.subscribe();
    let mut report = shared.report.subscribe();
    loop {
        observed.mark_unchanged();
        report.mark_unchanged();
        let (view, revision) = view(&shared, &app, id).await?;
        if Some(view.cursor) != query.after {
            return Ok(Json(view));
        }
        let (mut of_app, mut of_log) = (
            shared.store.watch(&Key::app_prefix(&app), revision),
            shared.store.watch(keys::EVENTS, revision),
        );
        let change = async {
            // Each arm only wakes; the view is made anew from all sources then.
            tokio::select! {
                change = of_app.changed() => change.is_some(),
                change = of_log.changed() => change.is_some(),
                change = observed.changed() => change.is_ok(),
                change = report.changed() => change.is_ok(),
            }
        };
        if !poll::or_end(&shared, until, change).await {
            return Ok(Json(view));
        }
        tokio::time::sleep(BREATH).await;
    }
}

async fn view(shared: &Shared, app: &AppName, id: DeploymentId) -> Result<(DeploymentView, u64), Refused> {
    let unknown = || {
        let text = format!("`{app}` has no deployment {id}, or it is not kept any more");
        Refused::new(ErrorCode::NotFound, text)
    };
    let recorded = shared.store.get(&Key::AppDeployment(app.clone(), id)).await?;
    let before = recorded.ok_or_else(unknown)?.created - 1;
    // The state and the events of one revision: an event is never seen without what it tells of.
    let log = Range::prefix(keys::EVENTS).after(before);
    let (state, log) = State::load_app_and(&*shared.store, app, log).await?;
    let all = state.deployments(app);
    let deployment = all.into_iter().find(|deployment| deployment.id == id).cloned().ok_or_else(unknown)?;
    let wanted = Wanted { deployment: Some(id), after: Some(before), limit: usize::MAX, ..Wanted::default() };
    let mut progress = events::page(log, &wanted, state.revision)?.events;
    let surplus = progress.len().saturating_sub(PROGRESS);
    progress.drain(..surplus);
    let open = state.app(app).map(|app| &app.deployments);
    let before = open.into_iter().flatten().map(|open| open.id).take_while(|open| *open != id);
    let queued_behind = if deployment.phase.has_ended() { Vec::new() } else { before.collect() };
    with_view(shared, &state, |view| {
        let waiting_on = if deployment.phase.has_ended() { Vec::new() } else { view.waiting_on(app) };
        let replicas = view.replicas(app);
        let mut view =
            DeploymentView { cursor: 0, deployment, queued_behind, progress, waiting_on, replicas };
        view.cursor = cursor(&view);
        Ok((view, state.revision))
    })
}

/// A fingerprint of what a person would see change. It needs no memory of what was told to whom, so a poll goes on across a
/// restart of the control plane.
fn cursor(view: &DeploymentView) -> u64 {
    let mut steady = view.clone();
    for replica in &mut steady.replicas {
        // These move all the time; they are told with the next change.
        (replica.ready_for, replica.in_flight) = (None, 0);
    }
    let mut hasher = DefaultHasher::new();
    // What can't be written can't be told apart either, and is never so for these types.
    serde_json::to_vec(&steady).unwrap_or_default().hash(&mut hasher);
    // JavaScript's numbers hold 53 bits.
    hasher.finish() >> 11
}
