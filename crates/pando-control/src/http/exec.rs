//! Commands beside replicas and in releases, relayed to the right agent.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State as Held};
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt, StreamExt};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, StatusCode};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use pando_api::client::ExecStream;
use pando_api::stream::{self, Channel, ExecEnd, Frame, FrameError, Frames};
use pando_api::v1::agents::ExecLike;
use pando_api::v1::exec::ExecStart;
use pando_api::{ErrorBody, ErrorCode};
use pando_model::app::AppSpec;
use pando_model::desired::{AppDesired, Instance, Phase};
use pando_model::id::InstanceId;
use pando_model::name::{AppName, ReplicaName};
use pando_model::observed::{Observed, ReleaseState};
use pando_model::release::ReleaseNumber;
use pando_model::server::Server;
use pando_model::time::Timestamp;
use pando_plan::Input;
use pando_rt::error_chain::error_chain;
use tokio_util::codec::Framed;

use super::extract::Place;
use super::reply::Refused;
use crate::deploy::unknown_app;
use crate::shared::Shared;
use crate::state::State;

/// From the upgrade to the first frame.
const START_WITHIN: Duration = Duration::from_secs(10);

/// What shells use for a command that could not be started.
const NOT_STARTED: i32 = 126;

/// Runs a command beside a replica, or a one-off in a release. Upgrades to `pando-exec`.
#[utoipa::path(
    post, operation_id = "exec", path = "/v1/apps/{app}/exec", tag = "apps",
    params(("app" = AppName, Path), ("Upgrade" = String, Header, description = "`pando-exec`")),
    responses((status = 101, description = "Frames follow."), (status = 400, body = ErrorBody))
)]
pub(crate) async fn open(
    Held(shared): Held<Arc<Shared>>,
    Place(app): Place<AppName>,
    mut request: Request,
) -> Result<Response, Refused> {
    let wants = request.headers().get(UPGRADE).is_some_and(|value| value == stream::UPGRADE);
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().filter(|_| wants);
    let Some(upgrade) = upgrade else {
        let text = format!("this needs `Connection: upgrade` and `Upgrade: {}`", stream::UPGRADE);
        return Err(Refused::new(ErrorCode::Invalid, text));
    };
    let tasks = shared.tasks.clone();
    tasks.spawn_until_shutdown(async move {
        if let Err(error) = serve(&shared, &app, upgrade).await {
            tracing::debug!("an exec of {app} ended early: {error}");
        }
    });
    let headers = [
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static(stream::UPGRADE)),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

type Caller = Framed<TokioIo<Upgraded>, Frames>;

async fn serve(shared: &Shared, app: &AppName, upgrade: OnUpgrade) -> Result<(), FrameError> {
    let upgraded = upgrade.await.map_err(std::io::Error::other)?;
    let mut caller: Caller = Framed::new(TokioIo::new(upgraded), Frames);
    let connected = async {
        let start = first(&mut caller, app).await?;
        connect(shared, app, start).await
    };
    match connected.await {
        Ok(agent) => relay(caller, agent).await,
        Err(refused) => {
            let body = refused.body();
            let hint = body.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
            let end = ExecEnd { code: NOT_STARTED, error: Some(format!("{}{hint}", body.message)) };
            let payload = serde_json::to_vec(&end).unwrap_or_default().into();
            caller.send(Frame { channel: Channel::End, payload }).await?;
            caller.close().await
        }
    }
}

async fn first(caller: &mut Caller, app: &AppName) -> Result<ExecStart, Refused> {
    let invalid = |text: String| Refused::new(ErrorCode::Invalid, text);
    let frame = tokio::time::timeout(START_WITHIN, caller.next()).await;
    let frame = frame.map_err(|_| invalid("nothing was said about what to run".to_owned()))?;
    let frame = match frame {
        Some(Ok(frame)) if frame.channel == Channel::Start => frame,
        Some(Ok(frame)) => return Err(invalid(format!("the first frame is {:?}, not Start", frame.channel))),
        Some(Err(error)) => return Err(invalid(error.to_string())),
        None => return Err(invalid("the connection ended before it said what to run".to_owned())),
    };
    let start: ExecStart = serde_json::from_slice(&frame.payload)
        .map_err(|error| invalid(format!("the first frame is wrong: {error}")))?;
    // The gate has looked at the path alone.
    if start.app != *app {
        return Err(Refused::new(
            ErrorCode::Forbidden,
            format!("this is about `{app}`, not `{}`", start.app),
        ));
    }
    Ok(start)
}

async fn connect(shared: &Shared, app: &AppName, start: ExecStart) -> Result<ExecStream, Refused> {
    let state = State::load_app(&*shared.store, app).await?;
    let observed = Arc::clone(&shared.observed.borrow());
    let (server, start) = target(&state, &observed, shared.now(), start)?;
    let unable = |error: &dyn std::error::Error, code: Option<ErrorCode>| {
        let text = format!("{} can't do it: {}", server.name, error_chain(error));
        let hint = format!("`pando server show {}` tells how it is", server.name);
        ErrorBody::new(code.unwrap_or(ErrorCode::Unavailable), text).hint(hint).into()
    };
    let client = shared.agent(server).map_err(|error| unable(&error, None))?;
    client.exec(&start).await.map_err(|error| unable(&error, error.code()))
}

/// Frames go both ways until the agent's side has ended, or the caller is gone.
async fn relay(caller: Caller, agent: ExecStream) -> Result<(), FrameError> {
    let (mut to_caller, from_caller) = caller.split();
    let (mut to_agent, from_agent) = agent.split();
    let inward = async {
        let sent = from_caller.forward(&mut to_agent).await;
        // The caller is gone without a word: the agent is told by the end of the connection.
        sent.and(to_agent.close().await)
    };
    let outward = async {
        let ended = from_agent.forward(&mut to_caller).await;
        // An agent that died may have said its last word before: what has come is handed on, whatever came after it.
        to_caller.close().await.and(ended)
    };
    tokio::select! {
        // Whichever ends first ends both; the halves of the connections are dropped with this call.
        ended = outward => ended,
        ended = inward => ended,
    }
}

/// Where to run it, and what the agent is told.
fn target<'a>(
    state: &'a State,
    observed: &Observed,
    now: Timestamp,
    start: ExecStart,
) -> Result<(&'a Server, ExecStart), Refused> {
    let app = state.app(&start.app).ok_or_else(|| unknown_app(&start.app))?;
    match start.replica.clone() {
        Some(replica) => Ok((beside(state, app, &replica)?, ExecStart { like: None, ..start })),
        None => one_off(state, observed, now, app, start),
    }
}

fn beside<'a>(state: &'a State, app: &AppDesired, replica: &ReplicaName) -> Result<&'a Server, Refused> {
    let life = |instance: &Instance| match instance.phase {
        Phase::Serving { .. } => 0,
        Phase::Starting => 1,
        Phase::Draining { .. } => 2,
        Phase::Stopping { .. } => 3,
    };
    let found = app.assigned.instances.iter().filter(|(_, instance)| instance.replica == *replica);
    let best: Option<(&InstanceId, &Instance)> = found.min_by_key(|(_, instance)| life(instance));
    let server = best.and_then(|(_, instance)| state.world.servers.get(&instance.server));
    server.ok_or_else(|| {
        let names: Vec<String> = app.assigned.instances.values().map(|i| i.replica.to_string()).collect();
        let error = ErrorBody::new(ErrorCode::NotFound, format!("there is no replica {replica}"));
        let hint = match &names[..] {
            [] => "none runs; `pando status` shows why".to_owned(),
            names => format!("there are: {}", names.join(", ")),
        };
        error.hint(hint).into()
    })
}

fn one_off<'a>(
    state: &'a State,
    observed: &Observed,
    now: Timestamp,
    app: &AppDesired,
    start: ExecStart,
) -> Result<(&'a Server, ExecStart), Refused> {
    let number = start.release.or_else(|| app.assigned.committed.map(|target| target.release));
    let number = number
        .ok_or_else(|| Refused::new(ErrorCode::Conflict, format!("`{}` runs no release yet", start.app)))?;
    let release = app.releases.get(&number).ok_or_else(|| {
        Refused::new(ErrorCode::NotFound, format!("`{}` has no release {number}", start.app))
    })?;
    let mut servers: Vec<&Server> = state.world.servers.values().collect();
    servers.sort_by(|a, b| a.name.cmp(&b.name));
    let ready = servers.into_iter().find(|server| has_release(observed, server, &start.app, number));
    let server = ready.ok_or_else(|| {
        Refused::new(ErrorCode::Unavailable, format!("no server has {number} of `{}` unpacked", start.app))
    })?;
    let input = Input { desired: &state.world, observed, now, seed: 0 };
    let env = pando_plan::of_one_off(&input, &release.spec, number, server);
    let like = Some(like(&release.spec));
    Ok((server, ExecStart { release: Some(number), env, like, ..start }))
}

/// Whatever a caller says of it: what a one-off may see of a server is the app's.
fn like(spec: &AppSpec) -> ExecLike {
    let process = spec.process_of_commands();
    ExecLike {
        user: process.and_then(|process| process.user.clone()),
        volumes: spec.volumes.clone(),
        resources: process.map(|process| process.resources).unwrap_or_default(),
    }
}

fn has_release(observed: &Observed, server: &Server, app: &AppName, number: ReleaseNumber) -> bool {
    let seen = observed.servers.get(&server.id);
    seen.into_iter().flat_map(|seen| &seen.report.releases).any(|release| {
        release.app == *app && release.release == number && release.state == ReleaseState::Ready
    })
}
