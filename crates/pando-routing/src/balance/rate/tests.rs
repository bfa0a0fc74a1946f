use super::*;
use crate::balance::SECOND;
use crate::balance::random::Draws;

const START: u64 = 3_000 * SECOND;
const TEN: Quota = Quota { requests: 10, window_seconds: 5, burst: 10 };

fn limiter(quota: Quota) -> Limiter {
    Limiter::new(quota, 64)
}

#[test]
fn a_burst_is_allowed_and_comes_back_evenly() {
    let mut limiter = limiter(TEN);
    for left in (0..10).rev() {
        let decision = limiter.check(1, START);
        assert_eq!((decision.allowed, decision.remaining, decision.retry_after_seconds), (true, left, 0));
    }
    let refused = limiter.check(1, START);
    let expected = Decision { allowed: false, remaining: 0, reset_seconds: 5, retry_after_seconds: 1 };
    assert_eq!(refused, expected);
    assert!(!limiter.check(1, START + SECOND / 2 - 1).allowed, "the refused one cost nothing");
    assert!(limiter.check(1, START + SECOND / 2).allowed && !limiter.check(1, START + SECOND / 2).allowed);
    assert_eq!(limiter.check(1, START + 60 * SECOND).remaining, 9);
}

#[test]
fn over_any_time_no_more_than_the_burst_and_the_rate_get_through() {
    for (requests, window_seconds, burst) in [(10, 1, 1), (100, 60, 5), (7, 3, 20), (600_000, 1, 10)] {
        let quota = Quota { requests, window_seconds, burst };
        let mut limiter = limiter(quota);
        let mut draws = Draws::new(9);
        let (mut now, mut passed) = (START, 0_u64);
        for _ in 0..20_000 {
            now += draws.below(30_000);
            passed += u64::from(limiter.check(1, now).allowed);
        }
        let seconds = (now - START) as f64 / SECOND as f64;
        let most = f64::from(burst) + seconds * f64::from(requests) / f64::from(window_seconds);
        assert!(passed as f64 <= most + 1.0, "{quota:?}: {passed} of {most}");
        let asked_enough = 20_000.0 / seconds > f64::from(requests) / f64::from(window_seconds) * 2.0;
        assert!(!asked_enough || passed as f64 > most * 0.9, "{quota:?}: {passed} of {most}");
    }
}

#[test]
fn waiting_as_long_as_was_said_is_enough() {
    let mut draws = Draws::new(4);
    for _ in 0..2_000 {
        let word = |draws: &mut Draws| u32::try_from(1 + draws.below(50)).unwrap();
        let quota =
            Quota { requests: word(&mut draws), window_seconds: word(&mut draws), burst: word(&mut draws) };
        let mut limiter = limiter(quota);
        let mut now = START;
        let refused = loop {
            let decision = limiter.check(1, now);
            if !decision.allowed {
                break decision;
            }
            now += draws.below(3);
        };
        assert!(limiter.check(1, now + refused.retry_after_seconds * SECOND).allowed, "{quota:?}");
        assert!(refused.retry_after_seconds <= refused.reset_seconds.max(1));
    }
}

#[test]
fn subjects_do_not_spend_each_others_quota() {
    let key = SecretKey([5; 16]);
    let mut limiter = limiter(TEN);
    let parse = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    let a = subject(&key, parse("192.0.2.1"), None);
    assert!((0..11).filter(|_| limiter.check(a, START).allowed).count() == 10);
    for other in [
        subject(&key, parse("192.0.2.2"), None),
        subject(&key, parse("192.0.2.1"), Some(b"x")),
        subject(&key, None, Some(b"x")),
    ] {
        assert!(limiter.check(other, START).allowed);
    }
    assert_eq!(a, subject(&key, parse("::ffff:192.0.2.1"), None));
    let net = |host: &str| subject(&key, parse(&format!("2001:db8:0:{host}")), None);
    assert_eq!(net("7::1"), net("7:ffff::2"));
    assert_ne!(net("7::1"), net("8::1"));
    assert_ne!(subject(&key, None, Some(b"x")), subject(&SecretKey([6; 16]), None, Some(b"x")));
}

#[test]
fn a_flood_of_subjects_takes_no_memory_and_forgets_the_hardest_last() {
    let key = SecretKey([5; 16]);
    let mut limiter = Limiter::new(TEN, 1024);
    let hard = subject(&key, None, Some(b"hard"));
    let mut passed = 0;
    for n in 0..200_000_u64 {
        let _ = limiter.check(subject(&key, None, Some(&n.to_le_bytes())), START + n);
        passed += u64::from(limiter.check(hard, START + n).allowed);
    }
    assert!(passed <= 11, "0.2 s of pressing let {passed} through");
    assert_eq!(limiter.places.len() * WAYS, 1024);
}

#[test]
fn a_quota_of_nothing_lets_nothing_through() {
    for quota in [
        Quota { requests: 0, window_seconds: 10, burst: 0 },
        Quota { requests: 0, window_seconds: 10, burst: 5 },
        Quota { requests: 5, window_seconds: 10, burst: 0 },
    ] {
        let decision = limiter(quota).check(1, START);
        assert_eq!((decision.allowed, decision.retry_after_seconds), (false, 10), "{quota:?}");
    }
    assert!(limiter(Quota { requests: 1, window_seconds: 0, burst: 1 }).check(0, START).allowed);
}

#[test]
fn fields_are_written_as_the_draft_has_them() {
    assert_eq!(PolicyField { name: "login", quota: TEN }.to_string(), r#""login";q=10;w=5"#);
    let decision = Decision { allowed: true, remaining: 3, reset_seconds: 4, retry_after_seconds: 0 };
    assert_eq!(LimitField { name: "a\"b\\é\n", decision }.to_string(), r#""a\"b\\";r=3;t=4"#);
}
