//! A request's body on its way from the client to an endpoint.
//!
//! It is never collected. While it moves it leaves marks, from which the exchange
//! tells whether the client or the endpoint is the slow one.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::gate::{Gate, Opener};
use crate::time::ticks;

/// A request's body. Opaque: made by the server side, taken by the client side.
#[derive(Debug)]
pub(crate) struct Upload {
    body: Option<Incoming>,
    progress: Option<Arc<Progress>>,
    gate: Option<Gate>,
}

/// How far a body has come.
#[derive(Debug)]
pub(super) struct Progress {
    /// When the last frame came or went.
    moved: AtomicU64,
    /// When all was handed over; 0 until then.
    done: AtomicU64,
    /// The endpoint is ready for more and the client has sent none.
    wants_client: AtomicBool,
    broken: AtomicBool,
}

impl Upload {
    pub(super) fn new(body: Incoming) -> Self {
        if body.is_end_stream() {
            return Self::empty();
        }
        Self { body: Some(body), progress: Some(Arc::new(Progress::new())), gate: None }
    }

    /// No body.
    pub(crate) fn empty() -> Self {
        Self { body: None, progress: None, gate: None }
    }

    /// Whether there is a body at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.body.is_none()
    }

    /// Whether its length is known before it comes.
    pub(super) fn is_sized(&self) -> bool {
        self.size_hint().exact().is_some()
    }

    pub(super) fn progress(&self) -> Option<Arc<Progress>> {
        self.progress.clone()
    }

    /// Keeps the body back until the opener is used. Repeating it makes a new gate.
    pub(super) fn hold(&mut self) -> Opener {
        let (gate, opener) = Gate::new();
        self.gate = Some(gate);
        opener
    }
}

impl Progress {
    fn new() -> Self {
        Self {
            moved: AtomicU64::new(ticks()),
            done: AtomicU64::new(0),
            wants_client: AtomicBool::new(false),
            broken: AtomicBool::new(false),
        }
    }

    pub(super) fn moved(&self) -> u64 {
        self.moved.load(Relaxed)
    }

    pub(super) fn done(&self) -> Option<u64> {
        Some(self.done.load(Relaxed)).filter(|at| *at != 0)
    }

    pub(super) fn wants_client(&self) -> bool {
        self.wants_client.load(Relaxed)
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken.load(Relaxed)
    }

    fn note(&self, frame: Poll<bool>) {
        self.wants_client.store(frame.is_pending(), Relaxed);
        if let Poll::Ready(last) = frame {
            let now = ticks();
            self.moved.store(now, Relaxed);
            if last {
                self.done.store(now, Relaxed);
            }
        }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        if let Some(gate) = &mut this.gate {
            ready!(gate.poll_open(cx));
            this.gate = None;
        }
        let Some(body) = &mut this.body else { return Poll::Ready(None) };
        let frame = Pin::new(&mut *body).poll_frame(cx);
        if let Some(progress) = &this.progress {
            if matches!(frame, Poll::Ready(Some(Err(_)))) {
                progress.broken.store(true, Relaxed);
            }
            let is_last = matches!(frame, Poll::Ready(None)) || body.is_end_stream();
            progress.note(if frame.is_pending() { Poll::Pending } else { Poll::Ready(is_last) });
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
