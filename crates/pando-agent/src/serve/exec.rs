//! Commands beside replicas and in releases, with their input and output over one upgraded connection.
//!
//! A command lives no longer than its caller: when the connection ends, so
//! does everything in the command's session.

mod caller;
mod contained;
mod place;
mod ready;
mod running;
mod streams;
mod terminal;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State as Held};
use axum::response::{IntoResponse, Response};
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderValue, StatusCode};
use hyper::upgrade::OnUpgrade;
use pando_api::stream::{self, ExecEnd, FrameError};
use pando_api::v1::agents::ExecStart;
use pando_api::{ErrorBody, ErrorCode};

use super::reply::Refused;
use super::server::{COMMANDS, Served};
use caller::Caller;
use contained::{Contained, Order};
use place::Work;
use running::Running;

/// From the answer to the first frame.
const START_WITHIN: Duration = Duration::from_secs(10);

/// What shells use for a command that could not be started.
const NOT_STARTED: i32 = 126;

/// Runs a command: upgrades to `pando-exec`.
pub(super) async fn open(Held(served): Held<Arc<Served>>, mut request: Request) -> Result<Response, Refused> {
    let wants = request.headers().get(UPGRADE).is_some_and(|value| value == stream::UPGRADE);
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().filter(|_| wants);
    let Some(upgrade) = upgrade else {
        let text = format!("this needs `Connection: upgrade` and `Upgrade: {}`", stream::UPGRADE);
        return Err(Refused::new(ErrorCode::Invalid, text));
    };
    let Ok(room) = Arc::clone(&served.commands).try_acquire_owned() else {
        let busy = ErrorBody::new(ErrorCode::Busy, format!("{COMMANDS} commands run here already"));
        return Err(busy.hint("wait until one of them has ended").into());
    };
    let tasks = served.tasks.clone();
    tasks.spawn(async move {
        if let Err(error) = serve(&served, upgrade).await {
            tracing::debug!("a command's caller left early: {error}");
        }
        drop(room);
    });
    let headers = [
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static(stream::UPGRADE)),
    ];
    Ok((StatusCode::SWITCHING_PROTOCOLS, headers).into_response())
}

async fn serve(served: &Served, upgrade: OnUpgrade) -> Result<(), FrameError> {
    let shutdown = served.tasks.shutdown();
    let asked = async {
        let mut caller = Caller::upgraded(upgrade).await?;
        let start = caller.start().await?;
        Ok::<_, FrameError>((caller, start))
    };
    let asked = tokio::select! {
        asked = tokio::time::timeout(START_WITHIN, asked) => asked,
        // Nothing has begun that could be lost.
        () = shutdown.wait() => return Ok(()),
    };
    let (mut caller, start) = asked.map_err(|_| std::io::Error::from(std::io::ErrorKind::TimedOut))??;
    let end = match begin(served, start).await {
        Ok(Started::Process(running)) => running.relay(&mut caller, shutdown).await,
        Ok(Started::Contained(contained)) => contained.relay(&mut caller, shutdown).await,
        Err(why) => Some(ExecEnd { code: NOT_STARTED, error: Some(why) }),
    };
    match end {
        Some(end) => caller.finish(&end, shutdown).await,
        None => Ok(()),
    }
}

enum Started {
    Process(Box<Running>),
    Contained(Contained),
}

/// The error is a sentence.
async fn begin(served: &Served, start: Result<ExecStart, String>) -> Result<Started, String> {
    let start = start?;
    let work = place::work(&served.state, &start)?;
    tracing::info!(app = %start.app, replica = ?start.replica.as_ref().map(ToString::to_string), "a command is run");
    match work {
        Work::Process(script, limits) => {
            let groups = match &served.state.commands {
                Some(commands) => Some(commands.groups(limits).await),
                None => None,
            };
            let started = Running::start(&served.sessions, &script, start.terminal, groups).await;
            let running = started?.within(start.timeout);
            Ok(Started::Process(Box::new(running)))
        }
        Work::Contained { within, line, env } => {
            let containers = served.state.containers.as_ref();
            let containers = containers.ok_or("nothing runs in containers on this server")?;
            let order = Order { within, line, env, terminal: start.terminal, timeout: start.timeout };
            Contained::start(containers, order).await.map(Started::Contained)
        }
    }
}
