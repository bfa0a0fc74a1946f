//! Between the engine's stream and code that reads or writes as files are read and written.

use std::io::{self, Read, Write};

use bytes::Bytes;
use tokio::sync::mpsc;

/// Pieces on the way. With those of an engine, about a megabyte.
const PIECES: usize = 16;

/// Of a piece that is written.
const PIECE: usize = 256 * 1024;

pub(super) type Piece = Result<Bytes, io::Error>;

/// A reader for another thread, and where its bytes are put in. Without the sender the reader is at its end.
pub(super) fn reader() -> (mpsc::Sender<Piece>, impl Read + Send) {
    let (sender, pieces) = mpsc::channel(PIECES);
    (sender, Reader { pieces, current: Bytes::new() })
}

struct Reader {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.current = piece?,
            }
        }
        let count = buffer.len().min(self.current.len());
        buffer[..count].copy_from_slice(&self.current.split_to(count));
        Ok(count)
    }
}

/// A writer for another thread, and what comes out of it. It fails once nobody takes what it writes.
pub(super) fn writer() -> (Writer, mpsc::Receiver<Piece>) {
    let (sender, pieces) = mpsc::channel(PIECES);
    (Writer { sender, buffer: Vec::with_capacity(PIECE) }, pieces)
}

pub(super) struct Writer {
    sender: mpsc::Sender<Piece>,
    buffer: Vec<u8>,
}

impl Writer {
    /// Whoever takes the pieces learns that there will be no good end.
    pub(super) fn abort(self) {
        // Nobody listens any more: then it has been told otherwise.
        let _ = self.sender.blocking_send(Err(io::Error::other("what was to be sent is not whole")));
    }

    fn send(&mut self) -> io::Result<()> {
        let piece = std::mem::replace(&mut self.buffer, Vec::with_capacity(PIECE));
        let sent = self.sender.blocking_send(Ok(piece.into()));
        sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = bytes.len().min(PIECE - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..count]);
        if self.buffer.len() == PIECE {
            self.send()?;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.buffer.is_empty() { Ok(()) } else { self.send() }
    }
}
