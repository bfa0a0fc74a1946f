//! A TCP connection that both the engine and its keeper can look at.
//!
//! The engine owns its connections; but whoever keeps one idle must ask the kernel
//! whether the peer is still there, and whoever watches one must know when bytes
//! moved. So the socket is shared, and each side sees what it needs.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::net::{RecvFlags, sockopt};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use super::meter::Meter;

/// A shared TCP connection. Clones are the same connection; it closes with the last of them.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    tcp: TcpStream,
    meter: Meter,
}

fn keep_alive(tcp: &TcpStream) -> rustix::io::Result<()> {
    sockopt::set_socket_keepalive(tcp, true)?;
    sockopt::set_tcp_keepidle(tcp, Duration::from_secs(4))?;
    sockopt::set_tcp_keepintvl(tcp, Duration::from_secs(2))?;
    sockopt::set_tcp_keepcnt(tcp, 3)
}

impl Stream {
    pub(crate) fn new(tcp: TcpStream) -> Self {
        // Small writes are whole messages here; waiting for more only adds to the latency. Not worth failing for.
        let _ = tcp.set_nodelay(true);
        Self { shared: Arc::new(Shared { tcp, meter: Meter::new() }) }
    }

    /// As [`Stream::new`]; the connection breaks within ten seconds when the other machine is gone, however long its answer may
    /// take while it is there.
    pub(crate) fn to_endpoint(tcp: TcpStream) -> Self {
        // A kernel that can't is no reason not to serve.
        let _ = keep_alive(&tcp);
        Self::new(tcp)
    }

    pub(crate) fn meter(&self) -> &Meter {
        &self.shared.meter
    }

    /// Whether the peer has closed, sent something unasked or is in error: asked of the kernel, not of what the event
    /// loop has heard so far.
    pub(crate) fn has_anything_to_read(&self) -> bool {
        let mut byte = [0u8; 1];
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        !matches!(
            rustix::net::recv(self.shared.tcp.as_fd(), &mut byte, flags),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR)
        )
    }

    /// What the kernel takes at once of `bytes`; for a last word before closing.
    pub(crate) fn write_now(&self, bytes: &[u8]) {
        // Whoever doesn't get the last word is gone or doesn't listen.
        let _ = self.shared.tcp.try_write(bytes);
        let _ = rustix::net::shutdown(self.shared.tcp.as_fd(), rustix::net::Shutdown::Write);
    }

    /// Closing will tell the peer that the connection was cut, not ended.
    pub(crate) fn cut_when_closed(&self) {
        let _ = self.shared.tcp.set_zero_linger();
    }

    /// Reads and forgets what the peer still sends, until it closes. Cancel-safe.
    pub(crate) async fn discard(&self) {
        let mut scratch = vec![0; 16 << 10];
        loop {
            match self.shared.tcp.try_read(&mut scratch) {
                Ok(0) => return,
                Ok(_) => tokio::task::yield_now().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if self.shared.tcp.readable().await.is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// Reads what is there. A read that didn't fill the buffer has emptied the socket: saying so saves the next one a trip to
    /// the kernel for nothing. It is said of the readiness from before the read, so that what comes meanwhile isn't missed.
    fn try_read(&self, buf: &mut ReadBuf<'_>) -> io::Result<usize> {
        let (tcp, room) = (&self.shared.tcp, buf.remaining());
        let mut partial = 0;
        let read = tcp.try_io(Interest::READABLE, || match tcp.try_read_buf(buf) {
            Ok(count) if 0 < count && count < room => {
                partial = count;
                Err(io::ErrorKind::WouldBlock.into())
            }
            other => other,
        });
        if partial > 0 { Ok(partial) } else { read }
    }

    fn poll_write_with(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if self.shared.tcp.poll_write_ready(cx)?.is_pending() {
                self.shared.meter.write_blocked();
                return Poll::Pending;
            }
            match write(&self.shared.tcp) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(count) => {
                    self.shared.meter.wrote();
                    return Poll::Ready(Ok(count));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.shared.tcp.poll_read_ready(cx))?;
            match self.try_read(buf) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(count) => {
                    self.shared.meter.read(count);
                    return Poll::Ready(Ok(()));
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |tcp| tcp.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(cx, |tcp| tcp.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let done = match rustix::net::shutdown(self.shared.tcp.as_fd(), rustix::net::Shutdown::Write) {
            // Already gone is as good as shut.
            Ok(()) | Err(rustix::io::Errno::NOTCONN) => Ok(()),
            Err(error) => Err(error.into()),
        };
        Poll::Ready(done)
    }
}
