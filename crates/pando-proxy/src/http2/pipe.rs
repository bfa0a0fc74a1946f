//! The bytes under one connection: what was read before it began comes first, what comes in is watched, what goes out is
//! gathered.
//!
//! The `h2` crate flushes after each frame of a body. Here its flushes do nothing: whoever drives the connection flushes
//! once it has nothing more to say, so that the answers of many streams go out in one system call.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use h2::Reason;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::guard::{Guard, Rates};
use crate::inbox::Inbox;
use crate::time::ticks;
use crate::unsent;
use crate::wire::Wire;

/// Gathered bytes that are worth a write before the end of a turn.
const ENOUGH: usize = 64 << 10;

/// A capacity that is not worth giving back.
const KEPT: usize = 4 << 10;

/// The bytes under a connection. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Pipe(Arc<Mutex<Io>>);

#[derive(Debug)]
struct Io {
    wire: Wire,
    first: Inbox,
    guard: Guard,
    violation: Option<Reason>,
    out: Vec<u8>,
    start: usize,
    /// Bytes that were ever written.
    written: u64,
    blocked: Option<u64>,
}

/// How a connection's bytes stand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) violation: Option<Reason>,
    /// Since when something has begun and not ended, in ticks.
    pub(super) unfinished: Option<u64>,
    /// Since when the client takes nothing of what there is for it.
    pub(super) blocked: Option<u64>,
}

impl Pipe {
    pub(super) fn new(wire: Wire, first: Inbox, rates: Rates) -> Self {
        let guard = Guard::new(rates, ticks());
        Self(Arc::new(Mutex::new(Io {
            wire,
            first,
            guard,
            violation: None,
            out: Vec::new(),
            start: 0,
            written: 0,
            blocked: None,
        })))
    }

    fn io(&self) -> MutexGuard<'_, Io> {
        // One task alone gets here; it doesn't go on after a panic.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn standing(&self) -> Standing {
        let io = self.io();
        Standing { violation: io.violation, unfinished: io.guard.unfinished(), blocked: io.blocked }
    }

    /// We had to reset a stream for what the client did.
    pub(super) fn note_reset(&self) {
        let mut io = self.io();
        if let Err(reason) = io.guard.note_reset(ticks()) {
            io.violation.get_or_insert(reason);
        }
    }

    /// Writes what was gathered.
    pub(super) fn poll_out(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.io().poll_out(cx)
    }

    /// Gives memory back that nobody needs for now.
    pub(super) fn rest(&self) {
        let mut io = self.io();
        if io.out.is_empty() && io.out.capacity() > KEPT {
            io.out = Vec::new();
        }
    }

    /// Reads and forgets; ready when the client has closed.
    pub(super) fn poll_discard(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut io = self.io();
        let mut scratch = [0; 4096];
        // What a flood sends without a pause must not keep the thread.
        for _ in 0..64 {
            let mut buf = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut io.wire).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Io {
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.start < self.out.len() {
            let written = match Pin::new(&mut self.wire).poll_write(cx, &self.out[self.start..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(written) => written?,
                Poll::Pending => {
                    self.blocked.get_or_insert_with(ticks);
                    return Poll::Pending;
                }
            };
            self.blocked = None;
            self.start += written;
            self.written += written as u64;
            unsent::note(self.wire.tcp(), written, self.written);
        }
        self.out.clear();
        self.start = 0;
        Pin::new(&mut self.wire).poll_flush(cx)
    }

    fn poll_in(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.violation.is_some() {
            // Whoever drives the connection sees to its end.
            return Poll::Pending;
        }
        let before = buf.filled().len();
        if self.first.is_empty() {
            ready!(Pin::new(&mut self.wire).poll_read(cx, buf))?;
        } else {
            let count = self.first.len().min(buf.remaining());
            buf.put_slice(&self.first.bytes()[..count]);
            self.first.consume(count);
            self.first.release_if_empty();
        }
        if buf.filled().len() == before {
            return Poll::Ready(Ok(()));
        }
        if let Err(violation) = self.guard.watch(&buf.filled()[before..], ticks()) {
            self.violation = Some(violation.reason);
            buf.set_filled(before + violation.at);
            if violation.at == 0 {
                return Poll::Pending;
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncRead for Pipe {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.io().poll_in(cx, buf)
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut io = self.io();
        if io.out.len() >= ENOUGH {
            ready!(io.poll_out(cx))?;
        }
        for buf in bufs {
            io.guard.says(buf);
            io.out.extend_from_slice(buf);
        }
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = self.io();
        ready!(io.poll_out(cx))?;
        Pin::new(&mut io.wire).poll_shutdown(cx)
    }
}
