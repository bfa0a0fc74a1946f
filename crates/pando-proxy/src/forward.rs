//! What happens to one request: where it goes, what is tried, what the client gets.

mod admit;
mod attempt;
mod deliver;
mod id;
mod page;
mod past;
mod tally;

use std::sync::Arc;

use pando_http::{Framing, Method};
use pando_routing::balance::sticky::Token;

use crate::asked::Asked;
use crate::balance::moment;
use crate::client::Client;
use crate::exchange::{Upload, send_whole};
use crate::front::Front;
use crate::https::Target;
use crate::live::Lease;
use crate::plane::Plane;
use crate::rules::Shown;
use crate::snapshot::{PoolView, Snapshot};
use crate::tunnel::Tunnel;
use crate::upstream::{Heard, Link, drop_claims};
use attempt::Failure;
pub(crate) use id::{HEADER as ID_HEADER, Id};
use page::{Page, Wants};
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
#[derive(Debug)]
struct Routed {
    pool: Arc<PoolView>,
    /// Bytes to take off the path.
    strip: usize,
}

/// The client gets a page of ours.
struct Refused {
    page: Page,
    /// Where to ask instead.
    location: Option<Vec<u8>>,
}

impl From<Page> for Refused {
    fn from(page: Page) -> Self {
        Self { page, location: None }
    }
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
    let mut tally = Tally::begin(plane, &asked, client, &id, began);
    let routed = match consider(&asked, client, plane) {
        Ok(routed) => routed,
        Err(refused) => return refuse(front, refused, &asked, client, &id, tally, plane).await,
    };
    drop_claims(&mut asked);
    let answered = attempt::run(front, &mut asked, routed, client, &id, plane, &mut tally).await;
    let delivered = match answered {
        Ok(answering) => deliver::run(front, &mut asked, answering, &id, plane, tally).await,
        Err(failure) => Err((failure, tally)),
    };
    match delivered {
        Ok(end) => end,
        Err((Failure::Final(page), tally)) => {
            refuse(front, page.into(), &asked, client, &id, tally, plane).await
        }
        // Nobody is there to be told anything.
        Err(_) => End::Cut,
    }
}

/// Everything that can be said before an endpoint is asked.
fn consider(asked: &Asked, client: &Client, plane: &Plane) -> Result<Routed, Refused> {
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
        return Err(Refused { page: Page::Moved, location: Some(location) });
    }
    Ok(find(snapshot, asked, client)?)
}

/// What answers over TLS tell browsers to remember.
fn hsts(asked: &Asked, client: &Client, plane: &Plane) -> Option<Arc<[u8]>> {
    let snapshot = client.secure.then(|| plane.snapshot.load())?;
    snapshot.as_deref()?.https.hsts(asked.head.host.bytes(asked.bytes.bytes()))
}

/// Looks into the newest snapshot.
fn route(plane: &Plane, asked: &Asked, client: &Client) -> Result<Routed, Page> {
    find(plane.snapshot.load().as_deref().ok_or(Page::NoTable)?, asked, client)
}

fn find(snapshot: &Snapshot, asked: &Asked, client: &Client) -> Result<Routed, Page> {
    let bytes = asked.bytes.bytes();
    let host = asked.head.host.bytes(bytes);
    let shown = Shown { paper: asked, client };
    let (found, pool) = snapshot.find(host, asked.path(), &shown).ok_or(Page::UnknownHost)?;
    Ok(Routed { pool: Arc::clone(pool), strip: found.strip })
}

/// Answers with a page of our own.
async fn refuse<F: Front>(
    front: &mut F,
    refused: Refused,
    asked: &Asked,
    client: &Client,
    id: &Id,
    mut tally: Tally,
    plane: &Plane,
) -> End {
    let Refused { page, location } = refused;
    tally.refused(page);
    swallow(front);
    let bytes = asked.bytes.bytes();
    let wants = Wants::of(asked);
    let (kind, text) = page.render(wants, std::str::from_utf8(id.text(bytes)).unwrap_or_default());
    let close = page.ends_connection() || plane.is_ending() || !front.is_body_over();
    let hsts = hsts(asked, client, plane);
    let own = [
        (ID_HEADER, Some(id.text(bytes))),
        ("location", location.as_deref()),
        (HSTS_HEADER, hsts.as_deref()),
    ];
    page.write_head(front, kind, text.len(), &own, close);
    let body = if wants.is_head() { &[] } else { text.as_bytes() };
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
