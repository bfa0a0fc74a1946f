//! A request's body, held until it is whole.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use pando_http::{Framing, Known};

use crate::asked::Paper;
use crate::forward::Page;
use crate::front::{Answer, AnswerBody, Front};
use crate::settings::Limits;

/// Bytes that are given on at once.
const PIECE: usize = 32 << 10;

/// What was taken of a body, and not given on.
#[derive(Debug, Default)]
pub(super) struct Up {
    taken: Vec<u8>,
    given: usize,
}

/// How taking it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    Whole,
    /// There is more than was to be held; what was taken goes first.
    More,
    Gone,
    Refused(Page),
}

impl Up {
    pub(super) fn rest(&self) -> &[u8] {
        let rest = &self.taken[self.given..];
        &rest[..rest.len().min(PIECE)]
    }

    pub(super) fn consume(&mut self, count: usize) {
        self.given += count;
        if self.given == self.taken.len() {
            *self = Self::default();
        }
    }

    /// All of it.
    pub(super) fn whole(&self) -> &[u8] {
        &self.taken
    }

    /// Takes at most `most` bytes.
    pub(super) async fn take<F: Front>(
        &mut self,
        front: &mut F,
        paper: &mut Paper,
        most: u64,
        limits: &Limits,
    ) -> Taken {
        match paper.head.framing {
            Framing::Empty => return Taken::Whole,
            Framing::Length(length) if length > most => return Taken::More,
            Framing::Length(_) | Framing::Chunked => {}
        }
        invite(front, paper);
        let started = tokio::time::Instant::now();
        loop {
            // What has no length told may be a stream, with pauses.
            let earned = match (paper.head.framing, limits.body_rate) {
                (Framing::Length(_), rate @ 1..) => {
                    let earned = Duration::from_millis((self.taken.len() as u64).saturating_mul(1000) / rate);
                    started + limits.body_grace + earned
                }
                _ => tokio::time::Instant::now() + limits.client_stall,
            };
            let next = poll_fn(|cx| {
                std::task::ready!(front.poll_flush(cx)).ok();
                front.poll_body(cx)
            });
            match tokio::time::timeout_at(earned, next).await {
                Err(_) => return Taken::Refused(Page::TooSlow),
                Ok(Err(crate::front::BodyError::Malformed(malformed)))
                    if malformed != pando_http::Malformed::BrokenOff =>
                {
                    return Taken::Refused(Page::BadRequest("The request's body is malformed or broke off."));
                }
                Ok(Err(_)) => return Taken::Gone,
                Ok(Ok(0)) => return Taken::Whole,
                Ok(Ok(count)) => {
                    self.taken.extend_from_slice(front.body());
                    front.consume(count);
                }
            }
            if self.taken.len() as u64 > most {
                return Taken::More;
            }
        }
    }
}

/// Tells a client that waits for it to send its body.
fn invite<F: Front>(front: &mut F, paper: &mut Paper) {
    if std::mem::take(&mut paper.head.expects_continue) {
        let body = AnswerBody::None;
        front.interim(&Answer {
            status: 100,
            reason: b"Continue",
            passed: None,
            own: &[],
            body,
            close: false,
        });
    }
    paper.head.fields.drop_if(|field| field.known == Known::Expect);
}

/// Reads what is here; see [`Front::poll_body`].
pub(super) fn poll_body<F: Front>(
    up: &Up,
    front: &mut F,
    cx: &mut std::task::Context<'_>,
) -> Poll<Result<usize, crate::front::BodyError>> {
    match up.rest().len() {
        0 => front.poll_body(cx),
        count => Poll::Ready(Ok(count)),
    }
}
