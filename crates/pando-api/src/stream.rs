//! Frames of an upgraded connection: exec's stdin, stdout, stderr and end, in one stream.
//!
//! A frame is a channel (one byte), a length (four bytes, big endian, at most
//! [`MAX_FRAME`]) and so many bytes.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio_util::codec::{Decoder, Encoder};

/// The longest payload of a frame: 64 KiB.
pub const MAX_FRAME: usize = 64 * 1024;

/// The value of the `Upgrade` header.
pub const UPGRADE: &str = "pando-exec";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Client to server, first: an `ExecStart` as JSON.
    Start,
    /// Client to server; empty: the end of the input.
    Stdin,
    Stdout,
    Stderr,
    /// Client to server: a `TerminalSize` as JSON.
    Resize,
    /// Server to client, last: an `ExecEnd` as JSON.
    End,
}

/// How a command ended, or why it never began.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExecEnd {
    /// The exit code; 128 + n for a signal n, as shells have it.
    pub code: i32,
    #[serde(default)]
    pub error: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub channel: Channel,
    pub payload: Bytes,
}

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("a frame of {0} bytes; at most {MAX_FRAME} are allowed")]
    TooLong(usize),
    #[error("channel {0} is not known")]
    Channel(u8),
    #[error("the connection broke")]
    Io(#[from] std::io::Error),
}

/// Reads and writes frames; for `tokio_util::codec::Framed`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Frames;

const HEAD: usize = 5;

impl Decoder for Frames {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        if buffer.len() < HEAD {
            return Ok(None);
        }
        let length = u32::from_be_bytes([buffer[1], buffer[2], buffer[3], buffer[4]]) as usize;
        if length > MAX_FRAME {
            return Err(FrameError::TooLong(length));
        }
        let channel = channel_of(buffer[0])?;
        if buffer.len() < HEAD + length {
            buffer.reserve(HEAD + length - buffer.len());
            return Ok(None);
        }
        buffer.advance(HEAD);
        Ok(Some(Frame { channel, payload: buffer.split_to(length).freeze() }))
    }
}

impl Encoder<Frame> for Frames {
    type Error = FrameError;

    fn encode(&mut self, frame: Frame, buffer: &mut BytesMut) -> Result<(), FrameError> {
        let length = frame.payload.len();
        let short = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME);
        let short = short.ok_or(FrameError::TooLong(length))?;
        buffer.reserve(HEAD + length);
        buffer.put_u8(byte_of(frame.channel));
        buffer.put_u32(short);
        buffer.put(frame.payload);
        Ok(())
    }
}

const CHANNELS: [Channel; 6] =
    [Channel::Start, Channel::Stdin, Channel::Stdout, Channel::Stderr, Channel::Resize, Channel::End];

fn channel_of(byte: u8) -> Result<Channel, FrameError> {
    CHANNELS.get(usize::from(byte)).copied().ok_or(FrameError::Channel(byte))
}

fn byte_of(channel: Channel) -> u8 {
    match channel {
        Channel::Start => 0,
        Channel::Stdin => 1,
        Channel::Stdout => 2,
        Channel::Stderr => 3,
        Channel::Resize => 4,
        Channel::End => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_round_trip_byte_by_byte() {
        let frames: Vec<Frame> = CHANNELS
            .iter()
            .map(|channel| Frame { channel: *channel, payload: Bytes::from(format!("{channel:?}")) })
            .collect();
        let mut wire = BytesMut::new();
        for frame in &frames {
            Frames.encode(frame.clone(), &mut wire).unwrap();
        }
        let (mut buffer, mut read) = (BytesMut::new(), Vec::new());
        for byte in wire {
            buffer.put_u8(byte);
            read.extend(Frames.decode(&mut buffer).unwrap());
        }
        assert_eq!(read, frames);
    }

    #[test]
    fn bad_frames_are_refused() {
        let mut long = BytesMut::from(&[2, 0xff, 0, 0, 0][..]);
        assert!(matches!(Frames.decode(&mut long), Err(FrameError::TooLong(_))));
        let mut odd = BytesMut::from(&[9, 0, 0, 0, 0][..]);
        assert!(matches!(Frames.decode(&mut odd), Err(FrameError::Channel(9))));
    }
}
