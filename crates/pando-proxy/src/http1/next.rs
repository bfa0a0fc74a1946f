//! Waits for a connection's next request, and reads its head.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pando_http::{HeadScan, Limits as HeadLimits, Refusal, Scanned, empty_lines};

use super::front::Http1;
use crate::asked::Asked;
use crate::http2::PREFACE_HEAD;
use crate::settings::Limits;
use crate::time::{Alarm, span, ticks};
use crate::worker::Presence;

/// How long an idle connection lives on after the shutdown began, so that a request that is just on its way is still
/// answered, with a wish to close.
const LAST_REQUEST: Duration = Duration::from_millis(500);

/// What came.
#[derive(Debug)]
pub(super) enum Next {
    Asked(Asked),
    Refused(Refusal),
    /// The start of another protocol: HTTP/2. It is still in the input.
    Preface,
    /// A head began and did not end in time.
    TooSlow,
    /// The client closed, or was idle for too long, or the proxy ends.
    Over,
}

/// How long a connection waits: one alarm for all of its requests, and an ear for the shutdown.
pub(super) struct Patience<'a, F> {
    presence: &'a Presence,
    alarm: Alarm,
    stopping: Pin<F>,
    /// When the last idle connections are closed; once the shutdown has begun.
    last_request: Option<u64>,
}

impl<'a, F: std::ops::DerefMut<Target: Future<Output = ()>>> Patience<'a, F> {
    pub(super) fn new(stopping: Pin<F>, presence: &'a Presence) -> Self {
        Self { presence, alarm: Alarm::default(), stopping, last_request: None }
    }

    /// Ready when `deadline` has passed, or the end of an idle connection that the shutdown has met.
    fn poll(&mut self, cx: &mut Context<'_>, deadline: u64, is_idle: bool) -> Poll<()> {
        if self.last_request.is_none() && self.stopping.as_mut().poll(cx).is_ready() {
            self.last_request = Some(ticks() + span(LAST_REQUEST));
        }
        let last = self.last_request.filter(|_| is_idle).unwrap_or(u64::MAX);
        self.alarm.poll(cx, deadline.min(last))
    }
}

impl Http1 {
    /// Cancel-safe: what was read stays.
    pub(super) async fn next<F>(&mut self, limits: &Limits, patience: &mut Patience<'_, F>) -> Next
    where
        F: std::ops::DerefMut<Target: Future<Output = ()>>,
    {
        let head_limits = HeadLimits {
            head_bytes: limits.head_bytes,
            target_bytes: limits.target_bytes,
            fields: limits.head_fields,
        };
        let mut scan = HeadScan::default();
        let silent_since = ticks();
        let idle_until = silent_since.saturating_add(span(limits.client_idle));
        patience.presence.is_silent(silent_since);
        let mut head_until = None;
        poll_fn(|cx| {
            loop {
                if let Some(next) = self.look(&mut scan, &head_limits) {
                    patience.presence.works();
                    return Poll::Ready(next);
                }
                let filled = self.poll_fill(cx);
                if filled.is_pending() && matches!(self.wire.poll_release(cx), Poll::Ready(Err(_))) {
                    return Poll::Ready(Next::Over);
                }
                match filled {
                    Poll::Ready(Ok(1..)) => {}
                    Poll::Ready(_) => return Poll::Ready(Next::Over),
                    Poll::Pending if self.has_input() => {
                        let until = *head_until.get_or_insert_with(|| {
                            let now = ticks();
                            patience.presence.has_begun(now);
                            now.saturating_add(span(limits.head_time))
                        });
                        return patience.poll(cx, until, false).map(|()| Next::TooSlow);
                    }
                    Poll::Pending => return patience.poll(cx, idle_until, true).map(|()| Next::Over),
                }
            }
        })
        .await
    }

    /// What is here already; `None`: not enough.
    fn look(&mut self, scan: &mut HeadScan, limits: &HeadLimits) -> Option<Next> {
        let input = self.input();
        if input.first() == Some(&b'\r') {
            let skipped = empty_lines(input);
            self.skip(skipped);
        }
        let input = self.input();
        if input.first().is_some_and(|first| !first.is_ascii_graphic() && *first != b'\r') {
            return Some(Next::Refused(Refusal::RequestLine));
        }
        if input.is_empty() {
            return None;
        }
        if scan.is_new()
            && let Some(asked) = self.read_at_once(limits)
        {
            return Some(Next::Asked(asked));
        }
        match scan.strictly(self.input()) {
            Scanned::Whole { len, .. } => Some(self.read_head(len, limits)),
            Scanned::Bare => Some(Next::Refused(Refusal::LineEnd)),
            Scanned::Partial if self.input().len() > limits.head_bytes => {
                Some(Next::Refused(Refusal::LargeHead))
            }
            Scanned::Partial => None,
        }
    }

    /// As almost all come: whole, and without fault.
    fn read_at_once(&mut self, limits: &HeadLimits) -> Option<Asked> {
        let mut asked = Asked::blank();
        let len = asked.head.read_at_once(self.input(), limits)?;
        asked.bytes = self.take_input(len);
        Some(asked)
    }

    fn read_head(&mut self, len: usize, limits: &HeadLimits) -> Next {
        if self.input().starts_with(PREFACE_HEAD) {
            return Next::Preface;
        }
        let mut asked = Asked::blank();
        let paper = &mut *asked;
        paper.bytes = self.take_input(len);
        match paper.head.read(paper.bytes.bytes(), limits) {
            Ok(()) => Next::Asked(asked),
            Err(refusal) => Next::Refused(refusal),
        }
    }
}
