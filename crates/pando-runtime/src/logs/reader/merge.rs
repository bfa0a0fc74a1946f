//! Several replicas' lines in the order of time.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;

use super::cursor::Cursor;
use crate::logs::files::LogFiles;
use crate::logs::line::Line;
use crate::logs::query::Query;

/// So many lines at a time are handed on.
const BATCH: usize = 512;

/// Memory that the lines of a `tail` may take, whatever their number.
const TAIL_BYTES: usize = 32 * 1024 * 1024;

/// Every source that the query wants, each with the line that it would give next.
#[derive(Debug)]
pub(super) struct Merge {
    directory: PathBuf,
    query: Query,
    sources: Vec<(Cursor, Option<Line>)>,
    started: bool,
    /// The last lines of the history, still to be handed on.
    tail: VecDeque<Line>,
}

impl Merge {
    pub(super) fn new(directory: PathBuf, query: Query) -> Self {
        Self { directory, query, sources: Vec::new(), started: false, tail: VecDeque::new() }
    }

    /// The next lines in order. None for now: an empty answer.
    pub(super) fn read_some(&mut self) -> io::Result<Vec<Line>> {
        if !self.started || self.query.follow {
            self.find_sources()?;
        }
        if !std::mem::replace(&mut self.started, true)
            && let Some(tail) = self.query.tail
        {
            self.read_tail(tail.min(Query::MOST_TAIL))?;
        }
        let mut lines: Vec<Line> = self.tail.drain(..self.tail.len().min(BATCH)).collect();
        while self.tail.is_empty() && lines.len() < BATCH {
            let Some(line) = self.next()? else { break };
            lines.push(line);
        }
        Ok(lines)
    }

    fn find_sources(&mut self) -> io::Result<()> {
        for files in LogFiles::in_directory(&self.directory)? {
            let known = self.sources.iter().any(|(cursor, _)| cursor.name() == files.name());
            if !known && self.query.sources.holds(files.name()) {
                self.sources.push((Cursor::open(files, self.query.since)?, None));
            }
        }
        Ok(())
    }

    fn read_tail(&mut self, most: usize) -> io::Result<()> {
        let mut bytes = 0;
        while let Some(line) = self.next()? {
            bytes += line.text.len();
            self.tail.push_back(line);
            while self.tail.len() > most || bytes > TAIL_BYTES {
                bytes -= self.tail.pop_front().map_or(0, |line| line.text.len());
            }
        }
        Ok(())
    }

    /// The oldest of the lines that the sources would give next; of equal ones, that of the source found first.
    fn next(&mut self) -> io::Result<Option<Line>> {
        for (cursor, next) in &mut self.sources {
            if next.is_none() {
                *next = cursor.next()?;
            }
        }
        let oldest = self
            .sources
            .iter_mut()
            .filter(|(_, next)| next.is_some())
            .min_by_key(|(_, next)| next.as_ref().map(|line| line.time));
        Ok(oldest.and_then(|(_, next)| next.take()))
    }
}
