//! One request over one connection to an endpoint: the request up, the answer down, both at once where they overlap.
//!
//! Everything is polled by the client connection's own task. Nothing is awaited that has no deadline: who is waited for, and
//! since when, is noted as bytes move, and one alarm watches over it.

mod download;
mod upload;

use std::future::poll_fn;
use std::io;
use std::task::Poll;
use std::time::Duration;

use pando_http::NotHttp;

use crate::front::{Answer, AnswerBody, BodyError, Front};
use crate::time::{Alarm, span, ticks};
use crate::upstream::{Heard, Link, LinkError, Reader};
pub(crate) use download::{Delivered, Download};
pub(crate) use upload::Upload;
use upload::UploadError;

/// In ticks. An answer that takes longer is worth a look whether its machine is still there.
const LOOK_AFTER: u64 = 500;

/// How long an exchange may wait; see [`pando_routing::Timeouts`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Waits {
    pub(crate) response: Duration,
    pub(crate) idle: Duration,
    /// A client that takes no byte while there are some for it.
    pub(crate) stall: Duration,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExchangeError {
    /// Nor is anything of the body taken.
    #[error("the connection was over before the request went out")]
    NotSent,
    #[error("the connection ended without a byte of an answer: {0}")]
    Unanswered(LinkError),
    #[error("the endpoint's machine is not there any more")]
    Gone,
    #[error("the connection broke: {0}")]
    Broken(LinkError),
    #[error("what came is not HTTP: {0}")]
    NotHttp(#[from] NotHttp),
    #[error("no head of an answer in time, or no progress with the request's body")]
    Silent,
    #[error("the client stopped sending the request's body")]
    ClientStalled,
    #[error("the request's body is malformed: {0}")]
    ClientBroken(pando_http::Malformed),
    #[error("the request's body is larger than it may be")]
    TooLarge,
    #[error("the client has gone")]
    ClientGone,
}

/// Sends what is left of the request, and waits for the head of an answer. Where nothing was heard of it for a while, it is not
/// waited for any longer once `is_gone`. To be called again after an answer that was none (1xx).
pub(crate) async fn head<F: Front>(
    front: &mut F,
    link: &mut Link,
    upload: &mut Upload,
    (alarm, mut reader): (&mut Alarm, Reader<'_>),
    waits: Waits,
    is_gone: impl Fn() -> bool,
) -> Result<Heard, ExchangeError> {
    let mut look = None;
    poll_fn(|cx| {
        if !upload.is_over() {
            match upload.poll(cx, front, link) {
                Poll::Ready(Err(UploadError::Client(error))) => return Poll::Ready(Err(of_client(error))),
                Poll::Ready(Err(UploadError::TooLarge)) => return Poll::Ready(Err(ExchangeError::TooLarge)),
                // It may have answered before it closed.
                Poll::Ready(Err(UploadError::Link(_))) => upload.stop(),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        if let Poll::Ready(heard) = link.poll_head(cx, Some(reader.again())) {
            return Poll::Ready(heard.map_err(|error| explain(link, upload.is_untouched(), error)));
        }
        if let Poll::Ready(Err(_)) = front.poll_flush(cx) {
            return Poll::Ready(Err(ExchangeError::ClientGone));
        }
        if upload.is_over() && front.poll_gone(cx).is_ready() {
            return Poll::Ready(Err(ExchangeError::ClientGone));
        }
        let deadline = upload.deadline(&waits);
        let mut next_look = look.unwrap_or_else(|| upload.moved().saturating_add(LOOK_AFTER));
        while alarm.poll(cx, deadline.min(next_look).min(upload.held_until())).is_ready() {
            if ticks() >= deadline {
                return Poll::Ready(Err(upload.overdue()));
            }
            if upload.is_held() && ticks() >= upload.held_until() {
                go_on(front, upload);
                cx.waker().wake_by_ref();
            }
            if ticks() >= next_look {
                if is_gone() && !link.heard_any() {
                    return Poll::Ready(Err(ExchangeError::Gone));
                }
                next_look = ticks().saturating_add(LOOK_AFTER);
            }
        }
        look = Some(next_look);
        Poll::Pending
    })
    .await
}

/// Tells the client, who waits for it, to send its body.
pub(crate) fn go_on<F: Front>(front: &mut F, upload: &mut Upload) {
    if upload.is_held() {
        upload.open();
        let (reason, own): (&[u8], _) = (b"Continue", &[]);
        let body = AnswerBody::None;
        front.interim(&Answer { status: 100, reason, passed: None, own, body, close: false });
    }
}

fn of_client(error: BodyError) -> ExchangeError {
    match error {
        BodyError::Malformed(pando_http::Malformed::BrokenOff) | BodyError::Broken(_) => {
            ExchangeError::ClientGone
        }
        BodyError::Malformed(malformed) => ExchangeError::ClientBroken(malformed),
    }
}

/// As [`head`], of a request that is its head alone, and apart from its client.
pub(crate) async fn alone(link: &mut Link, response: Duration) -> Result<Heard, ExchangeError> {
    let mut sent = false;
    let asking = poll_fn(|cx| {
        if !sent {
            // Where it can't be written, the endpoint may have answered before it closed.
            sent = link.poll_write(cx, &[]).is_ready();
        }
        link.poll_head(cx, None)
    });
    let heard = tokio::time::timeout(response, asking).await;
    match heard {
        Ok(heard) => heard.map_err(|error| explain(link, true, error)),
        Err(_) => Err(ExchangeError::Silent),
    }
}

/// `untouched`: nothing of the client's body was taken.
fn explain(link: &Link, untouched: bool, error: LinkError) -> ExchangeError {
    match link.heard_any() {
        true => ExchangeError::Broken(error),
        false if !link.sent_any() => ExchangeError::NotSent,
        false if link.wire.was_refused() && untouched => ExchangeError::NotSent,
        false => ExchangeError::Unanswered(error),
    }
}

/// Sends a body that is all here.
///
/// # Errors
/// The client has gone, or takes nothing for too long.
pub(crate) async fn send_whole<F: Front>(front: &mut F, body: &[u8], stall: Duration) -> io::Result<()> {
    let mut rest = body;
    let sending = poll_fn(|cx| {
        while !rest.is_empty() {
            let sent = std::task::ready!(front.poll_data(cx, rest))?;
            rest = &rest[sent..];
        }
        front.poll_end(cx, None)
    });
    tokio::time::timeout(stall, sending).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// A duration from a moment on, in ticks.
fn after(moment: u64, duration: Duration) -> u64 {
    moment.saturating_add(span(duration))
}
