//! From a request to a recorded deployment: pure, so that every refusal can be tested without a server.
//!
//! Whether the cluster can hold it is the planner's to judge; see [`crate::admission`].

mod check;

use pando_api::v1::deployments::{DeployAction, DeployRequest, IfBusy};
use pando_api::{ErrorBody, ErrorCode};
use pando_model::desired::{AppDesired, Deployment, DeploymentKind, DeploymentPhase, Wish};
use pando_model::id::{DeploymentId, Entropy};
use pando_model::name::AppName;
use pando_model::release::{Release, ReleaseNumber};
use pando_model::time::Timestamp;

use crate::admission::Proposal;
use crate::events::{self, Draft};
use crate::state::State;
use crate::store::{Expect, Key, StoreError, Txn};

/// How many deployments of one app may be under way or waiting.
pub const QUEUE: usize = 8;

/// Who asks, and when; and the id that the deployment would have.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub by: &'a str,
    pub at: Timestamp,
    pub id: DeploymentId,
}

/// A deployment that may be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposed {
    pub proposal: Proposal,
    /// The release is new, and recorded with it.
    pub is_new: bool,
    /// The app's wish afterwards.
    pub wish: Wish,
    /// The deployments that come before it, the one under way first.
    pub queued_behind: Vec<DeploymentId>,
    pub event: Draft,
}

/// What the request comes to, in the state that was read.
///
/// # Errors
/// Why it is refused.
pub fn propose(
    state: &State,
    app: &AppName,
    request: &DeployRequest,
    asked: Asked<'_>,
) -> Result<Proposed, ErrorBody> {
    check::request(app, request)?;
    let known = state.app(app);
    let queued_behind = queue(known, request, app)?;
    let (kind, release, is_new) = match &request.action {
        DeployAction::Deploy { spec, artifact } => {
            let number = ReleaseNumber(state.counters.get(app).copied().unwrap_or(0) + 1);
            let release = Release {
                number,
                spec: (**spec).clone(),
                artifact: artifact.clone(),
                created_at: asked.at,
                created_by: asked.by.to_owned(),
            };
            (DeploymentKind::Deploy, release, true)
        }
        DeployAction::Rollback { release } => {
            let known = known.ok_or_else(|| unknown_app(app))?;
            (DeploymentKind::Rollback, earlier(state, app, known, *release)?.clone(), false)
        }
        DeployAction::Restart => {
            let known = known.ok_or_else(|| unknown_app(app))?;
            (DeploymentKind::Restart, running(app, known)?.clone(), false)
        }
    };
    let wish = known.map(|app| app.wish.clone()).unwrap_or_default();
    let event = event(app, kind, &release, request, asked);
    let deployment = Deployment {
        id: asked.id,
        app: app.clone(),
        kind,
        release: release.number,
        created_at: asked.at,
        created_by: asked.by.to_owned(),
        phase: DeploymentPhase::Queued,
        started_at: None,
        ended_at: None,
    };
    Ok(Proposed {
        proposal: Proposal { deployment, release },
        is_new,
        wish: Wish { stopped: false, remove: false, ..wish },
        queued_behind,
        event,
    })
}

impl Proposed {
    /// The transaction that records it, if nothing of the app's changed meanwhile.
    ///
    /// # Errors
    /// Never for values as they are.
    pub fn txn(&self, state: &State, entropy: &mut Entropy) -> Result<Txn, StoreError> {
        let Proposal { deployment, release } = &self.proposal;
        let app = &deployment.app;
        let (counter, spec) = (Key::AppCounter(app.clone()), Key::AppSpec(app.clone()));
        let newest = state.counters.get(app).copied().unwrap_or(0);
        let newest = if self.is_new { release.number.0 } else { newest };
        let event = events::put_ops([self.event.clone()], deployment.created_at, entropy)?;
        // The counter is put by every deployment, so that two that saw the same state can't both be recorded.
        let mut txn = Txn::new()
            .unchanged(&counter, state.modified(&counter))
            .unchanged(&spec, state.modified(&spec))
            .put(&counter, &newest)?
            .put(&spec, &self.wish)?
            .put(Key::AppDeployment(app.clone(), deployment.id), deployment)?
            .ops(event);
        if self.is_new {
            let key = Key::AppRelease(app.clone(), release.number);
            txn = txn.guard(&key, Expect::Absent).put(&key, release)?;
        }
        Ok(txn)
    }
}

#[must_use]
pub fn unknown_app(app: &AppName) -> ErrorBody {
    ErrorBody::new(ErrorCode::NotFound, format!("there is no app `{app}` here"))
        .hint("`pando deploy` makes one; `pando status` lists them")
}

fn queue(
    known: Option<&AppDesired>,
    request: &DeployRequest,
    app: &AppName,
) -> Result<Vec<DeploymentId>, ErrorBody> {
    let open = known.map(|app| &app.deployments);
    let Some(first) = open.and_then(|open| open.front()) else { return Ok(Vec::new()) };
    let under_way = format!("a deployment of `{app}` ({}) is under way", first.release);
    let refusal = match (&request.action, request.if_busy) {
        (_, IfBusy::Refuse) => Some("wait for it, or deploy without refusing to wait"),
        (DeployAction::Restart, _) => Some("it replaces every replica; restart when it has ended"),
        // Which release is `the one before` is only known when it has ended.
        (DeployAction::Rollback { release: None }, _) => Some("name the release to go back to"),
        _ => None,
    };
    if let Some(hint) = refusal {
        return Err(ErrorBody::new(ErrorCode::Busy, under_way).hint(hint));
    }
    let ids: Vec<DeploymentId> = open.into_iter().flatten().map(|deployment| deployment.id).collect();
    if ids.len() >= QUEUE {
        let text = format!("{under_way} and {} more wait for it", ids.len() - 1);
        return Err(ErrorBody::new(ErrorCode::Busy, text).hint("wait until some have ended"));
    }
    Ok(ids)
}

fn release_of<'a>(
    app: &AppName,
    known: &'a AppDesired,
    number: ReleaseNumber,
) -> Result<&'a Release, ErrorBody> {
    known.releases.get(&number).ok_or_else(|| {
        let kept: Vec<String> = known.releases.keys().map(ToString::to_string).collect();
        let error =
            ErrorBody::new(ErrorCode::NotFound, format!("`{app}` has no release {number} any more, or yet"));
        error.hint(format!("kept are {}", kept.join(", ")))
    })
}

fn running<'a>(app: &AppName, known: &'a AppDesired) -> Result<&'a Release, ErrorBody> {
    if known.wish.stopped {
        let text = format!("`{app}` is stopped");
        return Err(ErrorBody::new(ErrorCode::Conflict, text).hint("`pando start` starts it"));
    }
    let Some(target) = known.assigned.committed else {
        let text = format!("`{app}` runs no release yet");
        return Err(ErrorBody::new(ErrorCode::Conflict, text).hint("deploy it first"));
    };
    release_of(app, known, target.release)
}

/// The one that was named; or the last that ran before the current one; or, when no kept deployment tells, the newest before it.
fn earlier<'a>(
    state: &State,
    app: &AppName,
    known: &'a AppDesired,
    wanted: Option<ReleaseNumber>,
) -> Result<&'a Release, ErrorBody> {
    if let Some(number) = wanted {
        return release_of(app, known, number);
    }
    let current = known.assigned.committed.map(|target| target.release);
    let ran = state.deployments(app).into_iter().filter(|deployment| {
        matches!(deployment.phase, DeploymentPhase::Done { .. })
            && Some(deployment.release) != current
            && known.releases.contains_key(&deployment.release)
    });
    let before = known.releases.keys().rev().copied().find(|number| Some(*number) < current);
    let number = ran.map(|deployment| deployment.release).next().or(before);
    let number = number.ok_or_else(|| {
        ErrorBody::new(ErrorCode::Conflict, format!("`{app}` has no release to go back to"))
            .hint("`pando releases` lists what is kept")
    })?;
    release_of(app, known, number)
}

fn event(
    app: &AppName,
    kind: DeploymentKind,
    release: &Release,
    request: &DeployRequest,
    asked: Asked<'_>,
) -> Draft {
    let number = release.number;
    let what = match kind {
        DeploymentKind::Deploy => format!("{number} is to be deployed"),
        DeploymentKind::Rollback => format!("going back to {number} is wanted"),
        DeploymentKind::Restart => format!("{number} is to be restarted"),
    };
    let note = request.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
    Draft::new(format!("{what}, says {}{note}", asked.by)).app(app).deployment(asked.id)
}

#[cfg(test)]
mod tests;
