//! What happens to one request: where it goes, what is tried, what the client gets.

mod attempt;
mod headers;
mod id;
mod page;
mod tally;
mod target;

use std::sync::Arc;

use http::header::{CONNECTION, EXPECT, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};

use crate::engine::{Client, Download, Upload};
use crate::plane::Plane;
use crate::snapshot::PoolView;
use crate::tunnel::Tunnel;
use attempt::{Answered, Errand};
use page::{Page, Wants};
pub(crate) use tally::Tally;
use target::Target;

/// What the client gets.
#[derive(Debug)]
pub(crate) enum Reply {
    Answer(Response<Download>),
    /// The head of an upgrade; once it is out, the connection belongs to the tunnel.
    Tunnel(Response<Download>, Box<Tunnel>),
}

/// Where a request goes.
#[derive(Debug)]
struct Routed {
    pool: Arc<PoolView>,
    /// Bytes to take off the path.
    strip: usize,
}

/// Answers one request. `can_upgrade`: the connection can become something else than HTTP. Dropping the future gives the request
/// up everywhere.
pub(crate) async fn forward(
    request: Request<Upload>,
    can_upgrade: bool,
    client: Client,
    plane: &Arc<Plane>,
) -> Reply {
    let id = id::of(request.headers());
    let wants = Wants::of(&request);
    let mut tally = Tally::begin(plane, &request, client, &id);
    let mut reply = match consider(request, can_upgrade, client, plane, &id) {
        Ok(errand) => carry_out(errand, tally, wants, &id, plane).await,
        Err(page) => {
            tally.refused(page);
            Reply::Answer(page.write(wants, &id, tally))
        }
    };
    let (Reply::Answer(response) | Reply::Tunnel(response, _)) = &mut reply;
    if plane.is_ending() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.headers_mut().insert(id::HEADER, id);
    reply
}

/// Everything that can be said before an endpoint is asked.
fn consider(
    request: Request<Upload>,
    can_upgrade: bool,
    client: Client,
    plane: &Plane,
    id: &HeaderValue,
) -> Result<Errand, Page> {
    if request.method() == Method::CONNECT {
        return Err(Page::ConnectRefused);
    }
    if !headers::is_plainly_framed(request.headers()) {
        return Err(Page::UnknownCoding);
    }
    let target = Target::of(&request).map_err(Page::BadRequest)?;
    let routed = route(plane, &target)?;
    let (mut head, body) = request.into_parts();
    if head.version == Version::HTTP_10 {
        // An old client's expectation means nothing (RFC 9110, 10.1.1).
        head.headers.remove(EXPECT);
    }
    head.version = Version::HTTP_11;
    let upgrade = headers::to_upstream(&mut head.headers, client, id, can_upgrade && body.is_empty());
    Ok(Errand { head, body, target, routed, upgrade })
}

/// Looks into the newest snapshot.
fn route(plane: &Plane, target: &Target) -> Result<Routed, Page> {
    let snapshot = plane.snapshot.load();
    let snapshot = snapshot.as_deref().ok_or(Page::NoTable)?;
    let (found, pool) = snapshot.find(&target.host, &target.path).ok_or(Page::UnknownHost)?;
    Ok(Routed { pool: Arc::clone(pool), strip: found.strip.len() })
}

async fn carry_out(
    errand: Errand,
    mut tally: Tally,
    wants: Wants,
    id: &HeaderValue,
    plane: &Arc<Plane>,
) -> Reply {
    match attempt::run(errand, plane, &mut tally).await {
        Ok(Answered::Whole(mut answer)) => {
            headers::to_client(&mut answer.response);
            tally.answered(answer.response.status());
            let body = |body| Download::endpoint(body, answer.link, answer.lease, answer.idle, tally);
            Reply::Answer(answer.response.map(body))
        }
        Ok(Answered::Upgrade(mut response, switched)) => {
            headers::to_client_upgrading(&mut response);
            tally.answered(StatusCode::SWITCHING_PROTOCOLS);
            Tunnel::agree(response, switched, tally)
        }
        Err(page) => {
            tally.refused(page);
            Reply::Answer(page.write(wants, id, tally))
        }
    }
}
