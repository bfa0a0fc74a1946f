//! What happens to one request: where it goes, what is tried, what the client gets.

mod admit;
mod attempt;
mod deliver;
mod hedge;
mod id;
mod page;
mod past;
mod tally;

use std::sync::Arc;

use pando_http::{Framing, Method};
use pando_routing::balance::sticky::Token;
use pando_routing::rule::answers::ErrorPages;

use crate::asked::Asked;
use crate::balance::moment;
use crate::client::Client;
use crate::exchange::{Upload, send_whole};
use crate::front::{Answer, AnswerBody, Front};
use crate::https::Target;
use crate::live::Lease;
use crate::plane::Plane;
use crate::rules::{self, Change, Route, RouteLive, Shown};
use crate::snapshot::{Lead, PoolView, Snapshot};
use crate::tunnel::Tunnel;
use crate::upstream::{Heard, Link, drop_claims, tell_shown};
use attempt::Failure;
pub(crate) use id::{HEADER as ID_HEADER, Id};
pub(crate) use page::{Page, Wants, stand_in};
pub(crate) use tally::Tally;

const HSTS_HEADER: &str = "strict-transport-security";

/// What becomes of a client's connection after a request.
#[derive(Debug)]
pub(crate) enum End {
    /// It can take another one.
    Next,
    Close,
    /// The answer broke off: closing must not look like its end.
    Cut,
    /// It is no longer HTTP.
    Tunnel(Box<Tunnel>),
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub(crate) struct Routed {
    pub(crate) pool: Arc<PoolView>,
    /// Bytes to take off the path.
    pub(crate) strip: usize,
    /// Where its rule is counted, if that has a name.
    pub(crate) route: Option<Arc<RouteLive>>,
    /// A rule has let it pass, and wants it so.
    pub(crate) change: Option<Arc<Change>>,
}

/// What the table says of a request.
pub(crate) enum Found {
    Plain(Routed),
    /// A rule, and bytes to take off the path.
    Ruled(Arc<Route>, usize),
}

/// The client gets a page of ours.
pub(crate) struct Refused {
    pub(crate) page: Page,
    /// Beside the page's own.
    pub(crate) fields: Vec<(Arc<str>, Vec<u8>)>,
    /// In place of the page's own sentence.
    pub(crate) message: Option<Arc<str>>,
    /// Default: the table's.
    pub(crate) pages: Option<Arc<ErrorPages>>,
}

impl From<Page> for Refused {
    fn from(page: Page) -> Self {
        Self { page, fields: Vec::new(), message: None, pages: None }
    }
}

/// An answer that stands in the table.
pub(crate) struct Reply<'a> {
    pub(crate) status: u16,
    pub(crate) fields: &'a [(&'a str, &'a [u8])],
    pub(crate) body: &'a [u8],
}

/// An endpoint has begun to answer.
struct Answering {
    link: Box<Link>,
    lease: Lease,
    upload: Upload,
    heard: Heard,
    kind: deliver::Kind,
    routed: Routed,
    /// Beside what it says: `Strict-Transport-Security`.
    hsts: Option<Arc<[u8]>>,
    /// The client is to come back to this endpoint, and doesn't know yet.
    token: Option<Token>,
    /// The client came over TLS.
    secure: bool,
}

/// Answers one request. Dropping the future gives the request up everywhere.
pub(crate) async fn forward<F: Front>(
    front: &mut F,
    mut asked: Asked,
    client: &Client,
    plane: &Arc<Plane>,
) -> End {
    let began = moment::now();
    let at_millis = moment::unix_millis(began, &plane.clock);
    let id = Id::of(&asked.head, asked.bytes.bytes(), at_millis);
    asked.spell_path();
    let trace = plane.tracing.as_ref().map(|tracing| tracing.begin(&mut asked, client));
    let mut tally = Tally::begin(plane, &asked, client, &id, began, trace);
    let routed = match consider(&mut asked, client, plane) {
        Ok(Found::Plain(routed)) => routed,
        Ok(Found::Ruled(route, strip)) => {
            // Boxed: other requests have no room for it.
            return Box::pin(rules::run(front, asked, (route, strip), client, &id, plane, tally)).await;
        }
        Err(refused) => return refuse(front, refused, &asked, client, &id, tally, plane).await,
    };
    if let Some(route) = &routed.route {
        tally.for_route(route);
    }
    drop_claims(&mut asked);
    match carry(front, &mut asked, routed, client, &id, plane, tally).await {
        Ok(end) => end,
        Err((page, tally)) => refuse(front, page.into(), &asked, client, &id, tally, plane).await,
    }
}

/// Carries a request to an endpoint and its answer back.
///
/// # Errors
/// The page that the client gets instead; nothing was sent to it.
pub(crate) async fn carry<F: Front>(
    front: &mut F,
    asked: &mut Asked,
    routed: Routed,
    client: &Client,
    id: &Id,
    plane: &Arc<Plane>,
    mut tally: Tally,
) -> Result<End, (Page, Tally)> {
    let answered = attempt::run(front, asked, routed, client, id, plane, &mut tally).await;
    let delivered = match answered {
        Ok(answering) => deliver::run(front, asked, answering, id, plane, tally).await,
        Err(failure) => Err((failure, tally)),
    };
    match delivered {
        Err((Failure::Final(page), tally)) => Err((page, tally)),
        // Nobody is there to be told anything.
        Err(_) => Ok(End::Cut),
        Ok(end) => Ok(end),
    }
}

/// Everything that can be said before an endpoint is asked.
fn consider(asked: &mut Asked, client: &Client, plane: &Plane) -> Result<Found, Refused> {
    if asked.head.method == Method::Connect {
        return Err(Page::ConnectRefused.into());
    }
    if matches!(asked.head.framing, Framing::Length(length) if plane.limits.body_bytes.is_some_and(|most| length > most))
    {
        return Err(Page::TooLarge.into());
    }
    let (head, bytes) = (&asked.head, asked.bytes.bytes());
    let host = head.host.bytes(bytes);
    if client.session.as_ref().is_some_and(|session| !session.is_for(host)) {
        return Err(Page::Misdirected.into());
    }
    let snapshot = plane.snapshot.load();
    let snapshot = snapshot.as_deref().ok_or(Page::NoTable)?;
    let target = Target { host, path: asked.path(), origin: head.origin.bytes(bytes) };
    if let Some(location) = snapshot.https.elsewhere(target, client.secure) {
        return Err(Refused { fields: vec![("location".into(), location)], ..Page::Moved.into() });
    }
    if snapshot.https.asks_clients() {
        let shown = snapshot.https.shown(host, client)?;
        tell_shown(asked, shown);
    }
    Ok(find(snapshot, asked, client)?)
}

/// What answers over TLS tell browsers to remember.
fn hsts(asked: &Asked, client: &Client, plane: &Plane) -> Option<Arc<[u8]>> {
    let snapshot = client.secure.then(|| plane.snapshot.load())?;
    snapshot.as_deref()?.https.hsts(asked.head.host.bytes(asked.bytes.bytes()))
}

/// Looks into the newest snapshot. A request that a rule has let pass stays with its pool, as long as there is one of that name.
fn renew(plane: &Plane, asked: &Asked, client: &Client, routed: &Routed) -> Result<Routed, Page> {
    let snapshot = plane.snapshot.load();
    let snapshot = snapshot.as_deref().ok_or(Page::NoTable)?;
    if routed.change.is_none()
        && let Found::Plain(newest) = find(snapshot, asked, client)?
    {
        return Ok(newest);
    }
    let pool = snapshot.pool(&routed.pool.live.counters.id).ok_or(Page::NobodyReady)?;
    Ok(Routed { pool: Arc::clone(pool), ..routed.clone() })
}

/// What the newest table says of a request.
pub(crate) fn look_up(plane: &Plane, asked: &Asked, client: &Client) -> Result<Found, Page> {
    find(plane.snapshot.load().as_deref().ok_or(Page::NoTable)?, asked, client)
}

fn find(snapshot: &Snapshot, asked: &Asked, client: &Client) -> Result<Found, Page> {
    let bytes = asked.bytes.bytes();
    let host = asked.head.host.bytes(bytes);
    let shown = Shown { paper: asked, client };
    let (found, lead) = snapshot.find(host, asked.path(), &shown).ok_or(Page::UnknownHost)?;
    Ok(match lead {
        Lead::Plain(pool, route) => Found::Plain(Routed {
            pool: Arc::clone(pool),
            strip: found.strip,
            route: route.clone(),
            change: None,
        }),
        Lead::Ruled(route) => Found::Ruled(Arc::clone(route), found.strip),
    })
}

/// Answers with a page of our own.
pub(crate) async fn refuse<F: Front>(
    front: &mut F,
    refused: Refused,
    asked: &Asked,
    client: &Client,
    id: &Id,
    mut tally: Tally,
    plane: &Plane,
) -> End {
    let Refused { page, fields, message, pages } = refused;
    tally.refused(page);
    swallow(front);
    let bytes = asked.bytes.bytes();
    let wants = Wants::of(asked);
    let text = std::str::from_utf8(id.text(bytes)).unwrap_or_default();
    let pages = pages.or_else(|| plane.snapshot.load().as_deref()?.shared.pages().cloned());
    let (kind, text) = page.render(wants, text, message.as_deref(), pages.as_deref());
    let close = page.ends_connection() || plane.is_ending() || !front.is_body_over();
    let hsts = hsts(asked, client, plane);
    let mut own = vec![(ID_HEADER, Some(id.text(bytes))), (HSTS_HEADER, hsts.as_deref())];
    own.extend(fields.iter().map(|(name, value)| (&**name, Some(&**value))));
    page.write_head(front, kind, text.len(), &own, close);
    let body = if wants.is_head() { &[] } else { text.as_bytes() };
    send_own(front, body, tally, plane).await
}

/// Answers as the table would have it.
pub(crate) async fn reply<F: Front>(
    front: &mut F,
    reply: Reply<'_>,
    asked: &Asked,
    client: &Client,
    id: &Id,
    mut tally: Tally,
    plane: &Plane,
) -> End {
    let Reply { status, fields, body } = reply;
    tally.replied(status);
    swallow(front);
    let close = plane.is_ending() || !front.is_body_over();
    let length = body.len().to_string();
    let mut own = vec![(ID_HEADER, id.text(asked.bytes.bytes()))];
    own.extend(fields);
    let hsts = hsts(asked, client, plane);
    own.extend(hsts.as_deref().map(|hsts| (HSTS_HEADER, hsts)));
    let has_none = matches!(status, 204 | 304);
    if !has_none {
        own.push(("content-length", length.as_bytes()));
    }
    let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
    let reason = reason.unwrap_or_default().as_bytes();
    let kind = if has_none { AnswerBody::None } else { AnswerBody::Sized };
    front.head(&Answer { status, reason, passed: None, own: &own, body: kind, close });
    let body = if has_none || asked.head.method == Method::Head { &[] } else { body };
    send_own(front, body, tally, plane).await
}

/// Sends a body of our own and ends the request.
async fn send_own<F: Front>(front: &mut F, body: &[u8], mut tally: Tally, plane: &Plane) -> End {
    tally.sent(body.len());
    tally.whole();
    if send_whole(front, body, plane.limits.client_stall).await.is_err() {
        return End::Cut;
    }
    if front.goes_on() { End::Next } else { End::Close }
}

/// Takes what is here already of a body that nobody wants, so that small ones don't end the connection.
fn swallow<F: Front>(front: &mut F) {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    while let std::task::Poll::Ready(Ok(count @ 1..)) = front.poll_body(&mut cx) {
        front.consume(count);
    }
}
