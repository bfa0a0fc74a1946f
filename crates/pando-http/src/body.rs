//! Bodies, unframed as they arrive.

mod chunked;

use std::ops::Range;

use crate::request::Framing;
use crate::response::ResponseFraming;
use crate::trailers::Trailers;
use chunked::Chunked;

/// Takes a body's framing off, piece by piece. It holds no data but trailers.
#[derive(Debug, Default)]
pub struct Decoder(State);

#[derive(Debug, Default)]
enum State {
    #[default]
    Done,
    /// So many bytes are still to come; more than 0.
    Length(u64),
    Chunked(Chunked),
    UntilClose,
}

/// What was found at the start of some bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// So many bytes were taken; 0 means that more are needed.
    pub consumed: usize,
    /// Where among them the body's own bytes are.
    pub data: Range<usize>,
}

/// The framing is broken, or the sender went away within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    #[error("a chunk's size is malformed")]
    ChunkSize,
    #[error("a chunk's extension is malformed, or longer than 256 bytes")]
    ChunkExtension,
    #[error("a chunk does not end where it should")]
    ChunkEnd,
    #[error("the trailers are malformed, too large, or name what may not stand there")]
    Trailers,
    #[error("it broke off")]
    BrokenOff,
}

impl From<Framing> for Decoder {
    fn from(framing: Framing) -> Self {
        Self(match framing {
            Framing::Empty | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Chunked::default()),
        })
    }
}

impl From<ResponseFraming> for Decoder {
    fn from(framing: ResponseFraming) -> Self {
        Self(match framing {
            ResponseFraming::Empty | ResponseFraming::Length(0) => State::Done,
            ResponseFraming::Length(length) => State::Length(length),
            ResponseFraming::Chunked => State::Chunked(Chunked::default()),
            ResponseFraming::UntilClose => State::UntilClose,
        })
    }
}

impl Decoder {
    /// Whether the body is over. What follows belongs to the next message.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.0, State::Done) || matches!(&self.0, State::Chunked(chunked) if chunked.is_done())
    }

    /// Whether the body has framing of its own between its bytes.
    #[must_use]
    pub fn is_chunked(&self) -> bool {
        matches!(self.0, State::Chunked(_))
    }

    /// How many bytes are still to come, where that was said.
    #[must_use]
    pub fn remaining(&self) -> Option<u64> {
        match self.0 {
            State::Done => Some(0),
            State::Length(left) => Some(left),
            State::Chunked(_) | State::UntilClose => None,
        }
    }

    /// Takes from the start of `input` up to one run of the body's bytes. To be called until it consumes nothing or is done.
    ///
    /// # Errors
    /// The framing is broken; nothing more can be read.
    pub fn decode(&mut self, input: &[u8]) -> Result<Piece, Malformed> {
        let whole = |taken: usize| Piece { consumed: taken, data: 0..taken };
        match &mut self.0 {
            State::Done => Ok(whole(0)),
            State::UntilClose => Ok(whole(input.len())),
            State::Chunked(chunked) => chunked.decode(input),
            State::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                *left -= taken as u64;
                if *left == 0 {
                    self.0 = State::Done;
                }
                Ok(whole(taken))
            }
        }
    }

    /// The sender has closed its side.
    ///
    /// # Errors
    /// [`Malformed::BrokenOff`], unless that is how this body ends.
    pub fn close(&mut self) -> Result<(), Malformed> {
        if matches!(self.0, State::UntilClose) {
            self.0 = State::Done;
        }
        if self.is_done() { Ok(()) } else { Err(Malformed::BrokenOff) }
    }

    /// The trailers, once the body is over; empty ones when there were none.
    #[must_use]
    pub fn trailers(&self) -> Option<&Trailers> {
        match &self.0 {
            State::Chunked(chunked) if chunked.is_done() => chunked.trailers(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
