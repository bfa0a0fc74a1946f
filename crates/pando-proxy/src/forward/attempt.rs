//! Tries: which endpoint is asked, over which connection, and when another is asked instead.
//!
//! A request goes to a second endpoint only if nothing of it reached the first. It
//! is sent again to the same endpoint, over a new connection, only if the idle
//! connection that carried it turned out to be closed: always when it hadn't been sent,
//! else if doing it twice is as good as once.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response, StatusCode};

use super::headers::{Upgrade, ensure_host};
use super::page::Page;
use super::target::Target;
use super::{Routed, Tally, route};
use crate::balance::{Picked, pick};
use crate::engine::{ExchangeError, Inflow, Link, Upload, Waits};
use crate::live::Lease;
use crate::plane::Plane;
use crate::tunnel::Switched;

/// A request that cannot be sent twice takes an idle connection only if it was used so recently that no server's idle
/// time-out (5 s in Node, 2 s in gunicorn) can be about to close it.
const YOUTH: Duration = Duration::from_secs(1);

/// How often a pick may come too late for a table that was swapped meanwhile.
const PICKS: u32 = 16;

/// How long a connection may take to let go of HTTP after a 101.
const SWITCH: Duration = Duration::from_secs(5);

/// A request that knows where it goes.
#[derive(Debug)]
pub(super) struct Errand {
    /// As the client sent it but for headers; the target is put in for each try.
    pub(super) head: Parts,
    pub(super) body: Upload,
    pub(super) target: Target,
    pub(super) routed: Routed,
    pub(super) upgrade: Option<Upgrade>,
}

/// What an endpoint answered.
#[derive(Debug)]
pub(super) enum Answered {
    Whole(Answer),
    Upgrade(Response<()>, Switched),
}

/// The head of an answer, and where its body will come from.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) response: Response<Inflow>,
    pub(super) link: Link,
    pub(super) lease: Lease,
    pub(super) idle: Duration,
}

/// How a try at one endpoint ended without an answer.
enum Failure {
    /// Nothing reached it.
    Unreachable(Box<Request<Upload>>),
    Final(Page),
}

/// # Errors
/// The page that the client gets instead.
pub(super) async fn run(errand: Errand, plane: &Plane, tally: &mut Tally) -> Result<Answered, Page> {
    let Errand { head, body, target, mut routed, upgrade } = errand;
    let original = head.uri.clone();
    let mut request = Request::from_parts(head, body);
    let mut except = None;
    loop {
        tally.for_pool(&routed.pool.live);
        let lease = match begin(plane, &target, &mut routed, except) {
            Ok(lease) => lease,
            Err(Page::NobodyReady) if except.is_some() => return Err(Page::Unreachable),
            Err(page) => {
                tally.for_pool(&routed.pool.live);
                return Err(page);
            }
        };
        tally.at(&routed.pool.live, &lease.endpoint);
        if except.is_some() {
            tally.retried();
        }
        *request.uri_mut() = target.upstream(&original, routed.strip).map_err(Page::BadRequest)?;
        let id = lease.endpoint.id;
        match ask(request, lease, &routed, upgrade, tally).await {
            Ok(answered) => return Ok(answered),
            Err(Failure::Unreachable(unsent)) if except.is_none() => {
                request = *unsent;
                except = Some(id);
            }
            Err(Failure::Unreachable(_)) => return Err(Page::Unreachable),
            Err(Failure::Final(page)) => return Err(page),
        }
    }
}

/// Begins the request on an endpoint of the newest table. A table that was swapped since the request was routed may have
/// drained everything that its snapshot offers, so before giving up the newest is asked.
fn begin(
    plane: &Plane,
    target: &Target,
    routed: &mut Routed,
    except: Option<pando_routing::EndpointId>,
) -> Result<Lease, Page> {
    for _ in 0..PICKS {
        match pick(&routed.pool, except) {
            Picked::Lease(lease) => return Ok(lease),
            Picked::Stale => *routed = route(plane, target)?,
            Picked::Nobody => {
                let newest = route(plane, target)?;
                if Arc::ptr_eq(&newest.pool, &routed.pool) {
                    return Err(Page::NobodyReady);
                }
                *routed = newest;
            }
        }
    }
    Err(Page::NobodyReady)
}

async fn ask(
    mut request: Request<Upload>,
    lease: Lease,
    routed: &Routed,
    upgrade: Option<Upgrade>,
    tally: &mut Tally,
) -> Result<Answered, Failure> {
    let timeouts = &routed.pool.timeouts;
    let connect = Duration::from_millis(timeouts.connect_millis);
    let waits = Waits {
        response: Duration::from_millis(timeouts.response_millis),
        idle: Duration::from_millis(timeouts.idle_millis),
    };
    ensure_host(request.headers_mut(), || lease.endpoint.address.to_string());
    let may_repeat = request.method().is_idempotent() && request.body().is_empty();
    let mut idle = lease.endpoint.idle.take((!may_repeat).then_some(YOUTH));
    loop {
        let reused = idle.is_some();
        let mut link = match link(idle.take(), lease.endpoint.address, connect).await {
            Ok(link) => link,
            Err(error) => return Err(unreachable(request, &lease, &error)),
        };
        let copy = (reused && may_repeat).then(|| copy_of(&request));
        match (link.exchange(request, waits).await, copy) {
            (Ok(response), _) => return answered(response, link, lease, upgrade, waits.idle).await,
            (Err(ExchangeError::NotSent(unsent)), _) if reused => request = *unsent,
            (Err(ExchangeError::NotSent(unsent)), _) => return Err(Failure::Unreachable(unsent)),
            (Err(ExchangeError::Stale), Some(copy)) => request = copy,
            (Err(error), _) => return Err(Failure::Final(page_for(error, &lease))),
        }
        // The connection was at fault, not the endpoint: once more, over a new one.
        tally.retried();
    }
}

async fn link(idle: Option<Link>, address: SocketAddr, patience: Duration) -> io::Result<Link> {
    match idle {
        Some(link) => Ok(link),
        None => Link::open(address, patience).await,
    }
}

async fn answered(
    response: Response<Inflow>,
    link: Link,
    lease: Lease,
    upgrade: Option<Upgrade>,
    idle: Duration,
) -> Result<Answered, Failure> {
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Ok(Answered::Whole(Answer { response, link, lease, idle }));
    }
    // Nobody asked: whatever this is, it isn't an answer.
    let Some(upgrade) = upgrade else { return Err(Failure::Final(Page::Broken)) };
    let switched = tokio::time::timeout(SWITCH, link.into_upgraded()).await;
    let (upstream, first) = switched.map_err(|_| Failure::Final(Page::Broken))?;
    let is_websocket = upgrade.is_websocket;
    let switched = Switched { upstream, first, lease, is_websocket, idle };
    Ok(Answered::Upgrade(response.map(|_| ()), switched))
}

fn unreachable(request: Request<Upload>, lease: &Lease, error: &io::Error) -> Failure {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    let endpoint = &lease.endpoint;
    tracing::debug!(endpoint = %endpoint.id, address = %endpoint.address, %error, "cannot connect");
    if matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable) {
        endpoint.suspect();
    }
    Failure::Unreachable(Box::new(request))
}

fn page_for(error: ExchangeError, lease: &Lease) -> Page {
    let endpoint = &lease.endpoint;
    tracing::debug!(endpoint = %endpoint.id, address = %endpoint.address, %error, "no answer");
    match error {
        ExchangeError::NotSent(_) | ExchangeError::Stale | ExchangeError::Broken(_) => Page::Broken,
        ExchangeError::Silent => Page::Silent,
        ExchangeError::ClientStalled => Page::TooSlow,
        ExchangeError::ClientBroken => Page::BadRequest("The request's body is malformed or broke off."),
    }
}

/// A request without a body, once more.
fn copy_of(request: &Request<Upload>) -> Request<Upload> {
    let mut copy = Request::new(Upload::empty());
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy
}
