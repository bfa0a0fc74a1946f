//! A byte stream to a client or an endpoint.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use rustix::net::{RecvFlags, sockopt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::inbox::Inbox;
use crate::tls::Secured;
use crate::upstream::Stream;

/// A connection, as it carries messages.
#[derive(Debug)]
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<Secured>),
    /// One exchange among others over a connection of HTTP/2.
    Stream(Box<Stream>),
}

impl Wire {
    /// A client's connection, which has its settings from its listener.
    pub(crate) fn accepted(tcp: TcpStream) -> Self {
        Self::Plain(tcp)
    }

    /// A connection after its handshake.
    pub(crate) fn secured(secured: Secured) -> Self {
        Self::Tls(Box::new(secured))
    }

    /// Sends what was kept back of the handshake. To be called before the client is waited for.
    pub(crate) fn poll_release(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls(secured) => secured.poll_release(cx),
            Self::Plain(_) | Self::Stream(_) => Poll::Ready(Ok(())),
        }
    }

    /// What is written from now on is the last of it. It may be kept back until [`Wire::poll_goodbye`].
    pub(crate) fn part(&mut self) {
        if let Self::Tls(secured) = self {
            secured.part();
        }
    }

    /// Says that this is the end where that is said, not only seen (what is closed without a word looks cut); ready when all that
    /// was ever written is out.
    pub(crate) fn poll_goodbye(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Tls(secured) => secured.poll_goodbye(cx),
            Self::Plain(_) | Self::Stream(_) => Poll::Ready(Ok(())),
        }
    }

    /// A connection to an endpoint. It breaks within ten seconds when the other machine is gone, however long an answer may take
    /// while it is there.
    pub(crate) fn opened(tcp: TcpStream) -> Self {
        tune(&tcp);
        Self::Plain(tcp)
    }

    /// See [`Inbox::poll_fill`].
    pub(crate) fn poll_fill(&mut self, cx: &mut Context<'_>, inbox: &mut Inbox) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(tcp) => inbox.poll_fill_tcp(cx, tcp),
            // They may hold something that has been read already.
            Self::Tls(secured) => inbox.poll_fill(cx, secured.as_mut()),
            Self::Stream(stream) => inbox.poll_fill(cx, stream.as_mut()),
        }
    }

    /// `None`: others use it as well.
    pub(crate) fn tcp(&self) -> Option<&TcpStream> {
        match self {
            Self::Plain(tcp) => Some(tcp),
            Self::Tls(secured) => Some(secured.tcp()),
            Self::Stream(_) => None,
        }
    }

    /// Whether the endpoint has said that it did nothing with what it got.
    pub(crate) fn was_refused(&self) -> bool {
        matches!(self, Self::Stream(stream) if stream.was_refused())
    }

    /// Whether the event loop has heard of something to read: bytes, or the end. Costs no system call, and knows nothing of what
    /// happened since the loop last looked.
    pub(crate) fn seems_readable(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.tcp().is_none_or(|tcp| tcp.poll_read_ready(&mut cx).is_ready())
    }

    /// Whether something was read already that nobody has asked for. Costs no system call.
    pub(crate) fn holds_anything(&mut self) -> bool {
        let Self::Tls(secured) = self else { return false };
        secured.has_anything_to_read()
    }

    /// Whether the peer has closed, sent something unasked or is in error: asked of the kernel.
    pub(crate) fn has_anything_to_read(&mut self) -> bool {
        // What is there may be TLS's own business, and is taken in by looking.
        self.holds_anything() || self.has_bytes()
    }

    fn has_bytes(&self) -> bool {
        let Some(tcp) = self.tcp() else { return true };
        let mut byte = [0u8; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        !matches!(
            rustix::net::recv(tcp.as_fd(), &mut byte, flags),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR)
        )
    }

    /// Closing will tell the peer that the connection was cut, not ended.
    pub(crate) fn cut_when_closed(&mut self) {
        if let Some(tcp) = self.tcp() {
            let _ = tcp.set_zero_linger();
        }
        if let Self::Tls(secured) = self {
            secured.cut();
        }
    }
}

/// What holds for connections to endpoints. A kernel that can't is no reason not to serve.
pub(crate) fn tune(tcp: &TcpStream) {
    // Small writes are whole messages here; waiting for more only adds to the latency.
    let _ = tcp.set_nodelay(true);
    let _ = keep_alive(tcp);
}

fn keep_alive(tcp: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, Duration::from_secs(4))?;
    sockopt::set_tcp_keepintvl(tcp, Duration::from_secs(2))?;
    sockopt::set_tcp_keepcnt(tcp, 3)
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(secured) => Pin::new(secured.as_mut()).poll_read(cx, buf),
            Self::Stream(stream) => Pin::new(stream.as_mut()).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(secured) => Pin::new(secured.as_mut()).poll_write(cx, buf),
            Self::Stream(stream) => Pin::new(stream.as_mut()).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(secured) => Pin::new(secured.as_mut()).poll_write_vectored(cx, bufs),
            Self::Stream(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(secured) => Pin::new(secured.as_mut()).poll_flush(cx),
            Self::Stream(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(secured) => Pin::new(secured.as_mut()).poll_shutdown(cx),
            Self::Stream(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
