//! What a run prints: cut into lines, appended to its log, the last ones remembered.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};

use pando_model::time::Timestamp;

use crate::logs::{LogWriter, Stream};

/// Lines of output that an exit report holds.
const LAST_LINES: usize = 20;

/// Bytes of each of them: a report is read by people, and kept by the control plane.
const LAST_LINE_BYTES: usize = 1000;

/// Longer lines are cut.
const LONGEST: usize = 64 * 1024;

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

fn shortened(line: &[u8]) -> String {
    if line.len() <= LAST_LINE_BYTES {
        return String::from_utf8_lossy(line).into_owned();
    }
    let text = String::from_utf8_lossy(&line[..cut_at(line, LAST_LINE_BYTES)]).into_owned();
    format!("{text}…")
}

/// Bytes that became lines or wait for their line end.
#[derive(Debug, Default)]
struct Lines {
    whole: Vec<Vec<u8>>,
    rest: Vec<u8>,
}

impl Lines {
    fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.rest.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.cut();
            let mut line = std::mem::take(&mut self.rest);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            self.whole.push(line);
        }
        self.rest.extend_from_slice(bytes);
        self.cut();
    }

    fn cut(&mut self) {
        while self.rest.len() > LONGEST {
            let after = self.rest.split_off(cut_at(&self.rest, LONGEST));
            self.whole.push(std::mem::replace(&mut self.rest, after));
        }
    }

    fn take_whole(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.whole)
    }

    fn take_rest(&mut self) -> Vec<Vec<u8>> {
        if self.rest.is_empty() { Vec::new() } else { vec![std::mem::take(&mut self.rest)] }
    }
}

/// The place at or shortly before `most` that doesn't split a UTF-8 character.
fn cut_at(line: &[u8], most: usize) -> usize {
    (most.saturating_sub(3)..=most).rev().find(|at| line[*at] & 0xC0 != 0x80).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        for piece in pieces {
            lines.push(piece);
        }
        let mut all = lines.take_whole();
        all.extend(lines.take_rest());
        all.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    #[test]
    fn pieces_become_lines() {
        assert_eq!(lines_of(&[b"one\ntw", b"o\r\n\nthr", b"ee"]), ["one", "two", "", "three"]);
        assert!(lines_of(&[b""]).is_empty());
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let long = "é".repeat(LONGEST);
        for pieces in [vec![long.as_bytes()], long.as_bytes().chunks(1000).collect()] {
            let lines = lines_of(&pieces);
            assert_eq!(lines.concat(), long);
            assert!(lines.iter().all(|line| line.len() <= LONGEST));
            assert_eq!(lines.len(), 2);
        }
        let exact = "x".repeat(LONGEST) + "\ny\n";
        assert_eq!(lines_of(&[exact.as_bytes()]).len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn every_byte_but_line_ends_is_kept_however_it_comes(text in "([a-zé]{0,9}\n?){0,20}", piece in 1_usize..20) {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(piece).collect();
            let expected: Vec<&str> = text.strip_suffix('\n').unwrap_or(&text).split('\n').collect();
            let expected = if text.is_empty() { Vec::new() } else { expected };
            proptest::prop_assert_eq!(lines_of(&pieces), expected);
        }
    }

    #[test]
    fn what_is_not_text_is_kept_and_cut_too() {
        let bytes = vec![0x80; LONGEST * 2 + 1];
        assert_eq!(lines_of(&[&bytes]).len(), 3);
    }

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
        assert!(last.iter().all(|line| line.len() <= LAST_LINE_BYTES + 3), "too long");
    }
}
