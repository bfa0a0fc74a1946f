//! Reads ahead of TLS, which by itself takes less than a record at a time.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::inbox::Inbox;

/// A connection whose bytes are read in pieces that grow as bodies do. It holds memory only while there is something to read.
#[derive(Debug)]
pub(crate) struct Ahead {
    pub(super) tcp: TcpStream,
    inbox: Inbox,
}

impl Ahead {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        Self { tcp, inbox: Inbox::default() }
    }
}

impl AsyncRead for Ahead {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Self { tcp, inbox } = self.get_mut();
        if inbox.is_empty() && ready!(inbox.poll_fill_tcp(cx, tcp))? == 0 {
            inbox.release_if_empty();
            return Poll::Ready(Ok(()));
        }
        let count = buf.remaining().min(inbox.len());
        buf.put_slice(&inbox.bytes()[..count]);
        inbox.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Ahead {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
