//! What a run prints: cut into lines, appended to its log, the last ones remembered.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};

use pando_model::time::Timestamp;

use crate::lines::{LAST_LINES, Lines, shortened};
use crate::logs::{LogWriter, Stream};

/// Read at a time: what a pipe holds by default.
const CHUNK: usize = 64 * 1024;

/// A pipe that a run writes to.
#[derive(Debug)]
pub(super) struct Output<P> {
    pipe: Option<P>,
    stream: Stream,
    lines: Lines,
}

impl<P: Read + AsFd> Output<P> {
    /// `pipe` is made non-blocking.
    pub(super) fn new(pipe: P, stream: Stream) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&pipe, true)?;
        Ok(Self { pipe: Some(pipe), stream, lines: Lines::default() })
    }

    /// To wait on. `None`: every writer has closed it.
    pub(super) fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Takes a piece of what is there into the log. False: nothing was.
    pub(super) fn pump(&mut self, log: &mut Journal, now: Timestamp) -> bool {
        let Some(pipe) = &mut self.pipe else { return false };
        let mut chunk = log.chunk();
        let got = match pipe.read(&mut chunk) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Some(0),
            Ok(bytes) if bytes > 0 => {
                self.lines.push(&chunk[..bytes]);
                log.append(self.stream, self.lines.take_whole(), now);
                Some(bytes)
            }
            // The end; an error on a pipe is one too.
            _ => {
                self.pipe = None;
                None
            }
        };
        log.give_back(chunk);
        got.is_some()
    }

    /// What came without a line end, at the end.
    pub(super) fn finish(&mut self, log: &mut Journal, now: Timestamp) {
        log.append(self.stream, self.lines.take_rest(), now);
    }
}

/// The log of a run with the memory of its last lines.
#[derive(Debug)]
pub(super) struct Journal {
    writer: LogWriter,
    last: VecDeque<String>,
    chunk: Vec<u8>,
}

impl Journal {
    pub(super) fn new(writer: LogWriter) -> Self {
        Self { writer, last: VecDeque::new(), chunk: Vec::new() }
    }

    pub(super) fn remark(&mut self, now: Timestamp, text: &str) {
        self.writer.remark(now, text);
    }

    /// The last lines of output, oldest first; remarks are not among them.
    pub(super) fn last_lines(&self) -> Vec<String> {
        self.last.iter().cloned().collect()
    }

    fn append(&mut self, stream: Stream, lines: Vec<Vec<u8>>, now: Timestamp) {
        let whole: Vec<(Stream, &[u8])> = lines.iter().map(|line| (stream, line.as_slice())).collect();
        self.writer.write(now, &whole);
        for line in lines.iter().skip(lines.len().saturating_sub(LAST_LINES)) {
            if self.last.len() == LAST_LINES {
                self.last.pop_front();
            }
            self.last.push_back(shortened(line));
        }
    }

    /// One buffer for all pipes, made when the first output comes: many runs never print.
    fn chunk(&mut self) -> Vec<u8> {
        let mut chunk = std::mem::take(&mut self.chunk);
        chunk.resize(CHUNK, 0);
        chunk
    }

    fn give_back(&mut self, chunk: Vec<u8>) {
        self.chunk = chunk;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_short_and_few() {
        let root = tempfile::tempdir().unwrap();
        let store = crate::logs::LogStore::new(root.path().to_owned(), crate::logs::LogSettings::default());
        let mut journal = Journal::new(LogWriter::new(&store, "shop", "web-1"));
        let lines = (0..30).map(|n| format!("{n}{}", "é".repeat(n * 100)).into_bytes()).collect();
        journal.append(Stream::Stdout, lines, Timestamp::from_millis(0));
        journal.remark(Timestamp::from_millis(0), "a remark");
        let last = journal.last_lines();
        assert_eq!(last.len(), LAST_LINES);
        assert!(last[0].starts_with("10é"), "{}", last[0]);
        assert!(last.iter().all(|line| line.len() <= crate::lines::LAST_LINE_BYTES + 3), "too long");
    }
}
