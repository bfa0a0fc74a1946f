use super::*;
use crate::balance::random::Draws;

const START: u64 = 5_000 * SECOND;
const RESET: Outcome = Outcome::Failed(Failure::Reset);
const POOR: Outcome = Outcome::Poor(Failure::Status(500));

struct Pool {
    policy: Outlier,
    conducts: Vec<Conduct>,
    able: Vec<bool>,
    ejections: Ejections,
}

impl Members for Pool {
    fn count(&self) -> usize {
        self.conducts.len()
    }

    fn conduct(&self, n: usize) -> &Conduct {
        &self.conducts[n]
    }

    fn able(&self, n: usize) -> bool {
        self.able[n]
    }
}

impl Pool {
    fn of(count: usize) -> Self {
        let conducts = (0..count).map(|_| Conduct::default()).collect();
        let policy = Outlier::default();
        Self { policy, conducts, able: vec![true; count], ejections: Ejections::default() }
    }

    /// What an engine does at a request's end.
    fn end(&self, member: usize, outcome: Outcome, now: u64) -> Option<Ejection> {
        let suspect = self.conducts[member].record(&self.policy, outcome, now);
        let judge = || self.ejections.judge(&self.policy, self, member, outcome, now, now);
        suspect.then(judge).flatten()
    }

    fn fail(&self, member: usize, times: usize, now: u64) -> Option<Ejection> {
        (0..times).find_map(|_| self.end(member, RESET, now))
    }

    fn end_trial(&self, member: usize, outcome: Option<Outcome>, now: u64) -> Option<Ejection> {
        self.ejections.end_trial(&self.policy, &self.conducts[member], outcome, now, now)
    }

    /// What an engine does before a pick.
    fn trial(&self, now: u64) -> Option<usize> {
        if self.ejections.is_due(now) { self.ejections.claim(self, now) } else { None }
    }

    fn out(&self) -> usize {
        self.conducts.iter().filter(|conduct| !conduct.is_in()).count()
    }
}

fn seconds(ejection: &Ejection) -> f64 {
    (ejection.until - ejection.at) as f64 / SECOND as f64
}

#[test]
fn five_failures_in_a_row_eject_and_a_success_between_starts_anew() {
    let pool = Pool::of(3);
    assert_eq!(pool.fail(0, 4, START), None);
    assert_eq!(pool.end(0, Outcome::Success, START), None);
    assert_eq!(pool.fail(0, 4, START), None);
    let ejection = pool.fail(0, 1, START).unwrap();
    assert_eq!(ejection.reason, Reason::Consecutive { failures: 5, last: Failure::Reset });
    assert_eq!(ejection.reason.to_string(), "5 failures in a row, the last: connection reset");
    assert!((9.0..=11.0).contains(&seconds(&ejection)), "{ejection:?}");
    assert_eq!((ejection.times, pool.conducts[0].ejection()), (1, Some(ejection)));
    assert!(!pool.conducts[0].is_in() && pool.conducts[1].is_in());
}

#[test]
fn a_success_ratio_below_the_threshold_ejects_once_there_are_enough_requests() {
    let pool = Pool::of(2);
    // 13 of 19 is below 70 %, but too few; nor are failures ever in a row.
    for n in 0..19_u64 {
        let outcome = if n % 3 == 2 { POOR } else { Outcome::Success };
        assert_eq!(pool.end(1, outcome, START + n * SECOND / 4), None, "{n}");
    }
    let ejection = pool.end(1, POOR, START + 5 * SECOND).unwrap();
    assert_eq!(ejection.reason, Reason::SuccessRatio { good: 13, all: 20 });
    assert_eq!(ejection.reason.to_string(), "13 of 20 requests in 10 s succeeded");
}

#[test]
fn at_the_threshold_or_spread_over_more_than_the_window_nobody_goes() {
    let pool = Pool::of(2);
    for n in 0..1000 {
        let outcome = if n % 10 < 3 { POOR } else { Outcome::Success };
        let now = START + n * 10_000;
        // Good ones first, so that no part of the window is below 70 %.
        let outcome = if n < 20 { Outcome::Success } else { outcome };
        assert_eq!(pool.end(0, outcome, now), None, "{n}");
    }
    // One poor answer a second: never twenty in ten seconds.
    let quiet = Pool::of(2);
    assert!((0..600).all(|n| quiet.end(0, POOR, START + n * SECOND).is_none()));
}

#[test]
fn a_single_endpoint_and_the_last_one_able_are_never_ejected() {
    let alone = Pool::of(1);
    assert_eq!(alone.fail(0, 1000, START), None);
    let mut pool = Pool::of(4);
    pool.able = vec![true, false, false, false];
    assert_eq!(pool.fail(0, 1000, START), None, "the others are out of rotation by their probes");
    pool.able[2] = true;
    assert!(pool.fail(0, 1, START).is_some());
    assert_eq!(pool.fail(2, 1000, START), None, "now it is the last");
}

#[test]
fn at_most_half_of_a_pool_is_ejected() {
    for count in 1..=9 {
        let pool = Pool::of(count);
        (0..count).for_each(|member| _ = pool.fail(member, 50, START));
        assert_eq!(pool.out(), count / 2, "of {count}");
    }
}

#[test]
fn one_trial_alone_brings_it_back_with_counters_at_zero() {
    let pool = Pool::of(2);
    let until = pool.fail(0, 5, START).unwrap().until;
    assert_eq!(pool.trial(until - 1), None);
    assert_eq!((pool.trial(until), pool.trial(until), pool.trial(until + SECOND)), (Some(0), None, None));
    assert!(!pool.conducts[0].is_in(), "others keep away while it is tried");
    assert_eq!(pool.end_trial(0, Some(Outcome::Success), until + SECOND), None);
    assert!(pool.conducts[0].is_in() && pool.conducts[0].ejection().is_none());
    assert_eq!(pool.conducts[0].counts(until + SECOND), (0, 0, 0));
    assert_eq!(pool.fail(0, 4, until + SECOND), None, "what it was ejected for is forgotten");
    assert_eq!(pool.trial(until + 900 * SECOND), None);
}

/// Ejected for a second by its ratio, it comes back into the same ten seconds.
#[test]
fn the_ratio_it_was_ejected_for_is_forgotten_too() {
    let mut pool = Pool::of(2);
    pool.policy.eject_millis = 1_000;
    let until = (0..20).find_map(|_| pool.end(0, POOR, START)).unwrap().until;
    pool.trial(until);
    pool.end_trial(0, Some(Outcome::Success), until);
    assert_eq!(pool.conducts[0].counts(until), (0, 0, 0));
    assert_eq!(pool.end(0, POOR, until), None);
}

#[test]
fn each_ejection_is_longer_up_to_the_cap_and_good_behaviour_is_remembered() {
    let pool = Pool::of(2);
    let mut ejection = pool.fail(0, 5, START).unwrap();
    for times in 2..=40 {
        let now = ejection.until;
        assert_eq!(pool.trial(now), Some(0));
        ejection = pool.end_trial(0, Some(RESET), now).unwrap();
        assert_eq!((ejection.times, &ejection.reason), (times, &Reason::Trial { last: Failure::Reset }));
        let expected = (10.0 * f64::from(times)).min(300.0);
        let bounds = expected * 0.9 - 0.001..=(expected * 1.1).min(300.0) + 0.001;
        assert!(bounds.contains(&seconds(&ejection)), "{times}: {}", seconds(&ejection));
    }
    let now = ejection.until;
    pool.trial(now);
    pool.end_trial(0, Some(Outcome::Success), now);
    assert_eq!(pool.fail(0, 5, now + 3 * 60 * SECOND).unwrap().times, 38, "three minutes forgive three");
}

#[test]
fn ejection_times_spread_by_a_tenth_either_way() {
    let mut draws = Draws::new(3);
    let mut times: Vec<f64> = (0..1000)
        .map(|_| {
            let conduct = Conduct::default();
            let reason = Reason::Trial { last: Failure::Reset };
            seconds(&conduct.eject(&Outlier::default(), reason, START, draws.bits()))
        })
        .collect();
    times.sort_by(f64::total_cmp);
    assert!(times[0] >= 9.0 && times[0] < 9.02 && times[999] <= 11.0 && times[999] > 10.98);
    assert!((times[500] - 10.0).abs() < 0.1);
}

#[test]
fn a_trial_that_says_nothing_or_never_ends_makes_room_for_the_next() {
    let pool = Pool::of(2);
    let until = pool.fail(0, 5, START).unwrap().until;
    assert_eq!(pool.trial(until), Some(0));
    assert_eq!(pool.end_trial(0, None, until + 5), None);
    assert_eq!(pool.trial(until + 5), Some(0), "given up: the next may");
    assert_eq!(pool.trial(until + 5 + TRIAL_LAPSE - 1), None);
    assert_eq!(pool.trial(until + 5 + TRIAL_LAPSE), Some(0), "never heard of again");
    assert_eq!(pool.end_trial(1, Some(RESET), until), None, "it was not tried");
    assert!(pool.conducts[1].is_in());
}

#[test]
fn a_passed_probe_stands_in_for_the_trial_once_the_time_is_over() {
    let pool = Pool::of(2);
    let until = pool.fail(0, 5, START).unwrap().until;
    assert!(!pool.conducts[0].probe_passed(until - 1) && pool.out() == 1);
    assert!(pool.conducts[0].probe_passed(until) && pool.out() == 0);
    assert!(!pool.conducts[0].probe_passed(until + 1), "it was back already");
}

#[test]
fn one_that_is_due_but_not_able_is_not_probed_nor_looked_at_all_the_time() {
    let mut pool = Pool::of(2);
    let until = pool.fail(0, 5, START).unwrap().until;
    pool.able[0] = false;
    assert_eq!(pool.trial(until), None);
    assert!(!pool.ejections.is_due(until + SECOND - 1));
    pool.able[0] = true;
    assert_eq!(pool.trial(until + SECOND), Some(0));
}

#[test]
fn state_survives_a_newer_proxy() {
    let pool = Pool::of(2);
    let ejection = pool.fail(0, 5, START).unwrap();
    let carried = serde_json::to_string(&ejection).unwrap();
    let next = Pool::of(2);
    next.ejections.restore(&next.conducts[0], serde_json::from_str(&carried).unwrap());
    assert_eq!(next.conducts[0].ejection(), Some(ejection.clone()));
    assert_eq!((next.trial(ejection.until - 1), next.trial(ejection.until)), (None, Some(0)));
    assert_eq!(next.end_trial(0, Some(RESET), ejection.until).unwrap().times, 2);
}

#[test]
fn statuses_are_judged_by_whose_fault_they_are() {
    for (status, expected) in [
        (200, Outcome::Success),
        (404, Outcome::Success),
        (501, Outcome::Success),
        (429, Outcome::Poor(Failure::Status(429))),
        (500, POOR),
        (503, Outcome::Failed(Failure::Status(503))),
    ] {
        assert_eq!(Outcome::of_status(status), expected);
    }
}

/// Whatever happens: bounds hold, there is one trial at a time, and who is well comes back.
#[test]
fn bounds_hold_in_random_histories() {
    for seed in 0..200 {
        let mut draws = Draws::new(seed);
        let mut pool = Pool::of(1 + draws.index(6));
        let count = pool.count();
        let (mut now, mut on_trial) = (START, vec![false; count]);
        for _ in 0..600 {
            now += draws.below(400_000);
            let member = draws.index(count);
            match draws.below(20) {
                0 => pool.able[member] = !pool.able[member],
                1 => {
                    let outcome = [None, Some(RESET), Some(Outcome::Success)][draws.index(3)];
                    pool.end_trial(member, outcome, now);
                    on_trial[member] = false;
                }
                2 => _ = pool.conducts[member].probe_passed(now),
                3..=5 => {
                    if let Some(claimed) = pool.trial(now) {
                        assert!(pool.able[claimed] && !pool.conducts[claimed].is_in(), "seed {seed}");
                        assert!(!std::mem::replace(&mut on_trial[claimed], true), "seed {seed}: two trials");
                    }
                }
                kind => {
                    let outcome = if kind < 15 { RESET } else { Outcome::Success };
                    pool.end(member, outcome, now);
                }
            }
            (0..count).filter(|n| pool.conducts[*n].is_in()).for_each(|n| on_trial[n] = false);
            assert!(pool.out() <= count / 2, "seed {seed}");
        }
        pool.able.fill(true);
        (0..count).for_each(|n| _ = pool.end_trial(n, Some(Outcome::Success), now));
        for _ in 0..count {
            now += 301 * SECOND;
            if let Some(member) = pool.trial(now) {
                pool.end_trial(member, Some(Outcome::Success), now);
            }
        }
        assert_eq!(pool.out(), 0, "seed {seed}: all are well again");
    }
}

#[test]
fn workers_that_fail_everywhere_at_once_still_eject_at_most_half() {
    for _ in 0..50 {
        let pool = Pool::of(4);
        std::thread::scope(|scope| {
            (0..4).for_each(|member| {
                let pool = &pool;
                scope.spawn(move || pool.fail(member, 100, START));
            });
        });
        assert_eq!(pool.out(), 2);
    }
}
