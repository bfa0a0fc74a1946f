//! In or out: how looks add up. Pure.

use pando_routing::{Probe, ProbeKind};

/// What is thought of an endpoint after all that was seen. Starts out of rotation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    up: bool,
    /// One pass is enough: nothing bad is known yet, or only what traffic met.
    easy: Easy,
    passes: u32,
    failures: u32,
}

/// Why a single pass suffices.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Easy {
    #[default]
    New,
    Trouble,
    No,
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    Pass,
    /// It answered, and not well.
    Failure,
    /// Nobody listens.
    Refusal,
    /// No answer to a connection, neither yes nor no.
    Silence,
    /// It took the connection and did not answer in time.
    Hanging,
    /// Traffic found nobody listening.
    Trouble,
    /// Nobody looks, by order.
    Nothing,
}

impl Verdict {
    /// What the proxy before this one thought.
    pub(super) fn inherited(up: bool, was_up: bool, refused: bool) -> Self {
        let easy = match (up, was_up) {
            (false, false) => Easy::New,
            (false, true) if refused => Easy::Trouble,
            _ => Easy::No,
        };
        Self { up, easy, passes: 0, failures: 0 }
    }

    pub(super) fn is_up(&self) -> bool {
        self.up
    }

    /// Whether traffic met trouble that no look has disproved yet.
    pub(super) fn met_trouble(&self) -> bool {
        self.easy == Easy::Trouble
    }

    /// Whether it was never up.
    pub(super) fn is_starting(&self) -> bool {
        !self.up && self.easy == Easy::New
    }

    pub(super) fn after(&mut self, seen: Seen, probe: &Probe) {
        match seen {
            Seen::Pass => self.pass(probe.rise),
            Seen::Failure | Seen::Refusal | Seen::Silence | Seen::Hanging => self.fail(probe.fall),
            Seen::Trouble => *self = Self { up: false, easy: Easy::Trouble, passes: 0, failures: 0 },
            Seen::Nothing => {
                debug_assert_eq!(probe.kind, ProbeKind::None);
                self.pass(1);
            }
        }
    }

    fn pass(&mut self, rise: u32) {
        self.failures = 0;
        self.passes = self.passes.saturating_add(1);
        if self.easy != Easy::No || self.passes >= rise {
            self.up = true;
            self.easy = Easy::No;
        }
    }

    fn fail(&mut self, fall: u32) {
        self.passes = 0;
        self.failures = self.failures.saturating_add(1);
        if self.up && self.failures >= fall {
            self.up = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn probe(rise: u32, fall: u32) -> Probe {
        Probe { rise, fall, ..Probe::default() }
    }

    fn states(rise: u32, fall: u32, seen: &str) -> String {
        let mut verdict = Verdict::default();
        let step = |c| {
            let seen = match c {
                'p' => Seen::Pass,
                'f' => Seen::Failure,
                _ => Seen::Trouble,
            };
            verdict.after(seen, &probe(rise, fall));
            if verdict.is_up() { 'U' } else { 'd' }
        };
        seen.chars().map(step).collect()
    }

    #[test]
    fn the_first_pass_suffices_then_rise_and_fall_count() {
        assert_eq!(states(3, 2, "p"), "U");
        assert_eq!(states(3, 2, "ffp"), "ddU");
        assert_eq!(states(3, 2, "pfpf"), "UUUU");
        assert_eq!(states(3, 2, "pffppp"), "UUdddU");
        assert_eq!(states(3, 2, "pffpfppp"), "UUdddddU");
    }

    #[test]
    fn trouble_takes_out_at_once_until_one_pass() {
        assert_eq!(states(3, 2, "ptp"), "UdU");
        assert_eq!(states(3, 2, "ptffp"), "UdddU");
        assert_eq!(states(1, 1, "t"), "d");
    }

    proptest! {
        /// Never up right after trouble or after `fall` failures in a row; always up after `rise` passes in a row.
        #[test]
        fn verdicts_keep_their_promises(rise in 1u32..5, fall in 1u32..5, seen in "[pft]{1,60}") {
            let states = states(rise, fall, &seen);
            for (n, c) in states.chars().enumerate() {
                let past = &seen[..=n];
                let run = |of: char| past.chars().rev().take_while(|c| *c == of).count();
                if past.ends_with('t') || run('f') >= fall as usize {
                    prop_assert_eq!(c, 'd', "{} at {}", seen, n);
                }
                if run('p') >= rise as usize {
                    prop_assert_eq!(c, 'U', "{} at {}", seen, n);
                }
            }
        }
    }
}
