//! A client's connection after its handshake.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::ahead::Ahead;

/// Says goodbye when it is dropped (`close_notify`), so that the client knows that it has got everything, unless it was cut.
#[derive(Debug)]
pub(crate) struct Secured {
    stream: TlsStream<Ahead>,
    cut: bool,
}

impl Secured {
    pub(super) fn new(stream: TlsStream<Ahead>) -> Self {
        Self { stream, cut: false }
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.stream.get_ref().0.tcp
    }

    /// There will be no goodbye.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TlsStream<Ahead>> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        if !self.cut {
            // A client whose end takes no byte more is not waited for.
            let _ = Pin::new(&mut self.stream).poll_shutdown(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl AsyncRead for Secured {
    /// A client that closes without a goodbye has closed all the same: whether a message is whole, its own framing tells.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.stream().poll_read(cx, buf) {
            Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
            read => read,
        }
    }
}

impl AsyncWrite for Secured {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.stream().poll_write(cx, buf)
    }

    /// What is small goes out as one record, whatever number of pieces it comes in.
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.stream().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream().poll_shutdown(cx)
    }
}
