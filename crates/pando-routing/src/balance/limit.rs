//! How many requests an endpoint may have under way, found out by itself.
//!
//! This is Netflix's `Gradient2Limit` (concurrency-limits, 2018; "Performance under
//! load") in its `WindowedLimit`: when the average answer of a window takes longer than
//! 1.5 times the long-term average, the limit shrinks by that gradient, at most by
//! half; it grows by 4 a window while answers stay quick and the limit is in use. With
//! it goes the multiplicative decrease of `AIMDLimit`: a window with an overload (503,
//! time-out, connection refused) takes a tenth off.
//!
//! Under load that never lets up the long-term average follows within ten minutes, and
//! the limit creeps up with it: what bounds it then is the policy's `most`.

use super::SECOND;
use crate::policy::AdaptiveLimit;

/// A window lasts at least so long and has at least so many answers.
const WINDOW: u64 = SECOND;
const WINDOW_ANSWERS: u32 = 10;

/// The long-term average: of so many windows, and a plain mean of the first few.
const LONG_WINDOWS: f64 = 600.0;
const WARM_UP: u32 = 10;

/// How much longer than the long-term average answers may take before the limit shrinks.
const TOLERANCE: f64 = 1.5;

/// How much of a new limit is taken over at once.
const SMOOTHING: f64 = 0.2;

/// What may queue at the endpoint: room to grow by.
const QUEUE: f64 = 4.0;

/// What is left after an overload.
const BACK_OFF: f64 = 0.9;

/// One endpoint's limit. It belongs to one worker, or stands behind a lock that is only tried: a sample missed is no harm.
#[derive(Debug, Clone)]
pub struct Limit {
    least: f64,
    most: f64,
    limit: f64,
    long: LongAverage,
    window: Window,
}

#[derive(Debug, Clone, Default)]
struct LongAverage {
    windows: u32,
    rtt: f64,
}

#[derive(Debug, Clone, Default)]
struct Window {
    start: u64,
    answers: u32,
    total: f64,
    most_in_flight: u32,
    overloaded: bool,
}

impl Limit {
    #[must_use]
    pub fn new(policy: &AdaptiveLimit, now: u64) -> Self {
        Self {
            least: policy.least.max(1).into(),
            most: policy.most.max(policy.least).max(1).into(),
            limit: policy.initial.clamp(policy.least.max(1), policy.most.max(policy.least).max(1)).into(),
            long: LongAverage::default(),
            window: Window { start: now, ..Window::default() },
        }
    }

    /// How many may be under way.
    #[must_use]
    pub fn limit(&self) -> u32 {
        whole(self.limit)
    }

    /// An answer after `rtt` microseconds; `in_flight` is how many were under way when it was asked, itself included.
    pub fn record(&mut self, rtt: u64, in_flight: u32, now: u64) {
        self.window.answers += 1;
        self.window.total += rtt.max(1) as f64;
        self.window.most_in_flight = self.window.most_in_flight.max(in_flight);
        self.close(now);
    }

    /// The endpoint had too much: it said so, or didn't answer in time.
    pub fn record_overload(&mut self, in_flight: u32, now: u64) {
        self.window.overloaded = true;
        self.window.most_in_flight = self.window.most_in_flight.max(in_flight);
        self.close(now);
    }

    /// Once the window is over and has enough in it, or has had an overload.
    fn close(&mut self, now: u64) {
        let window = &self.window;
        let over = now.saturating_sub(window.start) >= WINDOW;
        if !over || !(window.overloaded || window.answers >= WINDOW_ANSWERS) {
            return;
        }
        let window = std::mem::replace(&mut self.window, Window { start: now, ..Window::default() });
        let next = if window.overloaded { self.limit * BACK_OFF } else { self.after(&window) };
        self.limit = next.clamp(self.least, self.most);
    }

    fn after(&mut self, window: &Window) -> f64 {
        let short = window.total / f64::from(window.answers);
        let long = self.long.with(short);
        // Hardly used, it says nothing about what more would do.
        if f64::from(window.most_in_flight) < self.limit / 2.0 {
            return self.limit;
        }
        let gradient = (TOLERANCE * long / short).clamp(0.5, 1.0);
        self.limit * (1.0 - SMOOTHING) + (self.limit * gradient + QUEUE) * SMOOTHING
    }
}

impl LongAverage {
    fn with(&mut self, short: f64) -> f64 {
        self.windows = self.windows.saturating_add(1);
        let part =
            if self.windows <= WARM_UP { 1.0 / f64::from(self.windows) } else { 2.0 / (LONG_WINDOWS + 1.0) };
        self.rtt += (short - self.rtt) * part;
        let long = self.rtt;
        // After a long time of load it comes down quickly.
        if long > 2.0 * short {
            self.rtt *= 0.95;
        }
        long
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 to u32::MAX by its bounds")]
fn whole(limit: f64) -> u32 {
    limit as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDE: AdaptiveLimit = AdaptiveLimit { initial: 20, least: 1, most: 1000 };

    /// A server of so many hands, each busy for 10 ms with a request; what is beyond waits in line.
    fn rtt(in_flight: u32, hands: u32) -> u64 {
        u64::from(in_flight.max(hands)) * 10_000 / u64::from(hands)
    }

    /// Seconds of a load that always uses the whole limit; the limit afterwards.
    fn saturate(limit: &mut Limit, start: u64, seconds: u64, hands: u32) -> u32 {
        for second in start..start + seconds {
            for answer in 0..20 {
                let in_flight = limit.limit();
                limit.record(rtt(in_flight, hands), in_flight, second * SECOND + answer * 50_000);
            }
        }
        limit.limit()
    }

    #[test]
    fn it_grows_while_answers_stay_quick_and_stops_at_its_bound() {
        let mut limit = Limit::new(&AdaptiveLimit::default(), 0);
        assert_eq!(limit.limit(), 20);
        // 4 · 0.2 a window.
        assert_eq!(saturate(&mut limit, 0, 51, 10_000), 60);
        assert_eq!(saturate(&mut limit, 51, 400, 10_000), 200);
    }

    #[test]
    fn it_settles_where_queueing_begins() {
        let mut limit = Limit::new(&WIDE, 0);
        // Answers may take 1.5 times as long as without a line, and a little more for the room to grow by.
        let settled = saturate(&mut limit, 0, 120, 50);
        assert!((75..=95).contains(&settled), "{settled} for 50 hands");
        // Half of them are lost: it follows.
        let settled = saturate(&mut limit, 120, 30, 25);
        assert!((38..=60).contains(&settled), "{settled} for 25 hands");
    }

    #[test]
    fn it_shrinks_within_seconds_when_answers_take_ten_times_as_long() {
        let mut limit = Limit::new(&AdaptiveLimit { initial: 100, least: 5, most: 200 }, 0);
        (0..20 * 20).for_each(|n| limit.record(10_000, 10, n * 50_000));
        assert_eq!(limit.limit(), 100, "hardly used, it stays");
        (0..10 * 20).for_each(|n| limit.record(100_000, 90, (20 * 20 + n) * 50_000));
        assert!(limit.limit() < 50, "{}", limit.limit());
    }

    /// Ten minutes of slow answers made them the measure; one of quick ones makes those the measure again.
    #[test]
    fn after_a_long_time_of_load_the_measure_comes_down_quickly() {
        let mut limit = Limit::new(&AdaptiveLimit { initial: 100, least: 5, most: 100 }, 0);
        let mut second = 0;
        let mut seconds = |limit: &mut Limit, count: u64, rtt: u64| {
            for _ in 0..count * 20 {
                second += 1;
                limit.record(rtt, 100, second * 50_000);
            }
            limit.limit()
        };
        assert_eq!(seconds(&mut limit, 600, 100_000), 100);
        assert_eq!(seconds(&mut limit, 60, 10_000), 100);
        let shrunk = seconds(&mut limit, 10, 45_000);
        assert!(shrunk < 60, "{shrunk}: 45 ms are long again");
    }

    #[test]
    fn an_overload_takes_a_tenth_off_once_a_window() {
        let mut limit = Limit::new(&AdaptiveLimit { initial: 100, least: 50, most: 200 }, 0);
        for n in 1..=30 {
            limit.record_overload(100, n * 100_000);
        }
        assert_eq!(limit.limit(), 72, "three windows: 100 · 0.9³");
        (31..=200).for_each(|n| limit.record_overload(100, n * 100_000));
        assert_eq!(limit.limit(), 50, "the least");
    }

    #[test]
    fn odd_bounds_do_no_harm() {
        let odd = AdaptiveLimit { initial: 0, least: 0, most: 0 };
        let mut limit = Limit::new(&odd, 0);
        assert_eq!(limit.limit(), 1);
        (0..1000).for_each(|n| limit.record(0, u32::MAX, n * SECOND));
        assert_eq!(limit.limit(), 1);
        assert_eq!(Limit::new(&AdaptiveLimit { initial: 900, least: 300, most: 200 }, 0).limit(), 300);
    }
}
