//! An answer's body on its way down.

use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pando_http::{Decoder, ResponseFraming};

use super::upload::UploadError;
use super::{Upload, Waits, after};
use crate::front::Front;
use crate::time::{Alarm, ticks};
use crate::upstream::Link;

/// How an answer's way to the client ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Delivered {
    Whole,
    /// The endpoint broke off, or fell silent.
    Cut,
    /// It may go on no longer.
    Curfew,
    /// The client has gone, or takes nothing.
    ClientGone,
}

/// How far an answer has come.
#[derive(Debug)]
pub(crate) struct Download {
    decoder: Decoder,
    /// Bytes of the body at the start of the link's inbox.
    available: usize,
    /// When something last came or went.
    moved: u64,
    /// Since when the client takes nothing of what is there for it.
    blocked: Option<u64>,
    /// Bytes of the body that went down.
    sent: u64,
    /// It was told that the endpoint has said all.
    told: bool,
    /// Something was waited for, or read.
    waited: bool,
}

impl Download {
    /// The answer whose head was read off `link`, and passed on.
    pub(crate) fn new(framing: ResponseFraming) -> Self {
        Self {
            decoder: Decoder::from(framing),
            available: 0,
            moved: ticks(),
            blocked: None,
            sent: 0,
            told: false,
            waited: false,
        }
    }

    pub(crate) fn sent(&self) -> u64 {
        self.sent
    }

    /// Passes the body on, while the request's own may still be on its way up. `said_all` is called once the endpoint has
    /// sent the whole answer, and before the client can have the last of it; with whether all of it was there along with its
    /// head, so that no time has passed.
    pub(crate) async fn run<F: Front>(
        &mut self,
        front: &mut F,
        link: &mut Link,
        upload: &mut Upload,
        alarm: &mut Alarm,
        waits: Waits,
        mut said_all: impl FnMut(bool),
    ) -> Delivered {
        poll_fn(|cx| {
            if let Poll::Ready(delivered) = self.poll(cx, front, link, &mut said_all) {
                return Poll::Ready(delivered);
            }
            if upload.is_over() {
                if front.poll_gone(cx).is_ready() {
                    return Poll::Ready(Delivered::ClientGone);
                }
            } else {
                match upload.poll(cx, front, link) {
                    Poll::Ready(Err(UploadError::Client(_) | UploadError::TooLarge)) => {
                        return Poll::Ready(Delivered::ClientGone);
                    }
                    // The endpoint wants no more of it; its answer goes on.
                    Poll::Ready(Err(UploadError::Link(_))) => upload.stop(),
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            let (deadline, end) = match self.blocked {
                Some(since) => (after(since, waits.stall), Delivered::ClientGone),
                None => (after(self.moved.max(upload.moved()), waits.idle), Delivered::Cut),
            };
            alarm.poll(cx, deadline).map(|()| end)
        })
        .await
    }

    /// Ends the answer here, as if the endpoint had.
    pub(crate) async fn end<F: Front>(&mut self, front: &mut F, patience: Duration) -> Delivered {
        let ending = poll_fn(|cx| front.poll_end(cx, None));
        match tokio::time::timeout(patience, ending).await {
            Ok(Ok(())) => Delivered::Curfew,
            _ => Delivered::ClientGone,
        }
    }

    fn poll<F: Front>(
        &mut self,
        cx: &mut Context<'_>,
        front: &mut F,
        link: &mut Link,
        said_all: &mut impl FnMut(bool),
    ) -> Poll<Delivered> {
        match self.poll_pieces(cx, front, link, said_all) {
            Poll::Ready(Ok(delivered)) => Poll::Ready(delivered),
            // Reading from the link is told apart below; what fails here is the client.
            Poll::Ready(Err(_)) => Poll::Ready(Delivered::ClientGone),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Errors are the client's.
    fn poll_pieces<F: Front>(
        &mut self,
        cx: &mut Context<'_>,
        front: &mut F,
        link: &mut Link,
        said_all: &mut impl FnMut(bool),
    ) -> Poll<io::Result<Delivered>> {
        loop {
            if !self.told && self.decoder.is_done() {
                self.told = true;
                said_all(!self.waited);
            }
            if self.available > 0 {
                let data = &link.inbox.bytes()[..self.available];
                let sent = ready!(self.with_client(front.poll_data(cx, data)))?;
                link.inbox.consume(sent);
                self.available -= sent;
                self.sent += sent as u64;
                continue;
            }
            if self.decoder.is_done() {
                ready!(self.with_client(front.poll_end(cx, self.decoder.trailers())))?;
                return Poll::Ready(Ok(Delivered::Whole));
            }
            let Ok(piece) = self.decoder.decode(link.inbox.bytes()) else {
                return Poll::Ready(Ok(Delivered::Cut));
            };
            link.inbox.consume(piece.data.start);
            self.available = piece.data.len();
            if piece.consumed > 0 || self.decoder.is_done() {
                continue;
            }
            self.waited = true;
            match link.poll_fill(cx) {
                Poll::Ready(Ok(1..)) => self.moved = ticks(),
                // A connection that broke is no end: nobody knows what was still to come.
                Poll::Ready(Ok(0)) if self.decoder.close().is_ok() => {}
                Poll::Ready(_) => return Poll::Ready(Ok(Delivered::Cut)),
                Poll::Pending => {
                    // What is here must not wait for what is not.
                    ready!(self.with_client(front.poll_flush(cx)))?;
                    return Poll::Pending;
                }
            }
        }
    }

    /// Notes whether the client takes what there is for it.
    fn with_client<T>(&mut self, polled: Poll<T>) -> Poll<T> {
        match polled {
            Poll::Pending => self.blocked = Some(self.blocked.unwrap_or_else(ticks)),
            Poll::Ready(_) => self.blocked = None,
        }
        polled
    }
}
