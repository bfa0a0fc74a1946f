//! A connection after its handshake, with a client or with an endpoint.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsStream, client, server};

use super::ahead::{Ahead, Stage};

/// Says goodbye when it is dropped (`close_notify`), so that the other side knows that it has got everything, unless it was cut.
#[derive(Debug)]
pub(crate) struct Secured {
    stream: TlsStream<Ahead>,
    cut: bool,
    /// Only a goodbye is an end: an answer without a length of its own could have been cut by anybody.
    strict: bool,
}

impl Secured {
    pub(super) fn with_client(stream: server::TlsStream<Ahead>) -> Self {
        Self::after(stream.into(), false)
    }

    /// What ends the handshake may go out along with the first request.
    pub(crate) fn with_endpoint(stream: client::TlsStream<Ahead>) -> Self {
        Self::after(stream.into(), true)
    }

    fn after(mut stream: TlsStream<Ahead>, strict: bool) -> Self {
        stream.get_mut().0.enter(Stage::Talking);
        Self { stream, cut: false, strict }
    }

    /// Whether there is something to be read, the end or an error, now. What belongs to TLS alone, such as tickets, is taken in on the
    /// way, and is none of that.
    pub(crate) fn has_anything_to_read(&mut self) -> bool {
        let mut byte = [0];
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(&mut self.stream).poll_read(&mut cx, &mut ReadBuf::new(&mut byte)).is_ready()
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        &self.stream.get_ref().0.tcp
    }

    /// There will be no goodbye.
    pub(crate) fn cut(&mut self) {
        self.cut = true;
    }

    /// Sends what the handshake has left to say. To be called before the client is waited for.
    pub(crate) fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.get_mut().0.poll_release(cx)
    }

    /// What is written now is the last of it, and goes out along with the goodbye, which has to follow.
    pub(crate) fn part(&mut self) {
        self.stream.get_mut().0.enter(Stage::Parting);
    }

    /// Says goodbye; ready when that, and all before it, is out.
    pub(crate) fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.get_mut().0.half_closes(false);
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn stream(self: Pin<&mut Self>) -> Pin<&mut TlsStream<Ahead>> {
        Pin::new(&mut self.get_mut().stream)
    }
}

impl Drop for Secured {
    fn drop(&mut self) {
        if !self.cut {
            // A client whose end takes no byte more is not waited for.
            let _ = self.poll_goodbye(&mut Context::from_waker(Waker::noop()));
        }
    }
}

impl AsyncRead for Secured {
    /// A client that closes without a goodbye has closed all the same: whether a request is whole, its own framing tells.
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let strict = self.strict;
        match self.stream().poll_read(cx, buf) {
            Poll::Ready(Err(error)) if !strict && error.kind() == io::ErrorKind::UnexpectedEof => {
                Poll::Ready(Ok(()))
            }
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

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.get_mut().0.half_closes(true);
        self.stream().poll_shutdown(cx)
    }
}
