//! The `chunked` coding (RFC 9112, 7.1), read without charity.

use super::{Malformed, Piece};
use crate::trailers::Trailers;

/// 16 hexadecimal digits are all that 64 bits hold.
const MOST_DIGITS: u8 = 16;

/// What comes after a size is for nobody here. More of it is an attack.
const MOST_EXTENSION: u16 = 256;

#[derive(Debug, Default)]
pub(super) struct Chunked {
    place: Place,
    /// Of the current chunk: bytes still to come.
    left: u64,
    trailers: Option<Box<Trailers>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    /// Before the first digit.
    #[default]
    Start,
    Size(u8),
    Extension(u16),
    SizeEnd,
    Data,
    DataEnd,
    DataEndLf,
    Trailers,
    Done,
}

impl Chunked {
    pub(super) fn is_done(&self) -> bool {
        self.place == Place::Done
    }

    pub(super) fn trailers(&self) -> Option<&Trailers> {
        self.trailers.as_deref()
    }

    pub(super) fn decode(&mut self, input: &[u8]) -> Result<Piece, Malformed> {
        let mut at = 0;
        while at < input.len() {
            match self.place {
                Place::Data => {
                    let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(input.len() - at);
                    self.left -= taken as u64;
                    if self.left == 0 {
                        self.place = Place::DataEnd;
                    }
                    return Ok(Piece { consumed: at + taken, data: at..at + taken });
                }
                Place::Trailers => at += self.trailer(&input[at..])?,
                Place::Done => break,
                _ => {
                    self.place = self.step(input[at])?;
                    at += 1;
                }
            }
        }
        Ok(Piece { consumed: at, data: at..at })
    }

    /// One byte of the framing.
    fn step(&mut self, byte: u8) -> Result<Place, Malformed> {
        match (self.place, byte) {
            (Place::Start, _) => self.digit(byte, 0),
            (Place::Size(_) | Place::Extension(_), b'\r') => Ok(Place::SizeEnd),
            (Place::Size(_), b';' | b' ' | b'\t') => Ok(Place::Extension(1)),
            (Place::Size(digits), _) => self.digit(byte, digits),
            (Place::Extension(length), b'\t' | b' '..=b'~' | 0x80..) if length < MOST_EXTENSION => {
                Ok(Place::Extension(length + 1))
            }
            (Place::Extension(_), _) => Err(Malformed::ChunkExtension),
            (Place::SizeEnd, b'\n') => Ok(if self.left == 0 { Place::Trailers } else { Place::Data }),
            (Place::SizeEnd, _) => Err(Malformed::ChunkSize),
            (Place::DataEnd, b'\r') => Ok(Place::DataEndLf),
            (Place::DataEndLf, b'\n') => Ok(Place::Start),
            _ => Err(Malformed::ChunkEnd),
        }
    }

    fn digit(&mut self, byte: u8, digits: u8) -> Result<Place, Malformed> {
        let value = char::from(byte).to_digit(16).ok_or(Malformed::ChunkSize)?;
        if digits == MOST_DIGITS {
            return Err(Malformed::ChunkSize);
        }
        self.left = self.left << 4 | u64::from(value);
        Ok(Place::Size(digits + 1))
    }

    /// Bytes of the trailers, of which most bodies have none; how many were taken.
    fn trailer(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let trailers = self.trailers.get_or_insert_default();
        let taken = trailers.take(input)?;
        if trailers.is_whole() {
            self.place = Place::Done;
            if trailers.is_empty() {
                self.trailers = None;
            }
        }
        Ok(taken)
    }
}
