//! Bytes that are to be written, and those that go along with them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;

use crate::unsent;
use crate::wire::Wire;

/// A capacity that is not worth giving back.
const KEPT: usize = 4 << 10;

/// Queued bytes. Heads and framing are put here; bodies are written from where they lie.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    queued: Vec<u8>,
    start: usize,
    /// Bytes that were ever written.
    written: u64,
}

impl Outbox {
    /// To be appended to.
    pub(crate) fn queue(&mut self) -> &mut Vec<u8> {
        &mut self.queued
    }

    pub(crate) fn len(&self) -> usize {
        self.queued.len() - self.start
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes were ever written through this.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Forgets what was not written.
    pub(crate) fn clear(&mut self) {
        self.queued.clear();
        self.start = 0;
    }

    /// Writes all that is queued, then `data`, as far as it goes in one go. How many bytes of `data` were taken: some, or all.
    /// Without `data`, ready when everything that was ever taken is out.
    ///
    /// # Errors
    /// Whatever writing answers; `WriteZero` if the other side takes nothing.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        wire: &mut Wire,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let queued = &self.queued[self.start..];
            let written = match (queued.is_empty(), data.is_empty()) {
                (true, true) => return Pin::new(&mut *wire).poll_flush(cx).map_ok(|()| 0),
                (true, false) => ready!(Pin::new(&mut *wire).poll_write(cx, data))?,
                (false, true) => ready!(Pin::new(&mut *wire).poll_write(cx, queued))?,
                (false, false) => {
                    let both = [IoSlice::new(queued), IoSlice::new(data)];
                    ready!(Pin::new(&mut *wire).poll_write_vectored(cx, &both))?
                }
            };
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.written += written as u64;
            unsent::note(wire.tcp(), written, self.written);
            let of_queue = written.min(queued.len());
            self.start += of_queue;
            if self.is_empty() {
                self.reset();
                if written > of_queue {
                    return Poll::Ready(Ok(written - of_queue));
                }
            }
        }
    }

    fn reset(&mut self) {
        self.clear();
        if self.queued.capacity() > 4 * KEPT {
            self.queued.shrink_to(KEPT);
        }
    }
}
