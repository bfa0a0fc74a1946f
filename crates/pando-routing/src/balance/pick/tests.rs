use uuid::Uuid;

use super::*;
use crate::balance::hash::SecretKey;
use crate::balance::random::Draws;
use crate::balance::testing::{Fake, assert_shares};

const SEED: u64 = 20_261_121;

fn ids(numbers: &[u128]) -> Vec<EndpointId> {
    numbers.iter().map(|n| EndpointId(Uuid::from_u128(*n))).collect()
}

fn picker(count: usize) -> Picker {
    let mut picker = Picker::default();
    picker.renew(ids(&(0..count as u128).collect::<Vec<_>>()));
    picker
}

/// How often each is picked.
fn shares(method: Method<'_>, pool: &Fake, rounds: usize) -> Vec<u64> {
    let mut picker = picker(pool.may.len());
    let tiers = Tiers::one(pool.may.len());
    let mut draws = Draws::new(SEED);
    let mut shares = vec![0; pool.may.len()];
    for _ in 0..rounds {
        shares[picker.pick(method, &tiers, pool, draws.bits()).unwrap()] += 1;
    }
    shares
}

fn order(method: Method<'_>, pool: &Fake, rounds: usize) -> Vec<usize> {
    let mut picker = picker(pool.may.len());
    let tiers = Tiers::one(pool.may.len());
    (0..rounds).map(|_| picker.pick(method, &tiers, pool, 0).unwrap()).collect()
}

fn every(places: &Places) -> [Method<'_>; 7] {
    [
        Method::RoundRobin,
        Method::WeightedRoundRobin,
        Method::LeastConnections,
        Method::PowerOfTwo,
        Method::PeakEwma,
        Method::Hash { places, key: Some(7) },
        Method::Hash { places, key: None },
    ]
}

fn places(count: usize) -> Places {
    let names: Vec<String> = (0..count).map(|n| format!("web-{n}")).collect();
    Places::new(&SecretKey([1; 16]), names.iter().map(String::as_str), 125)
}

#[test]
fn each_algorithm_of_a_table_has_its_method() {
    let places = places(2);
    let hash = Algorithm::Hash { key: crate::policy::HashKey::Address, bound_percent: 125 };
    let method = |algorithm: &Algorithm| Method::of(algorithm, Some(&places), Some(7));
    assert!(matches!(method(&Algorithm::default()), Method::PeakEwma));
    assert!(matches!(method(&Algorithm::RoundRobin), Method::RoundRobin));
    assert!(matches!(method(&Algorithm::WeightedRoundRobin), Method::WeightedRoundRobin));
    assert!(matches!(method(&Algorithm::LeastConnections), Method::LeastConnections));
    assert!(matches!(method(&Algorithm::PowerOfTwo), Method::PowerOfTwo));
    assert!(matches!(method(&Algorithm::PeakEwma), Method::PeakEwma));
    assert!(matches!(method(&hash), Method::Hash { key: Some(7), .. }));
    assert!(matches!(Method::of(&hash, None, Some(7)), Method::PowerOfTwo));
}

#[test]
fn nobody_able_is_nobody_and_the_only_one_able_gets_all() {
    let places = places(4);
    for method in every(&places) {
        let mut pool = Fake::new(&[1, 256, 3, 1]);
        let tiers = Tiers::one(4);
        pool.may = vec![false, false, true, false];
        let mut picker = picker(4);
        for random in 0..200 {
            assert_eq!(picker.pick(method, &tiers, &pool, random), Some(2), "{method:?}");
        }
        pool.may[2] = false;
        assert_eq!(picker.pick(method, &tiers, &pool, 1), None, "{method:?}");
        assert_eq!(picker.pick(method, &Tiers::one(0), &Fake::new(&[]), 1), None, "{method:?}");
    }
}

#[test]
fn the_first_tier_with_someone_able_serves_alone() {
    let places = places(5);
    let tiers = Tiers::new(&[(0, true), (0, true), (0, false), (1, true), (1, false)]);
    for method in every(&places) {
        let mut pool = Fake::new(&[1; 5]);
        pool.in_flight = vec![500, 500, 0, 0, 0];
        let mut picker = picker(5);
        let mut served = |pool: &Fake| -> Vec<usize> {
            let mut all: Vec<usize> =
                (0..100).filter_map(|random| picker.pick(method, &tiers, pool, random)).collect();
            all.sort_unstable();
            all.dedup();
            all
        };
        assert!(served(&pool).iter().all(|n| *n < 2), "{method:?}: loaded, but able");
        pool.may[..2].fill(false);
        assert_eq!(served(&pool), [2], "{method:?}: far before the next priority");
        pool.may[2] = false;
        assert_eq!(served(&pool), [3], "{method:?}");
    }
}

#[test]
fn round_robin_shares_exactly_among_those_able() {
    let mut pool = Fake::new(&[1, 9, 1, 200]);
    assert_eq!(shares(Method::RoundRobin, &pool, 400), [100; 4]);
    pool.may[1] = false;
    assert_eq!(shares(Method::RoundRobin, &pool, 300), [100, 0, 100, 100]);
}

#[test]
fn weighted_round_robin_is_smooth_as_published() {
    let order = order(Method::WeightedRoundRobin, &Fake::new(&[5, 1, 1]), 14);
    assert_eq!(order, [0, 0, 1, 0, 2, 0, 0, 0, 0, 1, 0, 2, 0, 0]);
    let pool = Fake::new(&[256, 128, 7, 1]);
    assert_eq!(shares(Method::WeightedRoundRobin, &pool, 392 * 5), [1280, 640, 35, 5]);
    assert_eq!(shares(Method::WeightedRoundRobin, &Fake::new(&[5, 1, 1]), 7000), [5000, 1000, 1000]);
    let equal = Fake::new(&[3; 3]);
    assert_eq!(self::order(Method::WeightedRoundRobin, &equal, 6), [0, 1, 2, 0, 1, 2]);
}

#[test]
fn a_turn_survives_a_change_of_membership() {
    let tiers = Tiers::one(3);
    let pool = Fake::new(&[1, 1, 1]);
    let mut picker = picker(3);
    let pick = |picker: &mut Picker| picker.pick(Method::WeightedRoundRobin, &tiers, &pool, 0).unwrap();
    assert_eq!([pick(&mut picker), pick(&mut picker)], [0, 1]);
    // Endpoint 2 is next wherever it stands; 0 goes, 7 is new.
    picker.renew(ids(&[7, 2, 1]));
    assert_eq!(pick(&mut picker), 1);
    let mut counts = [0; 3];
    for _ in 0..3000 {
        counts[pick(&mut picker)] += 1;
    }
    assert!(counts.iter().all(|count| (999..=1001).contains(count)), "{counts:?}");
}

#[test]
fn the_least_loaded_wins_by_weight_and_equals_take_turns() {
    let mut pool = Fake::new(&[1, 1, 1, 1]);
    pool.in_flight = vec![2, 1, 1, 0];
    assert_eq!(shares(Method::LeastConnections, &pool, 10), [0, 0, 0, 10]);
    pool.may[3] = false;
    assert_eq!(shares(Method::LeastConnections, &pool, 10), [0, 5, 5, 0]);
    let mut heavy = Fake::new(&[1, 4]);
    heavy.in_flight = vec![1, 3];
    assert_eq!(shares(Method::LeastConnections, &heavy, 10), [0, 10], "3/4 is less than 1/1");
    heavy.in_flight = vec![1, 5];
    assert_eq!(shares(Method::LeastConnections, &heavy, 10), [10, 0]);
}

#[test]
fn an_idle_pool_is_shared_by_weight_with_least_connections() {
    let seen = shares(Method::LeastConnections, &Fake::new(&[1, 3, 6]), 10_000);
    for (seen, expected) in seen.iter().zip([1000_i64, 3000, 6000]) {
        assert!((seen.cast_signed() - expected).abs() <= 5, "{seen} of {expected}");
    }
}

#[test]
fn power_of_two_draws_by_weight_and_two_distinct_ones() {
    let weights = [1, 2, 3, 10];
    let seen = shares(Method::PowerOfTwo, &Fake::new(&weights), 100_000);
    assert_shares(SEED, &seen, &weights.map(f64::from));
    // Distinct: of two, the idle one always; of four equally loaded but one, that one whenever it is drawn: in half the pairs.
    let mut pool = Fake::new(&[1, 1]);
    pool.in_flight[0] = 1;
    assert_eq!(shares(Method::PowerOfTwo, &pool, 1000), [0, 1000]);
    let mut pool = Fake::new(&[1; 4]);
    pool.in_flight = vec![5, 5, 5, 0];
    let seen = shares(Method::PowerOfTwo, &pool, 60_000);
    assert_shares(SEED, &seen, &[1.0, 1.0, 1.0, 3.0]);
}

/// With loads 0 < 1 < … the k-th of n is the lesser of a pair in (n - k) of the n(n-1)/2 pairs.
#[test]
fn power_of_two_follows_the_definition_by_rank() {
    let mut pool = Fake::new(&[1; 5]);
    pool.in_flight = vec![0, 1, 2, 3, 4];
    let seen = shares(Method::PowerOfTwo, &pool, 100_000);
    assert_eq!(seen[4], 0, "the worst is never the better of two");
    assert_shares(SEED, &seen[..4], &[4.0, 3.0, 2.0, 1.0]);
}

#[test]
fn peak_ewma_weighs_cost_load_and_weight() {
    let mut pool = Fake::new(&[1, 1, 1, 1]);
    pool.cost = vec![10.0, 20.0, 30.0, 40.0];
    let seen = shares(Method::PeakEwma, &pool, 60_000);
    assert_eq!(seen[3], 0);
    assert_shares(SEED, &seen[..3], &[3.0, 2.0, 1.0]);
    let mut pool = Fake::new(&[1, 4]);
    pool.cost = vec![10.0, 30.0];
    assert_eq!(shares(Method::PeakEwma, &pool, 100), [0, 100], "30 / 4 is less than 10");
    pool.in_flight[1] = 1;
    assert_eq!(shares(Method::PeakEwma, &pool, 100), [100, 0], "60 / 4 is more than 10");
    let mut pool = Fake::new(&[1, 1]);
    pool.cost = vec![10.0, 21.0];
    pool.in_flight[0] = 1;
    assert_eq!(shares(Method::PeakEwma, &pool, 100), [100, 0], "10 · 2 is less than 21 · 1");
}

#[test]
fn draws_are_fair_where_few_may() {
    let mut pool = Fake::new(&[1; 40]);
    pool.may = (0..40).map(|n| n % 10 == 3).collect();
    let seen = shares(Method::PowerOfTwo, &pool, 40_000);
    let able: Vec<u64> = seen.iter().copied().filter(|count| *count > 0).collect();
    assert_eq!(able.iter().sum::<u64>(), 40_000);
    assert_shares(SEED, &able, &[1.0; 4]);
}

#[test]
fn one_that_warms_up_gets_its_part_and_neither_flood_nor_nothing() {
    for (method, expected) in [
        (Method::RoundRobin, 26.0 / (26.0 + 3.0 * 256.0)),
        (Method::WeightedRoundRobin, 26.0 / (26.0 + 3.0 * 256.0)),
        (Method::LeastConnections, 26.0 / (26.0 + 3.0 * 256.0)),
    ] {
        let mut pool = Fake::new(&[1; 4]);
        pool.warmth[2] = warm::FLOOR;
        let seen = shares(method, &pool, 100_000)[2] as f64 / 100_000.0;
        assert!((seen - expected).abs() < 0.001, "{method:?}: {seen} instead of {expected}");
    }
    // Idle among busy ones it would be the better of every pair it is drawn in: half of all picks.
    for method in [Method::PowerOfTwo, Method::PeakEwma] {
        let mut pool = Fake::new(&[1; 4]);
        pool.warmth[2] = warm::FLOOR;
        pool.in_flight = vec![9, 9, 0, 9];
        let seen = shares(method, &pool, 100_000)[2] as f64 / 100_000.0;
        let expected = 0.5 * f64::from(warm::FLOOR) / 256.0;
        assert!((seen - expected).abs() < 0.005, "{method:?}: {seen} instead of {expected}");
    }
}

#[test]
fn those_that_warm_up_serve_when_nobody_else_may() {
    let places = places(3);
    for method in every(&places) {
        let mut pool = Fake::new(&[1; 3]);
        pool.warmth = vec![warm::FULL, warm::FLOOR, warm::FLOOR];
        pool.may[0] = false;
        let mut picker = picker(3);
        let tiers = Tiers::one(3);
        assert!((0..500).all(|random| picker.pick(method, &tiers, &pool, random).is_some()), "{method:?}");
    }
}

/// Other workers change what a candidate answers between two looks.
#[test]
fn one_that_drops_out_between_the_looks_is_passed_over() {
    struct Fickle(Fake, std::cell::Cell<u64>);
    impl Candidates for Fickle {
        fn count(&self) -> usize {
            self.0.count()
        }
        fn may(&self, n: usize) -> bool {
            self.1.set(self.1.get() + 1);
            n == 0 || crate::balance::random::mix(self.1.get()).is_multiple_of(2)
        }
        fn weight(&self, n: usize) -> u32 {
            self.0.weight(n)
        }
        fn heaviest(&self) -> u32 {
            self.0.heaviest()
        }
        fn warmth(&self, n: usize) -> u32 {
            self.0.warmth(n)
        }
        fn in_flight(&self, _: usize) -> u64 {
            self.1.get() % 3
        }
        fn cost(&self, n: usize) -> f64 {
            self.0.cost(n)
        }
    }
    let places = places(4);
    for method in every(&places) {
        let pool = Fickle(Fake::new(&[1, 2, 1, 5]), std::cell::Cell::new(0));
        let mut picker = picker(4);
        let tiers = Tiers::one(4);
        for random in 0..2000 {
            let chosen = picker.pick(method, &tiers, &pool, random);
            assert!(chosen.is_some_and(|n| n < 4), "{method:?}: the first may always");
        }
    }
}
