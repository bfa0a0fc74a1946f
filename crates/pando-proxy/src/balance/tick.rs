//! What is found out some times a second, so that no request has to: how warm endpoints are, what a pool's answers take, whose
//! drain is over, who waits in vain.

use std::sync::Arc;
use std::time::Duration;

use pando_routing::balance::{ewma, warm};

use super::moment;
use super::slow::Slow;
use crate::plane::Plane;
use crate::snapshot::{PoolView, Snapshot};

const TICK: Duration = Duration::from_millis(100);

/// Thousands of endpoints that come into rotation at once are looked at together.
const LEAST: Duration = Duration::from_millis(5);

/// How often it is found out what counts as slow.
const SLOW_MICROS: u64 = 1_000_000;

/// For ever. A change of the rotation is looked at when it happens.
pub(crate) async fn run(plane: Arc<Plane>) {
    let (mut measured, mut slow, mut looked) = (Vec::new(), Slow::default(), 0);
    loop {
        let seen = plane.sequence.now();
        let now = moment::now();
        if let Some(snapshot) = plane.current() {
            renew(&snapshot, &mut measured, now);
            if now.saturating_sub(looked) >= SLOW_MICROS {
                slow.renew(&snapshot, now);
                looked = now;
            }
        }
        end_drains(&plane);
        tokio::time::sleep(LEAST).await;
        plane.sequence.wait_beyond(seen, TICK).await;
    }
}

fn renew(snapshot: &Snapshot, measured: &mut Vec<f64>, now: u64) {
    for pool in snapshot.pools() {
        measured.clear();
        measured.extend(pool.active.iter().filter_map(|endpoint| endpoint.ewma.measured()));
        pool.live.set_median(ewma::median(measured));
        warm_up(pool, now);
        // Whoever came into rotation by now, came without a request that ended.
        pool.live.line.call();
    }
}

fn warm_up(pool: &PoolView, now: u64) {
    let window = pool.settings.slow_start_millis.saturating_mul(1000);
    for tier in pool.tiers.ranges() {
        let tier = &pool.active[tier];
        let is_warm =
            |n: &usize| pool.is_ready(&tier[*n]) && warm::is_warm(now, tier[*n].in_rotation_since(), window);
        let warm_ones = (0..tier.len()).filter(is_warm).count();
        for (n, endpoint) in tier.iter().enumerate() {
            let peers = warm_ones - usize::from(is_warm(&n)).min(warm_ones);
            endpoint.set_warmth(warm::factor(now, endpoint.in_rotation_since(), window, peers));
        }
    }
}

fn end_drains(plane: &Plane) {
    let now = plane.clock.now_millis();
    let registry = plane.registry();
    registry.endpoints().for_each(|endpoint| endpoint.stop_keeping(now));
}
