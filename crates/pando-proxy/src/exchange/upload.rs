//! A request on its way up: its head, then its body, as the client sends it.

use std::io;
use std::task::{Context, Poll, ready};

use pando_http::{Framing, RequestHead, write};

use super::{ExchangeError, Waits, after};
use crate::front::{BodyError, Front};
use crate::settings::Limits;
use crate::time::{span, ticks};
use crate::upstream::Link;

/// How long an endpoint has to say `100 Continue` (in ticks): what curl waits. One that doesn't know the custom gets the body
/// then.
const HOLD: u64 = 1_000;

/// Chunks that are queued before they are written.
const ENOUGH: usize = 32 << 10;

/// How far a request has come.
#[derive(Debug)]
pub(crate) struct Upload {
    state: State,
    chunked: bool,
    bounds: Bounds,
    /// Of the body.
    sent: u64,
    /// When something last moved.
    moved: u64,
    /// Since when the endpoint would take more and the client has sent none.
    wants_client: Option<u64>,
    /// How long that was before, in ticks.
    waited: u64,
}

/// What a client may do with a body.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// The most bytes that it may have.
    size: u64,
    /// Bytes a second, once it was waited for so long (in ticks); 0: any.
    rate: u64,
    grace: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The client waits to be told to send its body; the endpoint is asked.
    Held {
        until: u64,
    },
    Body,
    /// All is queued.
    Flush,
    Done,
    /// The endpoint takes no more.
    Stopped,
}

/// Whose fault it is.
#[derive(Debug)]
pub(super) enum UploadError {
    Client(BodyError),
    /// There is more of the body than may be.
    TooLarge,
    Link(#[allow(dead_code, reason = "it is read in traces")] io::Error),
}

impl Upload {
    pub(crate) fn new(head: &RequestHead, limits: &Limits) -> Self {
        let moved = ticks();
        let chunked = head.framing == Framing::Chunked;
        // What has no end told may be a stream, with pauses.
        let rate = if chunked { 0 } else { limits.body_rate };
        let size = limits.body_bytes.unwrap_or(u64::MAX);
        let bounds = Bounds { size, rate, grace: span(limits.body_grace) };
        let state = match head.framing {
            Framing::Empty => State::Flush,
            _ if head.expects_continue => State::Held { until: moved + HOLD },
            _ => State::Body,
        };
        Self { state, chunked, bounds, sent: 0, moved, wants_client: None, waited: 0 }
    }

    /// Of a request that is its head alone, and was sent.
    pub(crate) fn done() -> Self {
        let bounds = Bounds { size: 0, rate: 0, grace: 0 };
        let (state, moved) = (State::Done, ticks());
        Self { state, chunked: false, bounds, sent: 0, moved, wants_client: None, waited: 0 }
    }

    /// Nothing more will be sent.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Done | State::Stopped)
    }

    /// Bytes of the client's body that went up.
    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Nothing of the client's body was taken.
    pub(super) fn is_untouched(&self) -> bool {
        self.sent == 0
    }

    /// The endpoint has all of it.
    pub(crate) fn is_whole(&self) -> bool {
        self.state == State::Done
    }

    pub(crate) fn is_held(&self) -> bool {
        matches!(self.state, State::Held { .. })
    }

    /// The client was told to go on, or is to be.
    pub(crate) fn open(&mut self) {
        if self.is_held() {
            self.state = State::Body;
            self.moved = ticks();
        }
    }

    pub(super) fn stop(&mut self) {
        self.state = State::Stopped;
        self.moved = ticks();
    }

    pub(super) fn moved(&self) -> u64 {
        self.moved
    }

    pub(super) fn held_until(&self) -> u64 {
        match self.state {
            State::Held { until } => until,
            _ => u64::MAX,
        }
    }

    /// By when something must happen, in ticks.
    pub(super) fn deadline(&self, waits: &Waits) -> u64 {
        let wait = if self.is_over() || self.is_held() { waits.response } else { waits.idle };
        after(self.moved, wait).min(self.too_slow_at())
    }

    /// When the client, if it goes on sending nothing, is slower than it may be.
    fn too_slow_at(&self) -> u64 {
        let (Some(since), State::Body) = (self.wants_client, self.state) else { return u64::MAX };
        let earned = self.sent.saturating_mul(1000).checked_div(self.bounds.rate).unwrap_or(u64::MAX);
        since.saturating_add(self.bounds.grace.saturating_add(earned).saturating_sub(self.waited))
    }

    pub(super) fn overdue(&self) -> ExchangeError {
        match self.wants_client.is_some() && self.state == State::Body {
            true => ExchangeError::ClientStalled,
            false => ExchangeError::Silent,
        }
    }

    /// Sends as much as goes. Ready when all was given to the kernel.
    pub(super) fn poll<F: Front>(
        &mut self,
        cx: &mut Context<'_>,
        front: &mut F,
        link: &mut Link,
    ) -> Poll<Result<(), UploadError>> {
        loop {
            match self.state {
                State::Held { .. } => {
                    ready!(link.poll_write(cx, &[])).map_err(UploadError::Link)?;
                    return Poll::Pending;
                }
                State::Body => ready!(self.poll_body(cx, front, link))?,
                State::Flush => {
                    ready!(link.poll_write(cx, &[])).map_err(UploadError::Link)?;
                    self.state = State::Done;
                    self.moved = ticks();
                }
                State::Done | State::Stopped => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Adds up how long the client was waited for.
    fn note_wait(&mut self, waits: bool) {
        match (self.wants_client, waits) {
            (None, true) => self.wants_client = Some(ticks()),
            (Some(since), false) => {
                self.waited = self.waited.saturating_add(ticks().saturating_sub(since));
                self.wants_client = None;
            }
            (None, false) | (Some(_), true) => {}
        }
    }

    /// One piece of the body.
    fn poll_body<F: Front>(
        &mut self,
        cx: &mut Context<'_>,
        front: &mut F,
        link: &mut Link,
    ) -> Poll<Result<(), UploadError>> {
        let body = front.poll_body(cx);
        self.note_wait(body.is_pending());
        match body {
            Poll::Pending => {
                // What is here must not wait for what is not.
                ready!(link.poll_write(cx, &[])).map_err(UploadError::Link)?;
                return Poll::Pending;
            }
            Poll::Ready(Err(error)) => return Poll::Ready(Err(UploadError::Client(error))),
            Poll::Ready(Ok(0)) => {
                if self.chunked {
                    write::end(link.queue(), front.trailers());
                }
                self.state = State::Flush;
            }
            Poll::Ready(Ok(count)) if self.chunked => {
                if link.queued() >= ENOUGH {
                    ready!(link.poll_write(cx, &[])).map_err(UploadError::Link)?;
                }
                write::chunk(link.queue(), front.body());
                front.consume(count);
                self.sent += count as u64;
                if self.sent > self.bounds.size {
                    return Poll::Ready(Err(UploadError::TooLarge));
                }
            }
            Poll::Ready(Ok(_)) => {
                let sent = ready!(link.poll_write(cx, front.body())).map_err(UploadError::Link)?;
                front.consume(sent);
                self.sent += sent as u64;
            }
        }
        self.moved = ticks();
        Poll::Ready(Ok(()))
    }
}
