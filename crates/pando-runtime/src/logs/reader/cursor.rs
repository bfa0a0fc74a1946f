//! A place in one replica's log.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use pando_model::time::Timestamp;

use crate::logs::files::LogFiles;
use crate::logs::line::{LONGEST, Line, decode};

/// Nothing that a writer makes is longer; more without a line end is damage.
const LONGEST_ENCODED: usize = LONGEST + 64;

/// Reads one replica's files, oldest first, and follows rotations.
#[derive(Debug)]
pub(super) struct Cursor {
    files: LogFiles,
    since: Option<Timestamp>,
    /// The file being read.
    open: Option<Part>,
    /// Newer ones, oldest first.
    newer: VecDeque<(u64, File)>,
    /// What was read of a line whose end is not written yet.
    partial: Vec<u8>,
}

#[derive(Debug)]
struct Part {
    inode: u64,
    reader: BufReader<File>,
}

impl Cursor {
    pub(super) fn open(files: LogFiles, since: Option<Timestamp>) -> io::Result<Self> {
        let newer = files.open_all()?.into_iter().filter(|(_, file)| written_since(file, since)).collect();
        Ok(Self { files, since, open: None, newer, partial: Vec::new() })
    }

    pub(super) fn name(&self) -> &str {
        self.files.name()
    }

    /// The next line that is written whole. `None`: none for now.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        loop {
            if self.read_line()? {
                let line = decode(self.files.name(), &self.partial);
                self.partial.clear();
                if let Some(line) = line
                    && self.since.is_none_or(|since| line.time >= since)
                {
                    return Ok(Some(line));
                }
            } else if !self.next_file() && !self.find_newer()? {
                return Ok(None);
            }
        }
    }

    /// True when `partial` holds a line, without its end.
    fn read_line(&mut self) -> io::Result<bool> {
        let Some(part) = &mut self.open else { return Ok(false) };
        let room = LONGEST_ENCODED.saturating_sub(self.partial.len());
        part.reader.by_ref().take(room as u64).read_until(b'\n', &mut self.partial)?;
        if self.partial.last() == Some(&b'\n') {
            self.partial.pop();
            return Ok(true);
        }
        if self.partial.len() >= LONGEST_ENCODED {
            self.partial.clear();
            return self.read_line();
        }
        Ok(false)
    }

    /// False when there is none newer than the one open, which may still grow.
    fn next_file(&mut self) -> bool {
        let Some((inode, file)) = self.newer.pop_front() else { return false };
        self.partial.clear();
        self.open = Some(Part { inode, reader: BufReader::new(file) });
        true
    }

    /// Looks for what a rotation made since. True: the open file, complete now, is to be read to its end, then the newer ones.
    fn find_newer(&mut self) -> io::Result<bool> {
        let open = self.open.as_ref().map(|part| part.inode);
        let current = self.files.current_inode();
        if current.is_none() || current == open {
            return Ok(false);
        }
        let mut all: VecDeque<(u64, File)> = self.files.open_all()?.into();
        if let Some(place) = all.iter().position(|(inode, _)| Some(*inode) == open) {
            all.drain(..=place);
        }
        self.newer = all;
        Ok(!self.newer.is_empty())
    }
}

/// False when the file surely holds no line of `since` or later. The clock may have been set back a little meanwhile.
fn written_since(file: &File, since: Option<Timestamp>) -> bool {
    let Some(since) = since else { return true };
    let Ok(modified) = file.metadata().and_then(|data| data.modified()) else { return true };
    let age = modified.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(age.as_millis()).is_ok_and(|millis| millis.saturating_add(2000) >= since.as_millis())
}
