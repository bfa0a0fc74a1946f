//! How a client's connection ends.

use std::future::poll_fn;
use std::time::Duration;

use pando_http::{Refusal, write};
use tokio::io::AsyncWriteExt;

use super::front::Http1;
use crate::front::{Answer, AnswerBody, Front};
use crate::settings::Limits;

/// How long we listen to a client that we have nothing more to say to, so that it reads our last words before it learns that
/// nobody takes its own.
const LINGER: Duration = Duration::from_secs(2);

impl Http1 {
    /// After an answer, whose end the client has `stall` to take. Where the client may still be sending, it is listened to for a
    /// while: closing at once would take the answer from it.
    pub(super) async fn close(mut self, stall: Duration) {
        let goodbye = tokio::time::timeout(stall, poll_fn(|cx| self.wire.poll_goodbye(cx)));
        if !matches!(goodbye.await, Ok(Ok(()))) {
            return;
        }
        // Running out of patience is fine: the client had its time.
        if !self.is_body_over() || self.has_input() {
            let _ = tokio::time::timeout(LINGER, self.discard()).await;
        }
    }

    /// In the middle of an answer, so that the client does not take what it has for the whole.
    pub(super) fn cut(mut self) {
        self.wire.cut_when_closed();
    }

    /// Says what is wrong with a request's head, and closes.
    pub(super) async fn refuse(mut self, refusal: Refusal, limits: &Limits) {
        self.last_words(refusal.status(), &refusal.to_string());
        let flushed =
            tokio::time::timeout(limits.client_stall.min(LINGER), poll_fn(|cx| self.poll_flush(cx)));
        if matches!(flushed.await, Ok(Ok(()))) {
            let _ = tokio::time::timeout(LINGER, self.discard()).await;
        }
    }

    /// A head that began and did not end in time. Who is that slow isn't waited for.
    pub(super) fn too_slow(mut self) {
        self.last_words(408, "The request's head did not arrive in time.");
        let _ = self.poll_flush(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    }

    fn last_words(&mut self, status: u16, sentence: &str) {
        let reason = http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason());
        let reason = reason.unwrap_or_default();
        let text = format!("{status} {reason}\n{sentence}\n");
        let mut length = Vec::new();
        write::number(&mut length, text.len() as u64);
        self.head(&Answer {
            status,
            reason: reason.as_bytes(),
            passed: None,
            own: &[
                ("content-type", b"text/plain; charset=utf-8"),
                ("content-length", &length),
                ("cache-control", b"no-store"),
            ],
            body: AnswerBody::Sized,
            close: true,
        });
        self.outbox.queue().extend_from_slice(text.as_bytes());
    }

    /// Reads and forgets what the client still sends, until it closes.
    async fn discard(&mut self) {
        if self.wire.shutdown().await.is_err() {
            return;
        }
        loop {
            let read = poll_fn(|cx| self.poll_fill(cx)).await;
            if !matches!(read, Ok(1..)) {
                return;
            }
            self.skip(usize::MAX >> 1);
            tokio::task::yield_now().await;
        }
    }
}
