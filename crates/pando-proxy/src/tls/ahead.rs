//! Between TLS and its socket: reads ahead, and lets what is small go out together.
//!
//! TLS by itself reads less than a record at a time, and writes whatever it has to say at once. But nobody waits for the tickets
//! that end a handshake, or for the goodbye that ends a connection: they go along with the first answer and the last one.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::inbox::Inbox;

/// More than this is not kept back.
const MOST_HELD: usize = 16 << 10;

/// A connection whose bytes are read in pieces that grow as bodies do. It holds memory only while there is something to read, or
/// something that was kept back.
#[derive(Debug)]
pub(crate) struct Ahead {
    pub(super) tcp: TcpStream,
    inbox: Inbox,
    /// Written, and not sent yet.
    held: Vec<u8>,
    stage: Stage,
    /// That we say no more is said by TCP too.
    half_closes: bool,
}

/// What the connection is at, and so what may be kept back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The client waits for what we say.
    Greeting,
    /// The client has spoken again: what we say now may end the handshake. It is kept back until the client is waited for.
    Agreeing,
    Talking,
    /// What is written now is the last of it.
    Parting,
}

impl Ahead {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { tcp, inbox: Inbox::default(), held: Vec::new(), stage: Stage::Greeting, half_closes: true }
    }

    pub(super) fn enter(&mut self, stage: Stage) {
        self.stage = stage;
    }

    /// Whether closing for writing is told by TCP as well; otherwise by what TLS says alone.
    pub(super) fn half_closes(&mut self, does: bool) {
        self.half_closes = does;
    }

    /// Reads once; 0: the client has closed.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.inbox.poll_fill_tcp(cx, &mut self.tcp)
    }

    /// What was read and not used yet.
    pub(super) fn inbox(&mut self) -> &mut Inbox {
        &mut self.inbox
    }

    /// Sends what was kept back.
    pub(super) fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let sent = ready!(Pin::new(&mut self.tcp).poll_write(cx, &self.held))?;
            self.sent(sent)?;
        }
        Poll::Ready(Ok(()))
    }

    /// Forgets what was kept back and is out now. How many bytes beyond that are out.
    fn sent(&mut self, count: usize) -> io::Result<usize> {
        if count == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_held = count.min(self.held.len());
        self.held.drain(..of_held);
        if self.held.is_empty() {
            self.held = Vec::new();
        }
        Ok(count - of_held)
    }

    /// Whether `bufs` were taken without being sent.
    fn keeps(&mut self, bufs: &[IoSlice<'_>]) -> Option<usize> {
        let len = bufs.iter().map(|buf| buf.len()).sum();
        let may_wait = matches!(self.stage, Stage::Agreeing | Stage::Parting);
        if !may_wait || self.held.len().saturating_add(len) > MOST_HELD {
            return None;
        }
        bufs.iter().for_each(|buf| self.held.extend_from_slice(buf));
        Some(len)
    }
}

impl AsyncRead for Ahead {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.inbox.is_empty() {
            let Poll::Ready(filled) = this.poll_fill(cx) else {
                // The client may be waiting for it.
                if this.stage == Stage::Agreeing {
                    ready!(this.poll_release(cx))?;
                }
                return Poll::Pending;
            };
            if filled? == 0 {
                this.inbox.release_if_empty();
                return Poll::Ready(Ok(()));
            }
        }
        if this.stage == Stage::Greeting {
            this.stage = Stage::Agreeing;
        }
        let count = buf.remaining().min(this.inbox.len());
        buf.put_slice(&this.inbox.bytes()[..count]);
        this.inbox.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ahead {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Some(kept) = this.keeps(bufs) {
            return Poll::Ready(Ok(kept));
        }
        while !this.held.is_empty() {
            let both: Vec<_> = [IoSlice::new(&this.held)].into_iter().chain(bufs.iter().copied()).collect();
            let sent = ready!(Pin::new(&mut this.tcp).poll_write_vectored(cx, &both))?;
            let of_bufs = this.sent(sent)?;
            if of_bufs > 0 {
                return Poll::Ready(Ok(of_bufs));
            }
        }
        match bufs {
            // Which costs the kernel less.
            [one] => Pin::new(&mut this.tcp).poll_write(cx, one),
            several => Pin::new(&mut this.tcp).poll_write_vectored(cx, several),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// What is kept back stays.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_release(cx))?;
        match this.half_closes {
            true => Pin::new(&mut this.tcp).poll_shutdown(cx),
            false => Poll::Ready(Ok(())),
        }
    }
}
