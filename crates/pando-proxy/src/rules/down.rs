//! An answer's body between the replica and the client: compressed, held, or both.

use std::io;
use std::task::{Context, Poll, ready};

use pando_http::Trailers;

use super::squeeze::Squeezer;
use crate::front::Front;

/// Bytes that wait for a client where an answer is only compressed.
const ENOUGH: usize = 32 << 10;

/// Bytes that are compressed at once: others wait for the thread meanwhile.
const PIECE: usize = 32 << 10;

/// A body on its way.
#[derive(Debug, Default)]
pub(super) struct Down {
    squeezer: Option<Squeezer>,
    /// Bytes that are held for a slow client; 0: none beyond what is needed anyway.
    most: usize,
    queue: Vec<u8>,
    sent: usize,
    /// Something was compressed that the client couldn't read yet.
    dirty: bool,
    /// The replica has said all.
    ended: bool,
    trailers: Option<Trailers>,
}

impl Down {
    pub(super) fn new(squeezer: Option<Squeezer>, most: u64) -> Self {
        Self { squeezer, most: usize::try_from(most).unwrap_or(usize::MAX), ..Self::default() }
    }

    /// The replica need not wait for the client.
    fn holds(&self) -> bool {
        self.most > 0
    }

    fn waiting(&self) -> usize {
        self.queue.len() - self.sent
    }

    /// Takes some of `data`.
    pub(super) fn poll_data<F: Front>(
        &mut self,
        cx: &mut Context<'_>,
        front: &mut F,
        data: &[u8],
    ) -> Poll<io::Result<usize>> {
        while self.waiting() >= self.most.max(ENOUGH) {
            ready!(self.poll_some(cx, front))?;
        }
        let piece = &data[..data.len().min(PIECE)];
        match &mut self.squeezer {
            Some(squeezer) => squeezer.write(piece, &mut self.queue)?,
            None => self.queue.extend_from_slice(piece),
        }
        self.dirty = true;
        if self.holds() {
            self.push(cx, front)?;
        }
        Poll::Ready(Ok(piece.len()))
    }

    /// As much as the client takes now.
    fn push<F: Front>(&mut self, cx: &mut Context<'_>, front: &mut F) -> io::Result<()> {
        while self.waiting() > 0 {
            match self.poll_some(cx, front) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => break,
            }
        }
        Ok(())
    }

    fn poll_some<F: Front>(&mut self, cx: &mut Context<'_>, front: &mut F) -> Poll<io::Result<()>> {
        self.sent += ready!(front.poll_data(cx, &self.queue[self.sent..]))?;
        if self.sent == self.queue.len() {
            self.queue.clear();
            self.sent = 0;
        } else if self.sent >= ENOUGH {
            self.queue.drain(..self.sent);
            self.sent = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// What was taken shall not wait for what comes next.
    pub(super) fn poll_flush<F: Front>(
        &mut self,
        cx: &mut Context<'_>,
        front: &mut F,
    ) -> Poll<io::Result<()>> {
        if std::mem::take(&mut self.dirty)
            && let Some(squeezer) = &mut self.squeezer
        {
            squeezer.flush(&mut self.queue)?;
        }
        if self.holds() {
            self.push(cx, front)?;
            return match front.poll_flush(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
                _ => Poll::Ready(Ok(())),
            };
        }
        while self.waiting() > 0 {
            ready!(self.poll_some(cx, front))?;
        }
        front.poll_flush(cx)
    }

    /// The replica has said all. What is held is left for [`Down::poll_rest`].
    pub(super) fn poll_end<F: Front>(
        &mut self,
        cx: &mut Context<'_>,
        front: &mut F,
        trailers: Option<&Trailers>,
    ) -> Poll<io::Result<()>> {
        if !std::mem::replace(&mut self.ended, true) {
            self.trailers = trailers.cloned();
            if let Some(squeezer) = self.squeezer.take() {
                squeezer.finish(&mut self.queue)?;
            }
        }
        if self.holds() { Poll::Ready(Ok(())) } else { self.poll_rest(cx, front) }
    }

    /// Whether something is left that only the client is waited for.
    pub(super) fn has_rest(&self) -> bool {
        self.ended && self.holds()
    }

    pub(super) fn left(&self) -> usize {
        self.waiting()
    }

    pub(super) fn poll_rest<F: Front>(
        &mut self,
        cx: &mut Context<'_>,
        front: &mut F,
    ) -> Poll<io::Result<()>> {
        while self.waiting() > 0 {
            ready!(self.poll_some(cx, front))?;
        }
        front.poll_end(cx, self.trailers.as_ref())
    }
}
