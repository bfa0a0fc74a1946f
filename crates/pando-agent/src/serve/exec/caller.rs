//! The upgraded connection, as frames.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use pando_api::stream::{Channel, ExecEnd, Frame, FrameError, Frames};
use pando_api::v1::agents::ExecStart;
use pando_rt::shutdown::Shutdown;
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tokio_util::codec::{FramedRead, FramedWrite};

use super::ready::watched;

/// For the last frame to be taken, and again for the caller to leave after it.
const LAST_WITHIN: Duration = Duration::from_secs(10);

/// Whatever the frames travel on.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send + Sync {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + Sync> Duplex for T {}

pub(super) type ToCaller = FramedWrite<WriteHalf<Box<dyn Duplex>>, Frames>;

pub(super) struct FromCaller {
    frames: FramedRead<ReadHalf<Box<dyn Duplex>>, Frames>,
    /// The socket itself, whose end can be seen before everything in front of it is read.
    socket: AsyncFd<OwnedFd>,
}

/// Whoever asked for the command.
pub(super) struct Caller {
    pub(super) input: FromCaller,
    pub(super) output: ToCaller,
}

impl Caller {
    /// Waits for the answer to be sent; then the connection is ours.
    pub(super) async fn upgraded(upgrade: OnUpgrade) -> io::Result<Self> {
        let upgraded = upgrade.await.map_err(io::Error::other)?;
        let (stream, socket, read) = taken_over(upgraded)?;
        let (reader, writer) = tokio::io::split(stream);
        let mut frames = FramedRead::new(reader, Frames);
        frames.read_buffer_mut().extend_from_slice(&read);
        let input = FromCaller { frames, socket: watched(socket, Interest::READABLE)? };
        Ok(Self { input, output: FramedWrite::new(writer, Frames) })
    }

    /// What to run; the inner error is a sentence for the caller.
    pub(super) async fn start(&mut self) -> Result<Result<ExecStart, String>, FrameError> {
        let frame = match self.input.next().await {
            Some(Ok(frame)) => frame,
            Some(Err(FrameError::Io(error))) => return Err(error.into()),
            Some(Err(error)) => return Ok(Err(error.to_string())),
            None => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
        };
        if frame.channel != Channel::Start {
            return Ok(Err(format!("the first frame is {:?}, not Start", frame.channel)));
        }
        let start = serde_json::from_slice(&frame.payload);
        Ok(start.map_err(|error| format!("the first frame is wrong: {error}")))
    }

    /// Sends the last frame, and waits for the caller to leave, within bounds. Leaving first, with input unread, would make the
    /// kernel take back what the caller has not read yet.
    pub(super) async fn finish(mut self, end: &ExecEnd, shutdown: &Shutdown) -> Result<(), FrameError> {
        let payload = serde_json::to_vec(end).map_err(io::Error::other)?.into();
        let sent = async {
            self.output.send(Frame { channel: Channel::End, payload }).await?;
            self.output.close().await
        };
        tokio::time::timeout(LAST_WITHIN, sent).await.map_err(io::Error::from)??;
        let left = async { while let Some(Ok(_)) = self.input.next().await {} };
        tokio::select! {
            // Either way nothing is left to be done here.
            _ = tokio::time::timeout(LAST_WITHIN, left) => {}
            () = shutdown.wait() => {}
        }
        Ok(())
    }
}

impl FromCaller {
    /// The next frame; `None`: there are no more.
    pub(super) async fn next(&mut self) -> Option<Result<Frame, FrameError>> {
        self.frames.next().await
    }

    /// Waits until the caller has closed its side, though what it sent before is not read yet.
    ///
    /// What found no room in the kernel's buffers still lies with the caller's kernel, and the close behind it: then it takes that
    /// kernel minutes to give up, and us to see it.
    pub(super) async fn left(&self) {
        loop {
            match self.socket.ready(Interest::READABLE).await {
                Ok(guard) if !guard.ready().is_read_closed() => {
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
                _ => return,
            }
        }
    }
}

/// What the connection was before it was upgraded: the plain socket, or TLS over one.
fn taken_over(upgraded: Upgraded) -> io::Result<(Box<dyn Duplex>, OwnedFd, Bytes)> {
    let upgraded = match upgraded.downcast::<TokioIo<TcpStream>>() {
        Ok(parts) => {
            let stream = parts.io.into_inner();
            let socket = stream.as_fd().try_clone_to_owned()?;
            return Ok((Box::new(stream), socket, parts.read_buf));
        }
        Err(upgraded) => upgraded,
    };
    let parts = upgraded.downcast::<TokioIo<TlsStream<TcpStream>>>();
    let parts = parts.map_err(|_| io::Error::other("the connection is neither TCP nor TLS"))?;
    let stream = parts.io.into_inner();
    let socket = stream.get_ref().0.as_fd().try_clone_to_owned()?;
    Ok((Box::new(stream), socket, parts.read_buf))
}
