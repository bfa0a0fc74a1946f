//! Tries: which endpoint is asked, over which connection, and when another is asked instead.
//!
//! A request goes to another endpoint if nothing of it reached the first; and, once, if
//! doing it twice is as good as once and the first broke off, or is gone, before the
//! first byte of an answer. It is sent again to the same endpoint, over a new
//! connection, only if the idle connection that carried it turned out to be closed:
//! always when it hadn't been sent, else if doing it twice is as good as once.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use pando_http::Framing;
use pando_routing::EndpointId;

use super::page::Page;
use super::{Answering, Id, Routed, Tally, hsts, route};
use crate::asked::Asked;
use crate::balance::{Picked, Tried, pick};
use crate::client::Client;
use crate::exchange::{ExchangeError, Upload, Waits, head};
use crate::front::Front;
use crate::live::{Endpoint, Lease};
use crate::plane::Plane;
use crate::snapshot::PoolView;
use crate::upstream::{Heard, Link, write_head};

/// A request that cannot be sent twice takes an idle connection only if it was used so recently that no server's idle
/// time-out (5 s in Node, 2 s in gunicorn) can be about to close it.
const YOUTH: Duration = Duration::from_secs(1);

/// How often a pick may come too late for a table that was swapped meanwhile.
const PICKS: u32 = 16;

/// What a request waits at most for the first looks at endpoints. Each look has its own time-out.
const FIRST_LOOKS: Duration = Duration::from_secs(5);

/// How a try at one endpoint ended without an answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// Nothing reached it.
    Unreachable,
    /// It may have been done, but may be done twice.
    Unanswered,
    Final(Page),
    ClientGone,
}

/// Where a request was tried in vain.
#[derive(Debug, Default)]
struct Past {
    tried: Tried,
    /// It was sent twice: not once more, it may be what breaks them.
    repeated: bool,
}

impl Past {
    /// Whether another endpoint may be asked; else what the client is told.
    fn after(&mut self, failure: Failure, at: EndpointId) -> Result<(), Failure> {
        let page = match failure {
            Failure::Unreachable => Page::Unreachable,
            Failure::Unanswered if !std::mem::replace(&mut self.repeated, true) => Page::Broken,
            Failure::Unanswered => return Err(Failure::Final(Page::Broken)),
            last => return Err(last),
        };
        if self.tried.add(at) { Ok(()) } else { Err(Failure::Final(page)) }
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
/// The page that the client gets instead, or that it has gone.
pub(super) async fn run<F: Front>(
    front: &mut F,
    asked: &mut Asked,
    mut routed: Routed,
    client: &Client,
    id: &Id,
    plane: &Plane,
    tally: &mut Tally,
) -> Result<Answering, Failure> {
    let mut past = Past::default();
    loop {
        tally.for_pool(&routed.pool.live);
        let mut begun = begin(plane, asked, &mut routed, &past.tried);
        if matches!(begun, Err(Page::NobodyReady)) && routed.pool.has_unseen() {
            first_looks(plane, &routed.pool).await;
            begun = begin(plane, asked, &mut routed, &past.tried);
        }
        let lease = match begun {
            Ok(lease) => lease,
            Err(page) => {
                tally.for_pool(&routed.pool.live);
                let page = if page == Page::NobodyReady { past.page_for_nobody() } else { page };
                return Err(Failure::Final(page));
            }
        };
        tally.at(&routed.pool.live, &lease.endpoint);
        if !past.tried.is_empty() {
            tally.retried();
        }
        write_head(asked, routed.strip, lease.endpoint.address, client, id);
        match ask(front, asked, &lease, &routed.pool, plane, tally).await {
            Ok((link, upload, heard)) => {
                let hsts = hsts(asked, client, plane);
                return Ok(Answering { link, lease, upload, heard, routed, hsts });
            }
            Err(failure) => past.after(failure, lease.endpoint.id)?,
        }
    }
}

/// Begins the request on an endpoint of the newest table. A table that was swapped since the request was routed may have
/// drained everything that its snapshot offers, so before giving up the newest is asked.
fn begin(plane: &Plane, asked: &Asked, routed: &mut Routed, tried: &Tried) -> Result<Lease, Page> {
    for _ in 0..PICKS {
        match pick(&routed.pool, tried) {
            Picked::Lease(lease) => return Ok(lease),
            Picked::Stale => *routed = route(plane, asked)?,
            Picked::Nobody => {
                let newest = route(plane, asked)?;
                if std::sync::Arc::ptr_eq(&newest.pool, &routed.pool) {
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

pub(super) fn waits(pool: &PoolView, plane: &Plane) -> Waits {
    Waits {
        response: Duration::from_millis(pool.timeouts.response_millis),
        idle: Duration::from_millis(pool.timeouts.idle_millis),
        stall: plane.limits.client_stall,
    }
}

async fn ask<F: Front>(
    front: &mut F,
    asked: &mut Asked,
    lease: &Lease,
    pool: &PoolView,
    plane: &Plane,
    tally: &mut Tally,
) -> Result<(Link, Upload, Heard), Failure> {
    let endpoint = &lease.endpoint;
    let connect = Duration::from_millis(pool.timeouts.connect_millis);
    let may_repeat = asked.head.method.is_idempotent() && asked.head.framing == Framing::Empty;
    let mut idle = endpoint.idle.take((!may_repeat).then_some(YOUTH));
    loop {
        let reused = idle.is_some();
        let opened = link(idle.take(), endpoint.address, connect).await;
        let mut link = opened.map_err(|error| unreachable(endpoint, &error))?;
        link.begin(&asked.upstream);
        let mut upload = Upload::new(&asked.head, &plane.limits);
        // Who could not be asked again elsewhere waits on: the machine may yet come back.
        let is_gone = || may_repeat && endpoint.is_gone();
        let alarm = &mut asked.alarm;
        match head(front, &mut link, &mut upload, alarm, waits(pool, plane), is_gone).await {
            Ok(heard) => return Ok((link, upload, heard)),
            Err(ExchangeError::NotSent) if reused => {}
            Err(ExchangeError::NotSent) => return Err(Failure::Unreachable),
            Err(ExchangeError::Unanswered(_)) if reused && may_repeat => {}
            Err(ExchangeError::Unanswered(_) | ExchangeError::Gone) if may_repeat => {
                return Err(Failure::Unanswered);
            }
            Err(error) => return Err(failure_for(&error, endpoint)),
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

fn unreachable(endpoint: &Endpoint, error: &io::Error) -> Failure {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    tracing::debug!(endpoint = %endpoint.id, address = %endpoint.address, %error, "cannot connect");
    if matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable) {
        endpoint.suspect();
    }
    Failure::Unreachable
}

pub(super) fn failure_for(error: &ExchangeError, endpoint: &Endpoint) -> Failure {
    tracing::debug!(endpoint = %endpoint.id, address = %endpoint.address, %error, "no answer");
    Failure::Final(match error {
        ExchangeError::NotSent
        | ExchangeError::Unanswered(_)
        | ExchangeError::Broken(_)
        | ExchangeError::NotHttp(_) => Page::Broken,
        ExchangeError::Silent | ExchangeError::Gone => Page::Silent,
        ExchangeError::ClientStalled => Page::TooSlow,
        ExchangeError::TooLarge => Page::TooLarge,
        ExchangeError::ClientBroken(_) => Page::BadRequest("The request's body is malformed or broke off."),
        ExchangeError::ClientGone => return Failure::ClientGone,
    })
}
