//! How long an endpoint takes to answer: a peak-sensitive, exponentially weighted
//! moving average of its round trip times.
//!
//! As in Finagle and linkerd: what is slower than the average becomes the average at
//! once; what is faster draws it down with a time constant of 10 s. A failure counts
//! as a long answer, so that failing fast does not attract requests. Between answers
//! the average is read as drifting back, so that an endpoint that nobody asks any more
//! is tried again.
//!
//! Where Finagle lets it drift to nothing, this one lets it drift to half of the
//! pool's median: an endpoint that was away for long looks good, but no better than
//! twice as good as its peers, and is not flooded until its first answer.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::SECOND;

/// The time constant: 10 s, the default of linkerd and Envoy.
pub const DECAY: u64 = 10 * SECOND;

/// What a failure counts as, at least: 5 s, linkerd's default.
pub const PENALTY: u64 = 5 * SECOND;

/// The most that an endpoint may ask for with `Retry-After`: 300 s, linkerd's cap.
pub const MOST_PENALTY: u64 = 300 * SECOND;

/// What is assumed where nothing was measured in the whole pool: 10 ms, Envoy's default.
pub const UNKNOWN: f64 = 10_000.0;

/// Nothing is quicker than 1 µs: a cost of 0 would make the requests in flight not count.
const LEAST: f64 = 1.0;

/// One endpoint's average, for all workers.
///
/// Average and time stand in one atomic word: 32 bits of a floating point number (microseconds, 7 digits), 32 bits of
/// milliseconds that go round after 49 days. Readers never see half of an update. When two workers record at once, both
/// count: the second computes anew from what the first wrote. Of answers within one millisecond that are not peaks only the
/// first counts, which is what keeps a fast endpoint's word from being written a hundred thousand times a second; since which
/// one is first doesn't depend on how long it took, the average stays a fair sample.
#[derive(Debug, Default)]
pub struct PeakEwma(AtomicU64);

impl PeakEwma {
    /// Nothing measured yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// A whole answer (its head, for streams) after `rtt` microseconds.
    pub fn record(&self, rtt: u64, now: u64) {
        self.update(|held| Some(held.towards(rtt as f64, now)));
    }

    /// A failure after `rtt` microseconds: 429, 502 to 504, a time-out, no connection. Counts as at least [`PENALTY`], or as
    /// the `Retry-After` (microseconds) up to [`MOST_PENALTY`].
    pub fn record_failure(&self, rtt: u64, retry_after: Option<u64>, now: u64) {
        let penalty = retry_after.unwrap_or(0).clamp(PENALTY, MOST_PENALTY);
        self.record(rtt.max(penalty), now);
    }

    /// The client gave up after `elapsed` microseconds. The answer would have taken longer: it raises the average or does nothing.
    pub fn record_cancelled(&self, elapsed: u64, now: u64) {
        let elapsed = elapsed as f64;
        self.update(|held| {
            let below = held.is_measured() && held.projected(now, 0.0) >= elapsed;
            (!below).then(|| held.towards(elapsed, now))
        });
    }

    /// What a request is expected to take, in microseconds, at least 1. `median` is that of the pool, see [`median`]: what a
    /// new endpoint is assumed to take, and towards half of which an idle one drifts.
    #[must_use]
    pub fn cost(&self, now: u64, median: f64) -> f64 {
        let held = Held::of(self.0.load(Relaxed));
        let cost = if held.is_measured() { held.projected(now, median / 2.0) } else { median };
        cost.max(LEAST)
    }

    /// The average without drift, in microseconds: for people, and for [`median`]. `None`: nothing measured.
    #[must_use]
    pub fn measured(&self) -> Option<f64> {
        let held = Held::of(self.0.load(Relaxed));
        held.is_measured().then_some(held.average.into())
    }

    /// What another process may go on from: the average in microseconds, and how many milliseconds ago it was last measured. `None`:
    /// nothing measured.
    #[must_use]
    pub fn kept(&self, now: u64) -> Option<(f64, u32)> {
        let held = Held::of(self.0.load(Relaxed));
        held.is_measured().then(|| (held.average.into(), held.idle(now)))
    }

    /// Goes on from what was [kept](Self::kept) of it. Averages that no endpoint can have are left out.
    pub fn restore(&self, average: f64, idle: u32, now: u64) {
        if average.is_finite() && average > 0.0 {
            let held = Held { average: narrow(average.max(LEAST)), at: millis(now).wrapping_sub(idle) };
            self.0.store(held.word(), Relaxed);
        }
    }

    fn update(&self, next: impl Fn(Held) -> Option<Held>) {
        // An update that changes nothing is given up, so that a hot endpoint's word is mostly read.
        let _ = self.0.try_update(Relaxed, Relaxed, |word| {
            let next = next(Held::of(word))?.word();
            (next != word).then_some(next)
        });
    }
}

/// The word, taken apart.
#[derive(Clone, Copy)]
struct Held {
    /// Microseconds; 0 before the first measurement.
    average: f32,
    /// Milliseconds, going round.
    at: u32,
}

impl Held {
    fn of(word: u64) -> Self {
        let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
        Self { average: f32::from_le_bytes([a, b, c, d]), at: u32::from_le_bytes([e, f, g, h]) }
    }

    fn word(self) -> u64 {
        let ([a, b, c, d], [e, f, g, h]) = (self.average.to_le_bytes(), self.at.to_le_bytes());
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    fn is_measured(self) -> bool {
        self.average > 0.0
    }

    /// With one more measurement.
    fn towards(self, rtt: f64, now: u64) -> Self {
        let rtt = rtt.max(LEAST);
        let average = f64::from(self.average);
        if !self.is_measured() || rtt >= average {
            return Self { average: narrow(rtt), at: millis(now) };
        }
        let idle = self.idle(now);
        if idle == 0 {
            return self;
        }
        let kept = kept(idle);
        Self { average: narrow(rtt + (average - rtt) * kept), at: millis(now) }
    }

    /// As it is to be read now: on its way down to `rest`, never on its way up.
    fn projected(self, now: u64, rest: f64) -> f64 {
        let average = f64::from(self.average);
        let idle = self.idle(now);
        if average <= rest || idle == 0 { average } else { rest + (average - rest) * kept(idle) }
    }

    /// Milliseconds since the last update. Another worker may have read its clock a moment later than this one: up to a minute
    /// of that is no time at all.
    fn idle(self, now: u64) -> u32 {
        let idle = millis(now).wrapping_sub(self.at);
        if idle > u32::MAX - 60_000 { 0 } else { idle }
    }
}

/// How much of an average is left after so many milliseconds.
fn kept(idle: u32) -> f64 {
    (-f64::from(idle) * 1000.0 / DECAY as f64).exp()
}

#[expect(clippy::cast_possible_truncation, reason = "it goes round by design")]
fn millis(now: u64) -> u32 {
    (now / 1000) as u32
}

#[expect(clippy::cast_possible_truncation, reason = "seven digits of a time are more than were measured")]
fn narrow(micros: f64) -> f32 {
    micros as f32
}

/// The median of what was measured in a pool, the lower of the middle two; [`UNKNOWN`] if nothing was. Averages from half of [`PENALTY`]
/// on don't count, since they may be failures': who is new must not be assumed to be as bad as the only one that was tried, or that one,
/// on its way down, would be tried for ever. Where all are so high, it is half of `PENALTY`. Leaves `measured` in no order, without
/// those; for a tick or a new table, not for each request.
#[must_use]
pub fn median(measured: &mut Vec<f64>) -> f64 {
    if measured.is_empty() {
        return UNKNOWN;
    }
    let doubtful = PENALTY as f64 / 2.0;
    measured.retain(|micros| *micros < doubtful);
    if measured.is_empty() {
        return doubtful;
    }
    let middle = (measured.len() - 1) / 2;
    let (_, median, _) = measured.select_nth_unstable_by(middle, f64::total_cmp);
    *median
}

#[cfg(test)]
mod tests;
