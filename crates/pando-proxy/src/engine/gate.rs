//! Holds a body back until the endpoint says `100 Continue`.
//!
//! A client that expects to be told whether to send its body is asking the endpoint,
//! not us. The head goes upstream with its `Expect`; the body waits here. An
//! endpoint that doesn't know the custom gets the body after a second, as
//! clients do it.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::time::{Alarm, ticks};

/// How long an endpoint has to say `100 Continue`: what curl waits.
const PATIENCE_MILLIS: u64 = 1_000;

/// The side that waits.
#[derive(Debug)]
pub(super) struct Gate {
    shared: Arc<Shared>,
    deadline: u64,
    alarm: Alarm,
}

/// The side that opens. Clones open the same gate.
#[derive(Debug, Clone)]
pub(super) struct Opener(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    open: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Gate {
    pub(super) fn new() -> (Self, Opener) {
        let shared = Arc::new(Shared::default());
        let gate = Self {
            shared: Arc::clone(&shared),
            deadline: ticks() + PATIENCE_MILLIS,
            alarm: Alarm::default(),
        };
        (gate, Opener(shared))
    }

    /// Ready when opened, or when the time is over.
    pub(super) fn poll_open(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        *self.shared.waiting.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        if self.shared.open.load(SeqCst) { Poll::Ready(()) } else { self.alarm.poll(cx, self.deadline) }
    }
}

impl Opener {
    pub(super) fn open(&self) {
        self.0.open.store(true, SeqCst);
        let waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waker) = waiting {
            waker.wake();
        }
    }
}
