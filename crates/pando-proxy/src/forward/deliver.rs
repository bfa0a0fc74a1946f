//! An endpoint's answer, from its first head to the client's last byte.

use std::time::Duration;

use pando_http::{Known, Method, ResponseFraming};
use pando_routing::balance::outlier::Failure;
use pando_routing::balance::sticky::SetCookie;

use super::attempt::{self, failure_for, waits};
use super::page::Page;
use super::{Answering, End, HSTS_HEADER, ID_HEADER, Id, Tally};
use crate::asked::{Asked, Paper};
use crate::balance::{Answered, moment};
use crate::exchange::{Delivered, Download, ExchangeError, go_on, head};
use crate::front::{Answer, AnswerBody, Front, Passed};
use crate::live::Endpoint;
use crate::plane::Plane;
use crate::tunnel::{Switched, Tunnel, curfew};
use crate::upstream::{HEAD_LIMITS, Heard, Link, UpgradeAsked};

/// What an answer's head says that it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Kind {
    /// Another one follows.
    Interim,
    Upgrade(UpgradeAsked),
    Proper,
}

/// # Errors
/// Why the client gets something else; nothing of an answer proper was sent then.
pub(super) async fn run<F: Front>(
    front: &mut F,
    asked: &mut Asked,
    mut answering: Answering,
    id: &Id,
    plane: &Plane,
    mut tally: Tally,
) -> Result<End, (attempt::Failure, Tally)> {
    loop {
        match answering.kind {
            Kind::Proper | Kind::Upgrade(_) if !front.agrees(&passed(asked, &answering)) => {
                answering.lease.failed(&answering.routed.pool, Failure::Garbage);
                return Err((attempt::Failure::Final(Page::Broken), tally));
            }
            Kind::Proper => {
                let (delivered, at) = proper(front, asked, &mut answering, id, plane, &mut tally).await;
                return Ok(conclude(front, asked, answering, delivered, at, tally));
            }
            Kind::Upgrade(upgrade) => {
                // Boxed: other requests have no room for it.
                return Ok(Box::pin(upgraded(front, asked, answering, upgrade, id, tally)).await);
            }
            Kind::Interim => pass_interim(front, asked, &mut answering),
        }
        let Answering { link, upload, routed, lease, heard, kind, .. } = &mut answering;
        let next = match head(front, link, upload, asked.ears(), waits(&routed.pool, plane), || false).await {
            Ok(next) => read(asked, link, next).map(|kind| (next, kind)),
            Err(error) => Err(error),
        };
        match next {
            Ok(next) => (*heard, *kind) = next,
            Err(error) => return Err((failure_for(&error, lease, &routed.pool, false), tally)),
        }
    }
}

/// Reads the head that was heard on `link` into `asked.response`.
///
/// # Errors
/// It is no HTTP, or nothing that was asked for.
pub(super) fn read(asked: &mut Asked, link: &Link, heard: Heard) -> Result<Kind, ExchangeError> {
    let upgrade = UpgradeAsked::of(asked);
    if !heard.was_read {
        let bytes = &link.inbox.bytes()[..heard.len];
        let method = asked.head.method;
        asked.response.read(bytes, method, &HEAD_LIMITS)?;
    }
    match (asked.response.status, upgrade) {
        (101, Some(upgrade)) => Ok(Kind::Upgrade(upgrade)),
        // Nobody asked: whatever this is, it isn't an answer.
        (101, None) => Err(ExchangeError::NotHttp(pando_http::NotHttp::Unasked)),
        (100..=199, _) => Ok(Kind::Interim),
        _ => Ok(Kind::Proper),
    }
}

/// What a `Retry-After` in seconds says, in microseconds.
fn retry_after(asked: &Asked, answering: &Answering) -> Option<u64> {
    let field = asked.response.fields.first(Known::RetryAfter)?;
    let bytes = answering.link.inbox.bytes();
    let seconds: u64 = field.value.text(bytes).parse().ok()?;
    Some(seconds.saturating_mul(1_000_000))
}

fn set_cookie(answering: &Answering) -> Option<String> {
    let policy = &answering.routed.pool.sticky.as_ref()?.policy;
    let (token, tls) = (answering.token?, answering.secure);
    Some(SetCookie { policy, token, tls }.to_string())
}

fn passed<'a>(paper: &'a Paper, answering: &'a Answering) -> Passed<'a> {
    let heard = answering.heard;
    Passed { head: &paper.response, bytes: &answering.link.inbox.bytes()[..heard.len], clean: heard.clean }
}

/// `100 Continue` is for whoever waits for it; early hints and the like are for whoever understands them.
fn pass_interim<F: Front>(front: &mut F, asked: &Asked, answering: &mut Answering) {
    if asked.response.status == 100 {
        go_on(front, &mut answering.upload);
    } else {
        let passed = passed(asked, answering);
        front.interim(&Answer {
            status: asked.response.status,
            reason: asked.response.reason.bytes(passed.bytes),
            passed: Some(passed),
            own: &[],
            body: AnswerBody::None,
            close: false,
        });
    }
    answering.link.inbox.consume(answering.heard.len);
    answering.link.expect_head();
}

fn body(method: Method, status: u16, framing: ResponseFraming) -> AnswerBody {
    match framing {
        _ if method == Method::Head || matches!(status, 204 | 304) => AnswerBody::None,
        ResponseFraming::Empty | ResponseFraming::Length(_) => AnswerBody::Sized,
        ResponseFraming::Chunked | ResponseFraming::UntilClose => AnswerBody::Open,
    }
}

fn write_head<F: Front>(front: &mut F, asked: &mut Asked, answering: &mut Answering, id: &Id, close: bool) {
    let hsts = answering.hsts.take();
    let bytes = &answering.link.inbox.bytes()[..answering.heard.len];
    let is_ours = |name: &[u8]| hsts.is_some() && name.eq_ignore_ascii_case(HSTS_HEADER.as_bytes());
    asked
        .response
        .fields
        .drop_if(|field| field.known == pando_http::Known::XRequestId || is_ours(field.name.bytes(bytes)));
    let (status, framing) = (asked.response.status, asked.response.framing);
    let cookie = set_cookie(answering);
    let passed = passed(asked, answering);
    let id = id.text(asked.bytes.bytes());
    let mut own: [(&'static str, &[u8]); 3] = [(ID_HEADER, id), (ID_HEADER, id), (ID_HEADER, id)];
    let mut count = 1;
    let more = [(HSTS_HEADER, hsts.as_deref()), ("set-cookie", cookie.as_deref().map(str::as_bytes))];
    for (name, value) in more {
        if let Some(value) = value {
            own[count] = (name, value);
            count += 1;
        }
    }
    front.head(&Answer {
        status,
        reason: asked.response.reason.bytes(passed.bytes),
        passed: Some(passed),
        own: &own[..count],
        body: body(asked.head.method, status, framing),
        close,
    });
    answering.link.inbox.consume(answering.heard.len);
}

/// How the answer's way to the client ended, and when the endpoint had said all, in the microseconds of `moment`.
async fn proper<F: Front>(
    front: &mut F,
    asked: &mut Asked,
    answering: &mut Answering,
    id: &Id,
    plane: &Plane,
    tally: &mut Tally,
) -> (Delivered, u64) {
    let status = asked.response.status;
    let now = moment::now();
    tally.heard(status, now);
    let wait = if status >= 400 { retry_after(asked, answering) } else { None };
    let has_end = matches!(asked.response.framing, ResponseFraming::Empty | ResponseFraming::Length(_));
    let answered = Answered { now, status, retry_after: wait, whole: has_end };
    answering.lease.answered(&answering.routed.pool, answered);
    // Who was never told to send its body can't be told where the next request begins.
    let close = plane.is_ending() || answering.upload.is_held();
    let events = event_drain(asked, answering);
    write_head(front, asked, answering, id, close);
    let Answering { link, lease, upload, routed, .. } = answering;
    let mut download = Download::new(asked.response.framing);
    let waits = waits(&routed.pool, plane);
    let alarm = &mut asked.alarm;
    let mut said_at = now;
    let said_all = |at_once: bool| {
        if !at_once {
            said_at = moment::now();
        }
        tally.count_whole(said_at);
    };
    let delivered = match events {
        None => download.run(front, link, upload, alarm, waits, said_all).await,
        Some(drain) => {
            let delivering = download.run(front, link, upload, alarm, waits, said_all);
            // Boxed: only streams of events have room for it.
            Box::pin(until_curfew(delivering, &lease.endpoint, plane, drain)).await
        }
    };
    let delivered = match delivered {
        Delivered::Curfew => download.end(front, waits.stall).await,
        delivered => delivered,
    };
    tally.sent(usize::try_from(download.sent()).unwrap_or(usize::MAX));
    (delivered, said_at)
}

fn conclude<F: Front>(
    front: &F,
    asked: &Asked,
    answering: Answering,
    delivered: Delivered,
    said_at: u64,
    mut tally: Tally,
) -> End {
    let Answering { link, mut lease, upload, routed, .. } = answering;
    tally.received(upload.sent());
    match delivered {
        Delivered::Whole => {
            lease.ended(&routed.pool, said_at);
            if asked.response.persistent && upload.is_whole() && link.inbox.is_empty() {
                lease.endpoint.idle.put(link);
            }
            if front.goes_on() { End::Next } else { End::Close }
        }
        Delivered::Cut => {
            lease.failed(&routed.pool, Failure::Reset);
            tally.cut();
            End::Cut
        }
        // It was passed on as it came, and ended where a stream of events may end.
        Delivered::Curfew => {
            lease.ended(&routed.pool, moment::now());
            if front.goes_on() { End::Next } else { End::Close }
        }
        Delivered::ClientGone => End::Cut,
    }
}

/// How long the answer may go on while its endpoint drains, if it is a stream of events.
fn event_drain(asked: &Asked, answering: &Answering) -> Option<Duration> {
    if !matches!(asked.response.framing, ResponseFraming::Chunked | ResponseFraming::UntilClose) {
        return None;
    }
    let kind = asked.response.fields.first(Known::ContentType)?;
    let kind = kind.value.bytes(answering.link.inbox.bytes());
    let name = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    let millis = answering.routed.pool.settings.drain.event_stream_millis;
    name.eq_ignore_ascii_case(b"text/event-stream").then(|| Duration::from_millis(millis))
}

async fn until_curfew(
    delivering: impl Future<Output = Delivered>,
    endpoint: &Endpoint,
    plane: &Plane,
    drain: Duration,
) -> Delivered {
    tokio::select! {
        delivered = delivering => delivered,
        // What was passed on by then stays passed on.
        () = curfew::wait(endpoint, plane, drain) => Delivered::Curfew,
    }
}

async fn upgraded<F: Front>(
    front: &mut F,
    asked: &mut Asked,
    mut answering: Answering,
    upgrade: UpgradeAsked,
    id: &Id,
    mut tally: Tally,
) -> End {
    let protocol = asked.response.upgrade.map(|span| {
        let bytes = &answering.link.inbox.bytes()[..answering.heard.len];
        span.bytes(bytes).to_vec()
    });
    asked.response.fields.drop_if(|field| field.known == pando_http::Known::XRequestId);
    let passed = passed(asked, &answering);
    let id = id.text(asked.bytes.bytes());
    let cookie = set_cookie(&answering);
    let mut own: Vec<(&'static str, &[u8])> = vec![("connection", b"upgrade"), (ID_HEADER, id)];
    own.extend(protocol.as_deref().map(|protocol| ("upgrade", protocol)));
    own.extend(cookie.as_deref().map(|cookie| ("set-cookie", cookie.as_bytes())));
    front.head(&Answer {
        status: 101,
        reason: asked.response.reason.bytes(passed.bytes),
        passed: Some(passed),
        own: &own,
        body: AnswerBody::None,
        close: false,
    });
    answering.link.inbox.consume(answering.heard.len);
    let now = moment::now();
    tally.heard(101, now);
    let answered = Answered { now, status: 101, retry_after: None, whole: false };
    answering.lease.answered(&answering.routed.pool, answered);
    answering.lease.ended(&answering.routed.pool, now);
    if std::future::poll_fn(|cx| front.poll_flush(cx)).await.is_err() {
        return End::Cut;
    }
    let Answering { link, lease, routed, .. } = answering;
    let settings = &routed.pool.settings;
    let idle = Duration::from_millis(settings.timeouts.idle_millis);
    let drain = Duration::from_millis(settings.drain.websocket_millis);
    let (upstream, first, is_websocket) = (link.wire, link.inbox, upgrade.is_websocket);
    let switched = Switched { upstream, first, lease, is_websocket, idle, drain };
    End::Tunnel(Tunnel::agree(switched, tally))
}
