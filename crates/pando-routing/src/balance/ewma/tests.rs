use super::*;

const START: u64 = 1_000 * SECOND;

#[test]
fn the_first_measurement_and_every_peak_count_at_once() {
    let ewma = PeakEwma::new();
    assert_eq!((ewma.measured(), ewma.cost(START, 7_000.0)), (None, 7_000.0));
    ewma.record(2_000, START);
    assert_eq!(ewma.cost(START, 7_000.0), 2_000.0, "no seed is left in it");
    ewma.record(90_000, START);
    assert_eq!(ewma.cost(START, 7_000.0), 90_000.0);
    ewma.record(90_100, START);
    assert_eq!(ewma.cost(START, 7_000.0), 90_100.0, "however little above");
}

#[test]
fn it_falls_by_the_published_definition() {
    let ewma = PeakEwma::new();
    ewma.record(100_000, START);
    ewma.record(10_000, START + DECAY);
    let expected = 10_000.0 + 90_000.0 / std::f64::consts::E;
    assert!((ewma.measured().unwrap() - expected).abs() < 1.0);
    // A thousand steady answers over the time constant come to the same as one.
    let steady = PeakEwma::new();
    steady.record(100_000, START);
    (1..=1000).for_each(|n| steady.record(10_000, START + n * DECAY / 1000));
    assert!((steady.measured().unwrap() - expected).abs() < 10.0, "{:?}", steady.measured());
}

#[test]
fn a_hundred_thousand_answers_a_second_fall_as_fast() {
    let ewma = PeakEwma::new();
    ewma.record(100_000, START);
    (1..=1_000_000).for_each(|n| ewma.record(1_000, START + n * 10));
    let expected = 1_000.0 + 99_000.0 / std::f64::consts::E;
    assert!((ewma.measured().unwrap() - expected).abs() < 100.0, "{:?}", ewma.measured());
}

#[test]
fn an_idle_endpoint_recovers_to_half_the_median_and_no_further() {
    let ewma = PeakEwma::new();
    ewma.record_failure(100, None, START);
    assert_eq!(ewma.cost(START, 10_000.0), 5_000_000.0);
    let later = |seconds: u64| ewma.cost(START + seconds * SECOND, 10_000.0);
    assert!((later(10) - (5_000.0 + 4_995_000.0 / std::f64::consts::E)).abs() < 5.0);
    assert!(later(70) < 10_000.0, "after seven time constants it is tried again: {}", later(70));
    assert!((later(600) - 5_000.0).abs() < 1.0);
    let fast = PeakEwma::new();
    fast.record(1_000, START);
    assert_eq!(fast.cost(START + 600 * SECOND, 10_000.0), 1_000.0, "nor does it rise");
}

#[test]
fn failures_are_long_answers_within_bounds() {
    let cost = |rtt, retry_after| {
        let ewma = PeakEwma::new();
        ewma.record_failure(rtt, retry_after, START);
        ewma.cost(START, 1.0) / SECOND as f64
    };
    assert_eq!(cost(10, None), 5.0);
    assert_eq!(cost(10, Some(SECOND)), 5.0);
    assert_eq!(cost(10, Some(60 * SECOND)), 60.0);
    assert_eq!(cost(10, Some(86_400 * SECOND)), 300.0);
    assert_eq!(cost(20 * SECOND, None), 20.0);
}

#[test]
fn giving_up_early_says_nothing_good() {
    let ewma = PeakEwma::new();
    ewma.record(50_000, START);
    ewma.record_cancelled(10, START + SECOND);
    assert_eq!(ewma.measured(), Some(50_000.0));
    ewma.record_cancelled(80_000, START + SECOND);
    assert_eq!(ewma.measured(), Some(80_000.0));
    let new = PeakEwma::new();
    new.record_cancelled(30_000, START);
    assert_eq!(new.measured(), Some(30_000.0));
}

#[test]
fn a_clock_that_another_worker_read_later_is_no_time_at_all() {
    let ewma = PeakEwma::new();
    ewma.record(50_000, START + 5_000);
    assert_eq!(ewma.cost(START, 1.0), 50_000.0);
    ewma.record(10, START);
    assert_eq!(ewma.measured(), Some(50_000.0));
    let nothing = PeakEwma::new();
    nothing.record(0, START);
    assert_eq!(nothing.cost(START, 0.0), 1.0, "a cost is never 0");
}

#[test]
fn workers_share_it_and_no_peak_is_lost() {
    let ewma = PeakEwma::new();
    let record = |worker: u64| (0..20_000).for_each(|n| ewma.record((n * 7 + worker) % 5_000, START + n));
    std::thread::scope(|scope| {
        (0..4).for_each(|worker| drop(scope.spawn(move || record(worker))));
        ewma.record(1_000_000, START);
    });
    let measured = ewma.measured().unwrap();
    assert!(measured > 990_000.0 && measured <= 1_000_000.0, "{measured}");
}

#[test]
fn the_median_is_the_lower_middle() {
    let of = |measured: &[f64]| median(&mut measured.to_vec());
    assert_eq!(of(&[]), UNKNOWN);
    assert_eq!(of(&[5.0]), 5.0);
    assert_eq!(of(&[9.0, 2.0]), 2.0);
    assert_eq!(of(&[3.0, 1.0, 2.0]), 2.0);
    assert_eq!(of(&[4.0, 3.0, 1.0, 2.0]), 2.0);
    assert_eq!(of(&[5e6, 20.0, 5e6]), 20.0, "failures are nobody's measure");
    assert_eq!(of(&[5e6, 3e6]), 2.5e6);
}

#[test]
fn who_only_failed_is_never_better_than_who_is_new() {
    let (failed, new) = (PeakEwma::new(), PeakEwma::new());
    for request in 0..100 {
        let now = START + request * SECOND / 2;
        failed.record_failure(100, None, now);
        let median = median(&mut failed.measured().into_iter().collect());
        let asked = now + SECOND / 2;
        assert!(new.cost(asked, median) < failed.cost(asked, median), "request {request}");
    }
}
