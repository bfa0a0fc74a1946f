//! A new replica beside warm ones: neither flooded nor starved, by any algorithm.

use pando_routing::balance::pick::Method;

use crate::simulation::Simulation;

const PER_SECOND: f64 = 300.0;

/// The new one's shares in each of so many seconds after it came, as parts of a fair share.
fn growth(method: Method<'_>, seconds: usize) -> Vec<f64> {
    let mut simulation = Simulation::new(21, &[10.0; 5]);
    simulation.replicas[3].in_rotation = false;
    simulation.run(method, 10_000, PER_SECOND);
    simulation.take_shares();
    simulation.replicas[3].in_rotation = true;
    simulation.replicas[3].since = simulation.now;
    let mut second = || {
        simulation.run(method, 300, PER_SECOND);
        simulation.take_shares()[3] / 0.2
    };
    (0..seconds).map(|_| second()).collect()
}

fn mean(shares: &[f64]) -> f64 {
    shares.iter().sum::<f64>() / shares.len() as f64
}

/// Within the first two seconds, in the middle, and after half a minute; measured 0.13, 0.24, 0.29, 0.62 at first. Least
/// connections can't give less than one at a time to someone, which here is more than half of a fair share.
#[test]
fn a_new_replica_gets_more_and_more_until_its_share_is_fair() {
    for (method, most_at_first) in [
        (Method::RoundRobin, 0.2),
        (Method::WeightedRoundRobin, 0.2),
        (Method::PowerOfTwo, 0.4),
        (Method::PeakEwma, 0.4),
        (Method::LeastConnections, 0.75),
    ] {
        let shares = growth(method, 90);
        let (first, middle, warm) = (mean(&shares[..2]), mean(&shares[6..9]), mean(&shares[30..]));
        assert!((0.08..most_at_first).contains(&first), "{method:?}: {first} at first");
        assert!((0.4..0.9).contains(&middle) && first < middle, "{method:?}: {middle} in the middle");
        assert!((0.93..1.07).contains(&warm), "{method:?}: {warm} when warm");
        assert!(shares[..15].iter().all(|share| *share < 1.2), "{method:?}: {shares:?}");
    }
}
