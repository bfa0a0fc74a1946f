//! How far a container's output is stored, in the engine's own words: a time with nanoseconds for each line.
//!
//! Lines of one stream come in the order of their times; those of both streams almost do. So each stream has a mark of its
//! own, and an engine that is asked to go on from a moment before both sends a little again that is left out here.

use serde::{Deserialize, Serialize};

use crate::logs::Stream;

/// Nanoseconds since 1970, as the engine wrote them down.
pub(super) type Nanos = i64;

/// The engine cuts what it is asked for at whole seconds, and the streams may overtake each other by less than this.
const MARGIN_SECONDS: i64 = 2;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    stdout: Mark,
    stderr: Mark,
}

/// The newest line of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    at: Nanos,
    /// Lines of this very time.
    count: u32,
}

impl Position {
    /// Unix seconds from which on the engine is to tell. 0: all.
    pub(super) fn since(&self) -> i32 {
        let newest = self.stdout.at.max(self.stderr.at) / 1_000_000_000;
        i32::try_from((newest - MARGIN_SECONDS).max(0)).unwrap_or(0)
    }

    /// Puts a line of `stream` on record.
    pub(super) fn advance(&mut self, stream: Stream, at: Nanos) {
        let mark = self.mark(stream);
        *mark = if at == mark.at { Mark { at, count: mark.count + 1 } } else { Mark { at, count: 1 } };
    }

    fn mark(&mut self, stream: Stream) -> &mut Mark {
        if stream == Stream::Stderr { &mut self.stderr } else { &mut self.stdout }
    }
}

/// Leaves out of what the engine tells again what came before a position.
#[derive(Debug)]
pub(super) struct Sieve {
    stored: Position,
    /// Lines met at the very time of the marks.
    met: [u32; 2],
    /// Past the mark: whatever the clock does from there on, it is new.
    past: [bool; 2],
}

impl Sieve {
    pub(super) fn new(stored: Position) -> Self {
        Self { stored, met: [0; 2], past: [false; 2] }
    }

    pub(super) fn is_new(&mut self, stream: Stream, at: Nanos) -> bool {
        let which = usize::from(stream == Stream::Stderr);
        let mark = *self.stored.mark(stream);
        if self.past[which] {
            return true;
        }
        if at == mark.at && self.met[which] < mark.count {
            self.met[which] += 1;
            return false;
        }
        self.past[which] = at >= mark.at;
        self.past[which]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Stream::{Stderr, Stdout};

    #[test]
    fn what_is_stored_is_left_out_and_nothing_else() {
        let told =
            [(Stdout, 10), (Stderr, 9), (Stdout, 10), (Stdout, 11), (Stderr, 12), (Stderr, 12), (Stdout, 11)];
        for stored in 0..=told.len() {
            let mut position = Position::default();
            told[..stored].iter().for_each(|(stream, at)| position.advance(*stream, *at));
            let mut sieve = Sieve::new(position);
            let new: Vec<_> =
                told.iter().filter(|(stream, at)| sieve.is_new(*stream, *at)).copied().collect();
            assert_eq!(new, told[stored..], "after {stored} lines");
        }
    }

    #[test]
    fn a_clock_that_is_set_back_costs_nothing_that_comes_after_what_is_new() {
        let mut position = Position::default();
        position.advance(Stdout, 10);
        let mut sieve = Sieve::new(position);
        let told = [8, 10, 11, 5, 6];
        assert_eq!(told.map(|at| sieve.is_new(Stdout, at)), [false, false, true, true, true]);
    }

    #[test]
    fn the_engine_is_asked_for_a_little_more_than_is_missing() {
        let mut position = Position::default();
        assert_eq!(position.since(), 0);
        position.advance(Stdout, 1_700_000_000_900_000_000);
        position.advance(Stderr, 1_700_000_000_100_000_000);
        assert_eq!(position.since(), 1_699_999_998);
    }
}
