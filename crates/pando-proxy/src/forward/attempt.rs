//! Tries: which endpoint is asked, over which connection, and when another is asked instead.
//!
//! A request goes to another endpoint if nothing of it reached the first; and, once, if
//! doing it twice is as good as once and the first broke off, is gone, or said what is no
//! HTTP, before the head of an answer was whole. It is sent again to the same endpoint, over a new
//! connection, only if the idle connection that carried it turned out to be closed:
//! always when it hadn't been sent, else if doing it twice is as good as once.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use pando_http::Framing;
use pando_routing::Protocol;
use pando_routing::balance::outlier;

use super::admit::{Applicant, admit, somebody_is_back};
use super::deliver::{Kind, read};
use super::page::Page;
use super::past::Past;
use super::{Answering, Id, Routed, Tally, hedge, hsts};
use crate::asked::Asked;
use crate::balance::{Chosen, moment};
use crate::client::Client;
use crate::exchange::{ExchangeError, Upload, Waits, head};
use crate::files;
use crate::front::Front;
use crate::live::{Endpoint, Lease};
use crate::plane::Plane;
use crate::snapshot::PoolView;
use crate::upstream::{
    Ends, Heard, Link, LinkError, NoTls, Stream, UpgradeAsked, alert_of, hide_cookie, write_changed_head,
    write_head,
};
use crate::wire::Wire;

/// A request that cannot be sent twice takes an idle connection only if it was used so recently that no server's idle
/// time-out (5 s in Node, 2 s in gunicorn) can be about to close it.
const YOUTH: Duration = Duration::from_secs(1);

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
    let may_repeat = asked.head.method.is_idempotent() && asked.head.framing == Framing::Empty;
    let mut past = Past::default();
    routed.pool.live.budget.request(tally.began());
    if let Some(sticky) = &routed.pool.sticky {
        hide_cookie(asked, &sticky.policy.cookie);
    }
    loop {
        tally.for_pool(&routed.pool.live);
        // A rule may have taken its time.
        let at_once = past.tried.is_empty() && routed.change.is_none();
        let now = if at_once { tally.began() } else { moment::now() };
        let applicant = Applicant { asked, client, plane, may_repeat, now };
        let admitted = admit(front, applicant, &mut routed, &past).await;
        tally.for_pool(&routed.pool.live);
        let Chosen { mut lease, token } = admitted?;
        tally.at(&routed.pool.live, &lease.endpoint);
        if !past.tried.is_empty() {
            tally.retried();
        }
        let asker = Asker { client, id };
        asker.write(asked, &routed, lease.endpoint.address);
        let behalf = routed.pool.settings.proxy_protocol.map(|_| client.ends());
        let whose = Whose { behalf, may_repeat };
        let began = match hedge::patience(asked, &routed.pool, may_repeat) {
            None => ask(front, asked, &mut lease, &routed.pool, whose, plane, tally).await,
            Some(patience) => {
                let race = hedge::Race { asking: asker, whose, plane, patience, routed: &routed };
                let racing = hedge::run(front, asked, lease, race, &mut past, tally);
                // Boxed: only pools that ask for it have room for it.
                let (began, other) = Box::pin(racing).await;
                lease = other;
                began
            }
        };
        match began {
            Ok(Began { link, upload, heard, kind }) => {
                let (hsts, secure) = (hsts(asked, client, plane), client.secure);
                return Ok(Answering { link, lease, upload, heard, kind, routed, hsts, token, secure });
            }
            Err(failure) => match past.after(failure, lease.endpoint.id, &routed.pool) {
                Err(Failure::Final(Page::Unreachable)) if !past.has_waited => {
                    drop(lease);
                    if !Box::pin(somebody_is_back(front, plane, &routed.pool)).await? {
                        return Err(Failure::Final(Page::Unreachable));
                    }
                    past.begin_anew();
                }
                after => after?,
            },
        }
    }
}

/// On whose behalf a request goes up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) client: &'a Client,
    pub(super) id: &'a Id,
}

impl Asker<'_> {
    /// Puts the request, as the endpoint there gets it, on its paper.
    pub(super) fn write(&self, asked: &mut Asked, routed: &Routed, address: SocketAddr) {
        let Self { client, id } = *self;
        match &routed.change {
            None => write_head(asked, routed.strip, address, client, id),
            Some(change) => write_changed_head(asked, (routed.strip, &**change), address, client, id),
        }
    }
}

pub(super) fn waits(pool: &PoolView, plane: &Plane) -> Waits {
    Waits {
        response: Duration::from_millis(pool.settings.timeouts.response_millis),
        idle: Duration::from_millis(pool.settings.timeouts.idle_millis),
        stall: plane.limits.client_stall,
    }
}

/// Whose request it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Whose {
    /// Where endpoints are told.
    pub(super) behalf: Option<Ends>,
    /// Doing it twice is as good as once.
    pub(super) may_repeat: bool,
}

/// An endpoint has begun to answer.
pub(super) struct Began {
    pub(super) link: Box<Link>,
    pub(super) upload: Upload,
    pub(super) heard: Heard,
    pub(super) kind: Kind,
}

async fn ask<F: Front>(
    front: &mut F,
    asked: &mut Asked,
    lease: &mut Lease,
    pool: &PoolView,
    Whose { behalf, may_repeat }: Whose,
    plane: &Plane,
    tally: &mut Tally,
) -> Result<Began, Failure> {
    let (protocol, connect) = (pool.settings.protocol, pool.settings.timeouts.connect_millis);
    let connect = Duration::from_millis(connect);
    let mut idle = idle_link(protocol, &lease.endpoint, behalf, may_repeat);
    loop {
        let reused = idle.is_some();
        let opened = match idle.take() {
            Some(link) => Ok(link),
            None => {
                // Boxed: most requests find a connection and have no room for opening one.
                let opened = Box::pin(open(&lease.endpoint, behalf, connect)).await;
                pool.live.counters.opened(opened.is_ok());
                opened
            }
        };
        let mut link = opened.map_err(|error| unreachable(lease, pool, &error))?;
        if asked.head.upgrade.is_some() && !Box::pin(can_upgrade(asked, &link, connect)).await {
            return Err(Failure::Final(Page::NoWebSocket));
        }
        link.begin(&asked.upstream);
        let mut upload = Upload::new(&asked.head, &plane.limits);
        // Who could not be asked again elsewhere waits on: the endpoint may yet come back.
        let is_gone = || may_repeat && lease.endpoint.is_gone() && pool.has_other(&lease.endpoint);
        match head(front, &mut link, &mut upload, asked.ears(), waits(pool, plane), is_gone).await {
            Ok(heard) => match read(asked, &link, heard) {
                Ok(kind) => return Ok(Began { link, upload, heard, kind }),
                Err(error) => return Err(failure_for(&error, lease, pool, may_repeat)),
            },
            Err(ExchangeError::NotSent) if reused => {}
            Err(ExchangeError::Unanswered(_)) if reused && may_repeat => {}
            Err(error) => {
                tally.received(upload.sent());
                return Err(failure_for(&error, lease, pool, may_repeat));
            }
        }
        // The connection was at fault, not the endpoint: once more, over a new one.
        tally.retried();
    }
}

/// A stream becomes a WebSocket only if its endpoint says so beforehand.
async fn can_upgrade(asked: &Asked, link: &Link, patience: Duration) -> bool {
    match &link.wire {
        Wire::Stream(stream) if UpgradeAsked::of(asked).is_some_and(|asked| asked.is_websocket) => {
            stream.takes_websockets(patience).await
        }
        _ => true,
    }
}

/// Over a connection that is open. A stream's end is known at once, so that it need not be young.
pub(super) fn idle_link(
    protocol: Protocol,
    endpoint: &Endpoint,
    behalf: Option<Ends>,
    may_repeat: bool,
) -> Option<Box<Link>> {
    let youth = (!may_repeat).then_some(YOUTH);
    match (protocol, behalf) {
        (Protocol::Http1, None) => endpoint.idle.take(youth),
        (Protocol::Http1, Some(behalf)) => endpoint.idle.take_for(behalf, youth),
        (Protocol::H2c | Protocol::H2, behalf) => endpoint.streams.reuse(behalf).map(over),
    }
}

pub(super) async fn open(
    endpoint: &Endpoint,
    behalf: Option<Ends>,
    patience: Duration,
) -> io::Result<Box<Link>> {
    let reach = endpoint.reach();
    match reach.http2 {
        false => Link::open(&reach, endpoint.address, behalf, patience).await,
        true => endpoint.streams.begin(&reach, endpoint.address, behalf, patience).await.map(over),
    }
}

fn over(stream: Stream) -> Box<Link> {
    Link::over(Wire::Stream(Box::new(stream)))
}

pub(super) fn unreachable(lease: &mut Lease, pool: &PoolView, error: &io::Error) -> Failure {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable};
    let endpoint = &lease.endpoint;
    tracing::debug!(endpoint = %endpoint.id, address = %endpoint.address, %error, "cannot connect");
    if files::is_own_lack(error) {
        return Failure::Unreachable;
    }
    if matches!(error.kind(), ConnectionRefused | HostUnreachable | NetworkUnreachable) {
        lease.refused();
    } else {
        let failure = NoTls::fault(error).map_or(outlier::Failure::Connect, outlier::Failure::Tls);
        lease.failed(pool, failure);
    }
    Failure::Unreachable
}

/// What an exchange without an answer means for the request; the endpoint's part in it is noted. `may_repeat`: nothing of an answer
/// went to the client yet, and doing it twice is as good as once.
pub(super) fn failure_for(
    error: &ExchangeError,
    lease: &mut Lease,
    pool: &PoolView,
    may_repeat: bool,
) -> Failure {
    let endpoint = &lease.endpoint;
    tracing::debug!(endpoint = %endpoint.id, address = %endpoint.address, %error, "no answer");
    if let Some(failure) = fault_of(error) {
        lease.failed(pool, failure);
    }
    Failure::Final(match error {
        ExchangeError::NotSent => return Failure::Unreachable,
        ExchangeError::Unanswered(_)
        | ExchangeError::Broken(_)
        | ExchangeError::NotHttp(_)
        | ExchangeError::Gone
            if may_repeat =>
        {
            return Failure::Unanswered;
        }
        ExchangeError::Unanswered(_) | ExchangeError::Broken(_) | ExchangeError::NotHttp(_) => Page::Broken,
        ExchangeError::Silent | ExchangeError::Gone => Page::Silent,
        ExchangeError::ClientStalled => Page::TooSlow,
        ExchangeError::TooLarge => Page::TooLarge,
        ExchangeError::ClientBroken(_) => Page::BadRequest("The request's body is malformed or broke off."),
        ExchangeError::ClientGone => return Failure::ClientGone,
    })
}

/// What the endpoint is to blame for, if it is.
fn fault_of(error: &ExchangeError) -> Option<outlier::Failure> {
    Some(match error {
        ExchangeError::Unanswered(LinkError::Broken(error)) => {
            alert_of(error).map_or(outlier::Failure::Reset, outlier::Failure::Tls)
        }
        ExchangeError::NotSent | ExchangeError::Unanswered(_) | ExchangeError::Broken(_) => {
            outlier::Failure::Reset
        }
        ExchangeError::NotHttp(_) => outlier::Failure::Garbage,
        ExchangeError::Silent | ExchangeError::Gone => outlier::Failure::Timeout,
        ExchangeError::ClientStalled
        | ExchangeError::TooLarge
        | ExchangeError::ClientBroken(_)
        | ExchangeError::ClientGone => {
            return None;
        }
    })
}
