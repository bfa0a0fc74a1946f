//! Commands beside a replica, or in a release, for a person at the other end.
//!
//! The connection is upgraded, the first frame says what to run ([`place`]
//! finds where), and then frames go both ways ([`talk`]) until the command ends
//! or the caller leaves; then nothing of its session is left.

mod place;
mod talk;
mod terminal;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{CONNECTION, UPGRADE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use pando_api::stream::{self, Channel, ExecEnd, Frame, Frames};
use pando_api::v1::agents::ExecStart;
use pando_rt::error_chain::error_chain;
use tokio_util::codec::Framed;

use super::{Api, Problem};

/// For the connection to become a stream of frames, and for the first to come.
const BEGIN_DEADLINE: Duration = Duration::from_secs(10);

/// What shells say of a command that can't be run.
const CANNOT_RUN: i32 = 126;

/// An upgraded one.
type Connection = Framed<TokioIo<Upgraded>, Frames>;

pub(super) async fn exec(State(api): State<Api>, mut request: Request) -> Response {
    let asked = request.headers().get(UPGRADE).is_some_and(|value| value == stream::UPGRADE);
    let upgrade = request.extensions_mut().remove::<OnUpgrade>();
    let (true, Some(upgrade)) = (asked, upgrade) else {
        return Problem::invalid(format!("exec needs `Upgrade: {}`", stream::UPGRADE)).into_response();
    };
    let Ok(slot) = Arc::clone(&api.inner.limits.execs).try_acquire_owned() else {
        return Problem::busy("commands").into_response();
    };
    let tasks = api.inner.tasks.clone();
    tasks.spawn(async move {
        let upgraded = tokio::time::timeout(BEGIN_DEADLINE, upgrade).await;
        if let Ok(Ok(upgraded)) = upgraded {
            begin(&api, Framed::new(TokioIo::new(upgraded), Frames)).await;
        }
        drop(slot);
    });
    let headers = [
        (CONNECTION, HeaderValue::from_static("upgrade")),
        (UPGRADE, HeaderValue::from_static(stream::UPGRADE)),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

async fn begin(api: &Api, mut frames: Connection) {
    let first = tokio::time::timeout(BEGIN_DEADLINE, frames.next()).await;
    let Ok(Some(Ok(frame))) = first else { return };
    let started = match read_start(&frame) {
        Ok(start) => place::start(api, &start).await.map(|started| (start, started)),
        Err(error) => Err(error),
    };
    match started {
        Ok((start, started)) => {
            let rules = talk::Rules { timeout: start.timeout, shutdown: api.inner.tasks.shutdown().clone() };
            talk::talk(frames, started, &rules).await;
        }
        Err(error) => {
            let end = ExecEnd { code: CANNOT_RUN, error: Some(error) };
            // The caller may have left; then nobody wants to know.
            let _ = tokio::time::timeout(BEGIN_DEADLINE, frames.send(end_frame(&end))).await;
        }
    }
}

fn read_start(frame: &Frame) -> Result<ExecStart, String> {
    if frame.channel != Channel::Start {
        return Err("the first frame must say what to run".to_owned());
    }
    serde_json::from_slice(&frame.payload)
        .map_err(|error| format!("what to run can't be read: {}", error_chain(&error)))
}

fn end_frame(end: &ExecEnd) -> Frame {
    let payload = serde_json::to_vec(end).unwrap_or_default().into();
    Frame { channel: Channel::End, payload }
}
