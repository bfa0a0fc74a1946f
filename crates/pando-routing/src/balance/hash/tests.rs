use super::*;
use crate::balance::random::Draws;
use crate::balance::testing::{Fake, assert_shares};

const KEY: SecretKey = SecretKey([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
const SEED: u64 = 42;

fn named(names: &[&str], bound_percent: u32) -> Places {
    Places::new(&KEY, names.iter().copied(), bound_percent)
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("web-{n}")).collect()
}

fn places(count: usize, bound_percent: u32) -> Places {
    Places::new(&KEY, names(count).iter().map(String::as_str), bound_percent)
}

fn find(places: &Places, key: u64, pool: &Fake) -> usize {
    places.find(key, pool, 0..pool.may.len()).unwrap()
}

/// The authors' test vectors: the key above, and as many bytes counting up.
#[test]
fn the_hash_is_siphash() {
    let bytes: Vec<u8> = (0..15).collect();
    assert_eq!(KEY.hash(&[]), 0x726f_db47_dd0e_0e31);
    assert_eq!(KEY.hash(&bytes[..8]), 0x93f5_f579_9a93_2462);
    assert_eq!(KEY.hash(&bytes), 0xa129_ca61_49be_45e5);
}

#[test]
fn an_address_is_one_however_it_is_written() {
    let hash = |text: &str| KEY.hash_address(text.parse().unwrap());
    assert_eq!(hash("192.0.2.7"), KEY.hash(&[192, 0, 2, 7]));
    assert_eq!(hash("::ffff:192.0.2.7"), hash("192.0.2.7"));
    assert_ne!(hash("2001:db8::1"), hash("2001:db8::2"));
}

/// What one version places, the next must place alike: balancers of two versions serve side by side during an upgrade. The
/// places were computed apart from this code, with SipHash written anew and the logarithm in floating point.
#[test]
fn placement_stays_from_version_to_version() {
    let places = places(5, 125);
    let placed = |pool: &Fake| -> Vec<usize> {
        (0..12).map(|user| find(&places, KEY.hash(format!("user-{user}").as_bytes()), pool)).collect()
    };
    assert_eq!(placed(&Fake::new(&[1; 5])), [2, 0, 4, 3, 1, 1, 2, 4, 4, 3, 2, 0]);
    assert_eq!(placed(&Fake::new(&[1, 2, 3, 4, 5])), [2, 0, 4, 3, 1, 1, 2, 4, 4, 3, 2, 3]);
}

#[test]
fn the_logarithm_is_right_and_monotone() {
    let mut draws = Draws::new(SEED);
    let mut all: Vec<u64> = (0..20_000).map(|_| draws.bits() >> draws.below(63)).collect();
    all.extend([0, 1, 2, 3, u64::MAX, u64::MAX - 1, 1 << 63, (1 << 63) - 1]);
    all.sort_unstable();
    for bits in all.iter().copied().filter(|bits| *bits > 0) {
        let exact = 64.0 - (bits as f64).log2();
        let found = minus_log2(bits) as f64 / (1_u64 << 32) as f64;
        assert!((exact - found).abs() < 3e-6, "{bits}: {found} instead of {exact}");
    }
    assert!(all.iter().rev().map(|bits| minus_log2(*bits)).is_sorted());
}

#[test]
fn keys_spread_by_weight() {
    for weights in [vec![1; 7], vec![1, 2, 3, 4, 10], vec![256, 1, 128]] {
        let (places, pool) = (places(weights.len(), 125), Fake::new(&weights));
        let mut draws = Draws::new(SEED);
        let mut seen = vec![0; weights.len()];
        for _ in 0..100_000 {
            seen[find(&places, draws.bits(), &pool)] += 1;
        }
        let expected: Vec<f64> = weights.iter().copied().map(f64::from).collect();
        assert_shares(SEED, &seen, &expected);
    }
}

#[test]
fn one_that_leaves_moves_its_own_keys_and_no_other() {
    let names = names(10);
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    for weights in [[1; 10], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]] {
        let (before, pool) = (named(&all, 0), Fake::new(&weights));
        let rest: Vec<&str> = all.iter().copied().filter(|name| *name != "web-4").collect();
        let mut fewer = weights.to_vec();
        fewer.remove(4);
        let (after, less) = (named(&rest, 0), Fake::new(&fewer));
        let mut moved = 0;
        for key in 0..50_000_u64 {
            let key = KEY.hash(&key.to_le_bytes());
            let (was, is) = (all[find(&before, key, &pool)], rest[find(&after, key, &less)]);
            assert!(was == is || was == "web-4", "{was} → {is}");
            moved += u64::from(was != is);
        }
        let part = f64::from(weights[4]) / f64::from(weights.iter().sum::<u32>());
        assert_shares(SEED, &[moved, 50_000 - moved], &[part, 1.0 - part]);
    }
}

#[test]
fn the_order_of_the_table_and_those_out_of_rotation_change_nothing_for_others() {
    let (forth, back) = (named(&["a", "b", "c"], 125), named(&["c", "b", "a"], 125));
    let pool = Fake::new(&[1; 3]);
    let mut out = pool.clone();
    out.may[1] = false;
    for key in 0..2000 {
        let at = find(&forth, mix(key), &pool);
        assert_eq!(2 - at, find(&back, mix(key), &pool));
        let without = find(&forth, mix(key), &out);
        assert!(without == at || at == 1);
    }
}

/// The bound of the paper, at every single step: nobody above ⌈c · m · weight / weights⌉.
#[test]
fn no_endpoint_gets_more_than_its_bound() {
    for weights in [vec![1; 8], vec![1, 1, 2, 4, 8]] {
        let places = places(weights.len(), 125);
        let mut pool = Fake::new(&weights);
        let mut draws = Draws::new(SEED);
        let all: u32 = weights.iter().sum();
        for sent in 1..=4000_u64 {
            // One key in two is the same: without a bound its endpoint would have half of all.
            let key = if sent % 2 == 0 { 99 } else { draws.bits() };
            let n = find(&places, key, &pool);
            pool.in_flight[n] += 1;
            let bound = (1.25 * sent as f64 * f64::from(weights[n]) / f64::from(all)).ceil();
            assert!(pool.in_flight[n] as f64 <= bound, "{:?} after {sent}", pool.in_flight);
        }
    }
}

#[test]
fn without_a_bound_a_key_stays_however_much_there_is() {
    let (bound, unbound) = (places(4, 125), places(4, 0));
    let mut pool = Fake::new(&[1; 4]);
    let home = find(&unbound, 5, &pool);
    pool.in_flight[home] = 1000;
    assert_eq!(find(&unbound, 5, &pool), home);
    assert_ne!(find(&bound, 5, &pool), home);
}

#[test]
fn of_two_with_one_name_the_first_gets_all_and_a_key_is_never_shown() {
    let pool = Fake::new(&[1; 3]);
    let places = named(&["web-1", "web-1", "web-2"], 0);
    assert!((0..500).all(|key| find(&places, mix(key), &pool) != 1));
    assert_eq!(format!("{KEY:?}"), "SecretKey(…)");
}
