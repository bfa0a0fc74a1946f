//! A request on its way up: its head, then its body, as the client sends it.

use std::io;
use std::task::{Context, Poll, ready};

use pando_http::{Framing, RequestHead, write};

use super::{ExchangeError, Waits, after};
use crate::front::{BodyError, Front};
use crate::time::ticks;
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
    /// When something last moved.
    moved: u64,
    /// The endpoint would take more, and the client has sent none.
    wants_client: bool,
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
    Link(#[allow(dead_code, reason = "it is read in traces")] io::Error),
}

impl Upload {
    pub(crate) fn new(head: &RequestHead) -> Self {
        let moved = ticks();
        let state = match head.framing {
            Framing::Empty => State::Flush,
            _ if head.expects_continue => State::Held { until: moved + HOLD },
            _ => State::Body,
        };
        Self { state, chunked: head.framing == Framing::Chunked, moved, wants_client: false }
    }

    /// Nothing more will be sent.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.state, State::Done | State::Stopped)
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
        after(self.moved, wait)
    }

    pub(super) fn overdue(&self) -> ExchangeError {
        match self.wants_client && self.state == State::Body {
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

    /// One piece of the body.
    fn poll_body<F: Front>(
        &mut self,
        cx: &mut Context<'_>,
        front: &mut F,
        link: &mut Link,
    ) -> Poll<Result<(), UploadError>> {
        let body = front.poll_body(cx);
        self.wants_client = body.is_pending();
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
            }
            Poll::Ready(Ok(_)) => {
                let sent = ready!(link.poll_write(cx, front.body())).map_err(UploadError::Link)?;
                front.consume(sent);
            }
        }
        self.moved = ticks();
        Poll::Ready(Ok(()))
    }
}
