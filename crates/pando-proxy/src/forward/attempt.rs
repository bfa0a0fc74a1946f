//! Tries: which endpoint is asked, over which connection, and when another is asked instead.
//!
//! A request goes to another endpoint if nothing of it reached the first; and, once, if
//! doing it twice is as good as once and the first broke off, or is gone, before the
//! first byte of an answer. It is sent again to the same endpoint, over a new
//! connection, only if the idle connection that carried it turned out to be closed:
//! always when it hadn't been sent, else if doing it twice is as good as once.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Request, Response, StatusCode};
use pando_routing::EndpointId;

use super::headers::{Upgrade, ensure_host};
use super::page::Page;
use super::target::Target;
use super::{Routed, Tally, route};
use crate::balance::{Picked, Tried, pick};
use crate::engine::{ExchangeError, Inflow, Link, Upload, Waits};
use crate::live::Lease;
use crate::plane::Plane;
use crate::snapshot::PoolView;
use crate::tunnel::Switched;

/// A request that cannot be sent twice takes an idle connection only if it was used so recently that no server's idle
/// time-out (5 s in Node, 2 s in gunicorn) can be about to close it.
const YOUTH: Duration = Duration::from_secs(1);

/// How often a pick may come too late for a table that was swapped meanwhile.
const PICKS: u32 = 16;

/// What a request waits at most for the first looks at endpoints. Each look has its own time-out.
const FIRST_LOOKS: Duration = Duration::from_secs(5);

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
    /// It may have been done, but may be done twice.
    Unanswered(Box<Request<Upload>>),
    Final(Page),
}

/// Where a request was tried in vain.
#[derive(Debug, Default)]
struct Past {
    tried: Tried,
    /// It was sent twice: not once more, it may be what breaks them.
    repeated: bool,
}

impl Past {
    /// The request for another endpoint, or what the client is told.
    fn after(&mut self, failure: Failure, at: EndpointId) -> Result<Request<Upload>, Page> {
        let (request, page) = match failure {
            Failure::Unreachable(request) => (request, Page::Unreachable),
            Failure::Unanswered(request) if !std::mem::replace(&mut self.repeated, true) => {
                (request, Page::Broken)
            }
            Failure::Unanswered(_) => return Err(Page::Broken),
            Failure::Final(page) => return Err(page),
        };
        if self.tried.add(at) { Ok(*request) } else { Err(page) }
    }

    fn page_for_nobody(&self) -> Page {
        match (self.tried.is_empty(), self.repeated) {
            (true, _) => Page::NobodyReady,
            (false, true) => Page::Broken,
            (false, false) => Page::Unreachable,
        }
    }
}

/// # Errors
/// The page that the client gets instead.
pub(super) async fn run(errand: Errand, plane: &Plane, tally: &mut Tally) -> Result<Answered, Page> {
    let Errand { head, body, target, mut routed, upgrade } = errand;
    let original = head.uri.clone();
    let mut request = Request::from_parts(head, body);
    let mut past = Past::default();
    loop {
        tally.for_pool(&routed.pool.live);
        let mut begun = begin(plane, &target, &mut routed, &past.tried);
        if matches!(begun, Err(Page::NobodyReady)) && routed.pool.has_unseen() {
            first_looks(plane, &routed.pool).await;
            begun = begin(plane, &target, &mut routed, &past.tried);
        }
        let lease = match begun {
            Ok(lease) => lease,
            Err(page) => {
                tally.for_pool(&routed.pool.live);
                return Err(if matches!(page, Page::NobodyReady) { past.page_for_nobody() } else { page });
            }
        };
        tally.at(&routed.pool.live, &lease.endpoint);
        if !past.tried.is_empty() {
            tally.retried();
        }
        *request.uri_mut() = target.upstream(&original, routed.strip).map_err(Page::BadRequest)?;
        let id = lease.endpoint.id;
        match ask(request, lease, &routed, upgrade, tally).await {
            Ok(answered) => return Ok(answered),
            Err(failure) => request = past.after(failure, id)?,
        }
    }
}

/// Begins the request on an endpoint of the newest table. A table that was swapped since the request was routed may have
/// drained everything that its snapshot offers, so before giving up the newest is asked.
fn begin(plane: &Plane, target: &Target, routed: &mut Routed, tried: &Tried) -> Result<Lease, Page> {
    for _ in 0..PICKS {
        match pick(&routed.pool, tried) {
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

/// A table that comes after others were missed may offer none but endpoints that nobody has looked at: to say that none is ready
/// would be a guess.
async fn first_looks(plane: &Plane, pool: &PoolView) {
    let known = || !pool.has_unseen() || pool.active.iter().any(|endpoint| endpoint.in_rotation());
    plane.sequence.wait_until(known, FIRST_LOOKS).await;
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
        let copy = may_repeat.then(|| copy_of(&request));
        // Who could not be asked again elsewhere waits on: the machine may yet come back.
        let is_gone = || may_repeat && lease.endpoint.is_gone();
        match (link.exchange(request, waits, is_gone).await, copy) {
            (Ok(response), _) => return answered(response, link, lease, upgrade, waits.idle).await,
            (Err(ExchangeError::NotSent(unsent)), _) if reused => request = *unsent,
            (Err(ExchangeError::NotSent(unsent)), _) => return Err(Failure::Unreachable(unsent)),
            (Err(ExchangeError::Unanswered(_)), Some(copy)) if reused => request = copy,
            (Err(ExchangeError::Unanswered(_) | ExchangeError::Gone), Some(copy)) => {
                return Err(Failure::Unanswered(Box::new(copy)));
            }
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
        ExchangeError::NotSent(_) | ExchangeError::Unanswered(_) | ExchangeError::Broken(_) => Page::Broken,
        ExchangeError::Silent | ExchangeError::Gone => Page::Silent,
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
