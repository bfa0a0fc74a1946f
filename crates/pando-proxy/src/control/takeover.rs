//! The door through which a successor comes in.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::UnixStream;

use super::api::{json, problem};
use super::{Control, Scope};
use crate::handover::{PROTOCOL, start};

/// The answer to a successor that was started.
#[derive(Debug, Serialize)]
struct Upgraded {
    pid: u32,
}

/// What the process at the other end may do.
pub(super) fn scope_of(stream: &UnixStream) -> Scope {
    let own = rustix::process::geteuid().as_raw();
    match stream.peer_cred() {
        Ok(peer) if peer.uid() == own || peer.uid() == 0 => Scope::Owner,
        _ => Scope::Everything,
    }
}

/// `POST /v1/takeover`: the connection becomes the line to a successor.
pub(super) fn begin(mut request: Request<Incoming>, control: &Arc<Control>, scope: Scope) -> Response<Bytes> {
    if let Err(refused) = may(control, scope) {
        return refused;
    }
    if request.headers().get(UPGRADE).is_none_or(|protocol| protocol != PROTOCOL) {
        return problem(StatusCode::UPGRADE_REQUIRED, &format!("ask with `Upgrade: {PROTOCOL}`"));
    }
    let upgrade = hyper::upgrade::on(&mut request);
    let giver = Arc::clone(&control.giver);
    control.tasks.spawn_until_shutdown(async move {
        // A successor that goes away at once is none.
        let Ok(upgraded) = upgrade.await else { return };
        if let Ok(parts) = upgraded.downcast::<TokioIo<UnixStream>>() {
            giver.give(parts.io.into_inner()).await;
        }
    });
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    response.headers_mut().insert(UPGRADE, HeaderValue::from_static(PROTOCOL));
    response
}

/// `POST /v1/upgrade`: starts a successor, and answers when that serves.
pub(super) async fn upgrade(control: &Control, scope: Scope) -> Response<Bytes> {
    if let Err(refused) = may(control, scope) {
        return refused;
    }
    let Some(successor) = &control.successor else {
        return problem(StatusCode::CONFLICT, "this proxy was not told how to start a successor");
    };
    match start(successor, &control.giver).await {
        Ok(pid) => json(StatusCode::OK, &Upgraded { pid }),
        Err(why) => problem(StatusCode::INTERNAL_SERVER_ERROR, &why),
    }
}

fn may(control: &Control, scope: Scope) -> Result<(), Response<Bytes>> {
    if scope < Scope::Owner {
        let why = "only the user that this proxy runs as, or root, may take over: private keys go along";
        return Err(problem(StatusCode::FORBIDDEN, why));
    }
    control.giver.is_taken().map_or(Ok(()), |why| Err(problem(StatusCode::CONFLICT, why)))
}
