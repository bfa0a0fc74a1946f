//! How long a batch is tried for: what a receiver's answer means, and when the next try is.

use std::time::Duration;

/// Tries after the first.
const RETRIES: u32 = 5;

/// A receiver may ask for at most this.
const LONGEST: Duration = Duration::from_secs(30);

/// How one try ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tried {
    /// Taken, but for so many.
    Taken { refused: usize },
    /// It will never be taken.
    Refused,
    /// Nobody is there, or has no time now; come back then, if the receiver has said so.
    Later(Option<Duration>),
}

/// What is done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Done { refused: usize },
    Drop,
    GiveUp,
    Wait(Duration),
}

/// One batch's tries.
#[derive(Debug)]
pub(super) struct Patience {
    wait: Duration,
    retries: u32,
}

impl Patience {
    pub(super) fn new(first: Duration) -> Self {
        Self { wait: first, retries: 0 }
    }

    /// `chance` is of 0 to 1: proxies that lost the same receiver don't come back all at once.
    pub(super) fn after(&mut self, tried: Tried, chance: f64) -> Next {
        let asked = match tried {
            Tried::Taken { refused } => return Next::Done { refused },
            Tried::Refused => return Next::Drop,
            Tried::Later(_) if self.retries == RETRIES => return Next::GiveUp,
            Tried::Later(asked) => asked,
        };
        self.retries += 1;
        let wait = self.wait.min(LONGEST);
        self.wait = wait.saturating_mul(2);
        // Half of it, and up to as much again.
        let wait = wait.mul_f64(0.5 + chance.clamp(0.0, 1.0));
        Next::Wait(asked.unwrap_or_default().min(LONGEST).max(wait))
    }
}

/// What an answer's status means, by the protocol.
pub(super) fn meaning(status: u16, retry_after: Option<Duration>, refused: usize) -> Tried {
    match status {
        200..=299 => Tried::Taken { refused },
        429 | 502 | 503 | 504 => Tried::Later(retry_after),
        _ => Tried::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_end() {
        let mut patience = Patience::new(Duration::from_secs(1));
        let waits: Vec<_> = (0..7).map(|_| patience.after(Tried::Later(None), 0.5)).collect();
        let expected = [1, 2, 4, 8, 16].map(|seconds| Next::Wait(Duration::from_secs(seconds)));
        assert_eq!(waits[..5], expected);
        assert_eq!(waits[5..], [Next::GiveUp; 2]);
    }

    #[test]
    fn a_receivers_wish_is_granted_within_reason() {
        let after = |asked, chance| {
            Patience::new(Duration::from_secs(1))
                .after(Tried::Later(Some(Duration::from_secs(asked))), chance)
        };
        assert_eq!(after(7, 1.0), Next::Wait(Duration::from_secs(7)));
        assert_eq!(after(0, 1.0), Next::Wait(Duration::from_millis(1500)));
        assert_eq!(after(86_400, 0.0), Next::Wait(LONGEST));
    }

    #[test]
    fn only_what_passes_is_tried_again() {
        for status in [429, 502, 503, 504] {
            assert_eq!(meaning(status, None, 0), Tried::Later(None), "{status}");
        }
        for status in [301, 400, 401, 404, 413, 500, 501] {
            assert_eq!(meaning(status, None, 0), Tried::Refused, "{status}");
        }
        assert_eq!(meaning(200, None, 3), Tried::Taken { refused: 3 });
        let mut patience = Patience::new(Duration::ZERO);
        assert_eq!(patience.after(Tried::Refused, 0.0), Next::Drop);
        assert_eq!(patience.after(Tried::Taken { refused: 1 }, 0.0), Next::Done { refused: 1 });
    }
}
