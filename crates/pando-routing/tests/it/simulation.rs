//! A pool of replicas on virtual time.
//!
//! Requests come at random (exponential gaps); a replica has one hand and a line, as a
//! process of Ruby, Python or Node has, and its service times are exponential. Nothing
//! here reads a clock: a second of it is a second of `now`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use pando_routing::EndpointId;
use pando_routing::balance::SECOND;
use pando_routing::balance::ewma::{PeakEwma, median};
use pando_routing::balance::pick::{Candidates, Method, Picker};
use pando_routing::balance::random::Draws;
use pando_routing::balance::tier::Tiers;
use pando_routing::balance::warm;
use uuid::Uuid;

/// One replica.
#[derive(Default)]
pub(crate) struct Replica {
    /// Mean time for a request, in microseconds.
    pub(crate) service: f64,
    /// It fails every request, after a tenth of a millisecond.
    pub(crate) broken: bool,
    /// When it came into rotation.
    pub(crate) since: u64,
    pub(crate) in_rotation: bool,
    /// Requests it was given.
    pub(crate) served: u64,
    in_flight: u64,
    free_at: u64,
    ewma: PeakEwma,
}

/// When it ends, where, when it began.
type Ending = Reverse<(u64, usize, u64)>;

pub(crate) struct Simulation {
    pub(crate) replicas: Vec<Replica>,
    pub(crate) now: u64,
    /// Microseconds from begin to end, of every request that has ended.
    pub(crate) latencies: Vec<u64>,
    draws: Draws,
    picker: Picker,
    tiers: Tiers,
    endings: BinaryHeap<Ending>,
    median: f64,
    next_median: u64,
}

const SLOW_START: u64 = 15 * SECOND;

struct View<'s>(&'s [Replica], u64, f64);

impl Candidates for View<'_> {
    fn count(&self) -> usize {
        self.0.len()
    }

    fn may(&self, n: usize) -> bool {
        self.0[n].in_rotation
    }

    fn weight(&self, _: usize) -> u32 {
        1
    }

    fn heaviest(&self) -> u32 {
        1
    }

    fn warmth(&self, n: usize) -> u32 {
        let is_warm =
            |replica: &&Replica| replica.in_rotation && warm::is_warm(self.1, replica.since, SLOW_START);
        let warm_peers = self.0.iter().filter(is_warm).count();
        warm::factor(self.1, self.0[n].since, SLOW_START, warm_peers)
    }

    fn in_flight(&self, n: usize) -> u64 {
        self.0[n].in_flight
    }

    fn cost(&self, n: usize) -> f64 {
        self.0[n].ewma.cost(self.1, self.2)
    }
}

impl Simulation {
    /// Replicas with these mean service times in milliseconds, all in rotation and warm.
    pub(crate) fn new(seed: u64, services: &[f64]) -> Self {
        let replica =
            |millis: &f64| Replica { service: millis * 1000.0, in_rotation: true, ..Replica::default() };
        let mut picker = Picker::default();
        picker.renew((0..services.len() as u128).map(|n| EndpointId(Uuid::from_u128(n))));
        Self {
            replicas: services.iter().map(replica).collect(),
            now: 100 * SECOND,
            latencies: Vec::new(),
            draws: Draws::new(seed),
            picker,
            tiers: Tiers::one(services.len()),
            endings: BinaryHeap::new(),
            median: median(&mut Vec::new()),
            next_median: 0,
        }
    }

    /// So many requests, at so many a second.
    pub(crate) fn run(&mut self, method: Method<'_>, requests: usize, per_second: f64) {
        for _ in 0..requests {
            self.now += self.exponential(SECOND as f64 / per_second);
            self.end_what_is_over();
            self.begin(method);
        }
    }

    /// What 99 of 100 requests took at most, in milliseconds.
    pub(crate) fn p99(&mut self) -> f64 {
        self.latencies.sort_unstable();
        self.latencies[self.latencies.len() * 99 / 100] as f64 / 1000.0
    }

    /// The parts of the requests that each replica got since the last call.
    pub(crate) fn take_shares(&mut self) -> Vec<f64> {
        let all: u64 = self.replicas.iter().map(|replica| replica.served).sum();
        self.replicas
            .iter_mut()
            .map(|replica| std::mem::take(&mut replica.served) as f64 / all as f64)
            .collect()
    }

    fn begin(&mut self, method: Method<'_>) {
        let view = View(&self.replicas, self.now, self.median);
        let n = self.picker.pick(method, &self.tiers, &view, self.draws.bits()).unwrap();
        let service = self.exponential(self.replicas[n].service);
        let replica = &mut self.replicas[n];
        replica.served += 1;
        replica.in_flight += 1;
        let end = if replica.broken { self.now + 100 } else { self.now.max(replica.free_at) + service };
        replica.free_at = replica.free_at.max(end);
        self.endings.push(Reverse((end, n, self.now)));
    }

    fn end_what_is_over(&mut self) {
        while let Some(Reverse((end, n, began))) =
            self.endings.peek().copied().filter(|next| next.0.0 <= self.now)
        {
            self.endings.pop();
            let replica = &mut self.replicas[n];
            replica.in_flight -= 1;
            if replica.broken {
                replica.ewma.record_failure(end - began, None, end);
            } else {
                replica.ewma.record(end - began, end);
            }
            self.latencies.push(end - began);
        }
        if self.now >= self.next_median {
            let mut measured: Vec<f64> =
                self.replicas.iter().filter_map(|replica| replica.ewma.measured()).collect();
            self.median = median(&mut measured);
            self.next_median = self.now + SECOND / 10;
        }
    }

    fn exponential(&mut self, mean: f64) -> u64 {
        let time = -(1.0 - self.draws.fraction()).ln() * mean;
        std::time::Duration::from_secs_f64(time / 1e6).as_micros().try_into().unwrap()
    }
}
