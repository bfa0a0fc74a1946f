//! A container's output on its way into the log: from the engine's pieces to lines, each once.
//!
//! What is stored and how far that is are two files, and this program may end between the writes. So a new one compares what the engine
//! tells beyond the position with the end of the log itself, and goes on after the last line that is there.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use bollard::container::LogOutput;
use pando_model::time::Timestamp;

use super::position::{Nanos, Position, Sieve};
use super::record::{Record, Records};
use crate::lines::Lines;
use crate::logs::{LogStore, LogWriter, Stream};

/// How far the output is stored goes to disk once in so many lines, or so much time. What was stored since then is recognised by the
/// program that comes after this one; a write for each line would cost far more than the line.
const KEEP_LINES: usize = 2_000;
const KEEP_EVERY: Duration = Duration::from_secs(1);

/// Where a container's output goes. Blocks for the disk.
#[derive(Debug)]
pub(super) struct Journal {
    records: Records,
    writer: LogWriter,
    position: Position,
    /// When the position was put on disk last, and how many lines came since.
    kept: (Instant, usize),
    sieve: Sieve,
    streams: [Unfinished; 2],
    /// What the log held when this program came, from the position on. `None`: it has been passed.
    there: Option<HashMap<Written, u32>>,
}

/// A line as it stands in the log.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Written {
    time: Timestamp,
    stream: Stream,
    text: String,
}

/// A line of which only a part has come, in pieces of the engine.
#[derive(Debug, Default)]
struct Unfinished {
    lines: Lines,
    pieces: Vec<Nanos>,
}

impl Journal {
    /// For a container that an earlier run of this program, or nobody, has read.
    pub(super) fn open(records: Records, record: &Record, logs: &LogStore) -> std::io::Result<Self> {
        let position = records.position()?;
        let (app, name) = (record.spec.app.as_str(), record.spec.name.as_str());
        let from = Timestamp::from_millis(i64::from(position.since()) * 1000).max(record.created_at);
        let mut there = HashMap::new();
        logs.each_output(app, name, from, |line| {
            *there.entry(Written { time: line.time, stream: line.stream, text: line.text }).or_default() += 1;
        })?;
        Ok(Self {
            records,
            writer: LogWriter::new(logs, app, name),
            position,
            kept: (Instant::now(), 0),
            sieve: Sieve::new(position),
            streams: Default::default(),
            there: Some(there),
        })
    }

    /// The engine begins to tell anew. Answers with the Unix second from which on.
    pub(super) fn begin(&mut self) -> i32 {
        self.sieve = Sieve::new(self.position);
        self.streams = Default::default();
        self.position.since()
    }

    /// Stores what the engine told. A disk that fails costs lines, as always, and they are counted in the log.
    pub(super) fn take(&mut self, told: &[LogOutput]) {
        let mut lines: Vec<(Timestamp, Stream, Vec<u8>)> = Vec::new();
        for piece in told {
            let Some((stream, at, text)) = read(piece) else { continue };
            if !self.sieve.is_new(stream, at) {
                self.pass(stream, at, text);
                continue;
            }
            lines.extend(self.assemble(stream, at, text));
        }
        self.store(&lines);
    }

    /// What came without a line end, once nothing more comes.
    pub(super) fn finish(&mut self) {
        let mut lines = Vec::new();
        for stream in [Stream::Stdout, Stream::Stderr] {
            let unfinished = std::mem::take(&mut self.streams[index(stream)]);
            let Unfinished { lines: mut rest, pieces } = unfinished;
            let Some(first) = pieces.first() else { continue };
            lines.extend(rest.take_rest().into_iter().map(|text| (millis(*first), stream, text)));
            pieces.iter().for_each(|at| self.position.advance(stream, *at));
        }
        self.store(&lines);
        self.keep();
    }

    pub(super) fn remark(&mut self, now: Timestamp, text: &str) {
        self.writer.remark(now, text);
    }

    fn assemble(&mut self, stream: Stream, at: Nanos, text: &[u8]) -> Vec<(Timestamp, Stream, Vec<u8>)> {
        let unfinished = &mut self.streams[index(stream)];
        unfinished.pieces.push(at);
        unfinished.lines.push(text);
        let begun = unfinished.pieces[0];
        if text.ends_with(b"\n") {
            // Only then: a program that comes after this one must be told the line from its beginning.
            for at in std::mem::take(&mut unfinished.pieces) {
                self.position.advance(stream, at);
            }
        }
        let whole = self.streams[index(stream)].lines.take_whole();
        whole.into_iter().map(|line| (millis(begun), stream, line)).collect()
    }

    /// A line that is stored is not one of those that might come next.
    fn pass(&mut self, stream: Stream, at: Nanos, text: &[u8]) {
        let mut lines = Lines::default();
        lines.push(text);
        for line in lines.take_whole() {
            self.is_there(millis(at), stream, &line);
        }
    }

    fn store(&mut self, lines: &[(Timestamp, Stream, Vec<u8>)]) {
        let mut missing = Vec::with_capacity(lines.len());
        for (time, stream, text) in lines {
            if !self.is_there(*time, *stream, text) {
                // Lines are stored in the order in which the engine tells them: after the first that is missing, all are.
                self.there = None;
                missing.push((*time, *stream, text.as_slice()));
            }
        }
        self.writer.write_dated(&missing);
        let (at, count) = &mut self.kept;
        *count += lines.len();
        if *count >= KEEP_LINES || (*count > 0 && at.elapsed() >= KEEP_EVERY) {
            self.keep();
        }
    }

    fn keep(&mut self) {
        self.kept = (Instant::now(), 0);
        if let Err(error) = self.records.set_position(&self.position) {
            tracing::debug!("how far a container's output is stored can't be kept: {error}");
        }
    }

    fn is_there(&mut self, time: Timestamp, stream: Stream, text: &[u8]) -> bool {
        let Some(there) = &mut self.there else { return false };
        let text = String::from_utf8_lossy(text).into_owned();
        match there.get_mut(&Written { time, stream, text }) {
            Some(count @ 1..) => {
                *count -= 1;
                true
            }
            _ => false,
        }
    }
}

fn index(stream: Stream) -> usize {
    usize::from(stream == Stream::Stderr)
}

fn millis(at: Nanos) -> Timestamp {
    Timestamp::from_millis(at.div_euclid(1_000_000))
}

/// A piece as the engine tells it: `2026-01-31T12:00:00.123456789Z text`, mostly with a line end.
fn read(piece: &LogOutput) -> Option<(Stream, Nanos, &[u8])> {
    let (stream, message) = match piece {
        LogOutput::StdErr { message } => (Stream::Stderr, message),
        LogOutput::StdOut { message } | LogOutput::Console { message } => (Stream::Stdout, message),
        LogOutput::StdIn { .. } => return None,
    };
    let space = message.iter().position(|b| *b == b' ')?;
    let at = nanos(std::str::from_utf8(&message[..space]).ok()?)?;
    Some((stream, at, &message[space + 1..]))
}

/// The last lines among what the engine told, as an exit report holds them.
pub(super) fn last_lines(told: &[LogOutput]) -> Vec<String> {
    let mut streams: [Lines; 2] = Default::default();
    let mut last = Vec::new();
    for (stream, _, text) in told.iter().filter_map(read) {
        let lines = &mut streams[index(stream)];
        lines.push(text);
        last.extend(lines.take_whole());
    }
    last.extend(streams.iter_mut().flat_map(Lines::take_rest));
    let skip = last.len().saturating_sub(crate::lines::LAST_LINES);
    last[skip..].iter().map(|line| crate::lines::shortened(line)).collect()
}

/// A time as the engine writes it; `None`: it is none.
pub(super) fn moment(time: &str) -> Option<Timestamp> {
    nanos(time).map(millis)
}

fn nanos(time: &str) -> Option<Nanos> {
    let (seconds, rest) = time.split_once('.').or_else(|| time.split_once('Z').map(|(s, _)| (s, "Z")))?;
    let fraction = rest.strip_suffix('Z')?;
    let whole = Timestamp::try_from(format!("{seconds}Z")).ok()?.as_millis().checked_mul(1_000_000)?;
    if fraction.len() > 9 {
        return None;
    }
    let digits: i64 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let scale = 10_i64.pow(u32::try_from(9 - fraction.len()).ok()?);
    whole.checked_add(digits.checked_mul(scale)?)
}

#[cfg(test)]
mod tests;
