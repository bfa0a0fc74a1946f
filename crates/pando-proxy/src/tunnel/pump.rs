//! One direction of a tunnel.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio_util::sync::CancellationToken;

use super::frames::{Frames, going_away};
use crate::inbox::Inbox;
use crate::time::ticks;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Direction {
    ToClient,
    ToEndpoint,
}

/// Moves bytes one way until their source ends.
#[derive(Debug)]
pub(super) struct Pump<'a> {
    direction: Direction,
    /// Only for WebSockets.
    frames: Option<Frames>,
    moved: &'a AtomicU64,
    goodbye: &'a CancellationToken,
    /// Bytes, so far.
    passed: &'a AtomicU64,
    said_goodbye: bool,
}

impl<'a> Pump<'a> {
    pub(super) fn new(
        direction: Direction,
        is_websocket: bool,
        moved: &'a AtomicU64,
        goodbye: &'a CancellationToken,
        passed: &'a AtomicU64,
    ) -> Self {
        let frames = is_websocket.then(Frames::default);
        Self { direction, frames, moved, goodbye, passed, said_goodbye: false }
    }

    /// Ends when the source does, having told the sink; or, after a goodbye, when the source has answered it.
    ///
    /// # Errors
    /// A broken connection: what one side can't say the other waits for in vain.
    pub(super) async fn run<R, W>(mut self, mut from: R, mut to: W, mut inbox: Inbox) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        self.pump(&mut from, &mut to, &mut inbox).await?;
        to.shutdown().await
    }

    async fn pump<R, W>(&mut self, from: &mut R, to: &mut W, inbox: &mut Inbox) -> io::Result<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        let goodbye = self.goodbye.clone();
        let mut told = pin!(goodbye.cancelled());
        let mut hurry = false;
        loop {
            self.forward(inbox.bytes(), to, hurry).await?;
            inbox.consume(usize::MAX >> 1);
            if self.is_done() {
                return Ok(());
            }
            let count = tokio::select! {
                // Reading is cancel-safe: nothing is lost when the goodbye comes first.
                () = &mut told, if !hurry => {
                    hurry = true;
                    continue;
                }
                count = poll_fn(|cx| inbox.poll_fill(cx, from)) => count?,
            };
            if count == 0 {
                return Ok(());
            }
        }
    }

    /// Passes bytes on; in a hurry only to the end of the current frame, then says goodbye and drops what follows.
    async fn forward<W>(&mut self, bytes: &[u8], to: &mut W, hurry: bool) -> io::Result<()>
    where
        W: AsyncWrite + Unpin,
    {
        let passed = match &mut self.frames {
            Some(frames) if self.said_goodbye => {
                frames.follow(bytes);
                return Ok(());
            }
            // A side that has said goodbye itself isn't interrupted.
            Some(frames) if hurry && !frames.close_seen() => frames.follow_to_boundary(bytes),
            Some(frames) => {
                frames.follow(bytes);
                bytes.len()
            }
            None => bytes.len(),
        };
        self.write(&bytes[..passed], to).await?;
        let ripe = |frames: &Frames| hurry && frames.is_between() && !frames.close_seen();
        if self.frames.as_ref().is_some_and(ripe) {
            self.write(&going_away(self.direction == Direction::ToEndpoint), to).await?;
            self.said_goodbye = true;
            if let Some(frames) = &mut self.frames {
                frames.follow(&bytes[passed..]);
            }
        }
        Ok(())
    }

    async fn write<W: AsyncWrite + Unpin>(&self, bytes: &[u8], to: &mut W) -> io::Result<()> {
        to.write_all(bytes).await?;
        to.flush().await?;
        self.moved.store(ticks(), Relaxed);
        self.passed.fetch_add(bytes.len() as u64, Relaxed);
        Ok(())
    }

    /// After a goodbye nothing is waited for but the source's own.
    fn is_done(&self) -> bool {
        self.said_goodbye && self.frames.as_ref().is_some_and(Frames::close_seen)
    }
}
