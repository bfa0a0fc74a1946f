//! What the load balancers counted, in memory alone.
//!
//! Counters begin anew with each run of a load balancer, so the last word of
//! earlier runs is kept too: a deploy's summary must not lose what was served
//! before a restart.

mod meter;
pub mod news;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pando_api::v1::balancers::RequestCounts;
use pando_api::v1::traffic::{EndpointSeen, EndpointTraffic, EndpointView, ProxyTraffic, Traffic};
use pando_model::id::ServerId;
use pando_model::name::{AppName, ServerName};
use pando_model::time::{Millis, Timestamp};
use pando_routing::{
    Ejected, Endpoint, EndpointId, EndpointState, EndpointStats, PoolStats, ProxyStats, Table,
};
use uuid::Uuid;

use meter::Meter;
use news::News;

/// Runs that are remembered of each server's load balancer.
const BOOTS: usize = 8;

/// Of so many of them, the newest, each endpoint's figures are remembered too: one may still hand over to the next.
const DETAILED: usize = 2;

/// A server's load balancer is told of so many times in a minute: nobody reads more, and who lies must not flood the events.
const MOST_NEWS: usize = 60;
const MINUTE: Millis = Millis::from_secs(60);

/// The newest counters of each run, and what arrived lately.
#[derive(Debug, Default)]
pub struct TrafficMemory(Mutex<BTreeMap<ServerId, Known>>);

#[derive(Debug, Default)]
struct Known {
    runs: Vec<Run>,
    meter: Option<Meter>,
    /// When the minute began that is under way, and how much was told in it.
    told: (Timestamp, usize),
}

#[derive(Debug, Clone)]
struct Run {
    boot: Uuid,
    sequence: u64,
    heard_at: Timestamp,
    pools: BTreeMap<String, PoolStats>,
    unmatched: u64,
    endpoints: BTreeMap<EndpointId, EndpointStats>,
    in_flight: BTreeMap<EndpointId, u64>,
    not_in_rotation: BTreeSet<EndpointId>,
    ejected: Vec<Ejected>,
    why_out: BTreeMap<EndpointId, String>,
}

impl Run {
    fn of(stats: &ProxyStats, now: Timestamp) -> Self {
        Self {
            boot: stats.boot,
            sequence: stats.sequence,
            heard_at: now,
            pools: stats.pools.iter().map(|(id, stats)| (id.0.clone(), stats.clone())).collect(),
            unmatched: stats.unmatched,
            endpoints: stats.endpoints.clone(),
            in_flight: stats.in_flight.clone(),
            not_in_rotation: stats.not_in_rotation.clone(),
            ejected: stats.ejected.clone(),
            why_out: stats.why_out.clone(),
        }
    }

    fn forget_endpoints(&mut self) {
        self.endpoints = BTreeMap::new();
        self.in_flight = BTreeMap::new();
        self.not_in_rotation = BTreeSet::new();
        self.ejected = Vec::new();
    }

    fn sees(&self, server: &ServerName, id: EndpointId) -> Option<EndpointSeen> {
        let in_flight = self.in_flight.get(&id).copied().unwrap_or(0);
        let stats = self.endpoints.get(&id).copied();
        // One that drains is in no count, and matters while something is under way.
        (stats.is_some() || in_flight > 0).then(|| EndpointSeen {
            server: server.clone(),
            boot: self.boot,
            heard_at: self.heard_at,
            in_rotation: stats.is_some() && !self.not_in_rotation.contains(&id),
            ejected: self.ejected.iter().find(|ejected| ejected.endpoint == id).cloned(),
            why_out: self.why_out.get(&id).cloned(),
            in_flight,
            stats: stats.unwrap_or_default(),
        })
    }
}

impl TrafficMemory {
    /// Takes what a server's load balancer said, and tells what has happened since its last word; a late message changes nothing.
    pub fn record(&self, server: ServerId, stats: &ProxyStats, now: Timestamp) -> Vec<News> {
        self.lock().entry(server).or_default().record(Run::of(stats, now), now)
    }

    /// The endpoints of `table` as each load balancer sees them; those of one app, or all.
    pub(crate) fn endpoints(
        &self,
        table: &Table,
        app: Option<&AppName>,
        name: impl Fn(ServerId) -> Option<ServerName>,
        now: Timestamp,
    ) -> EndpointTraffic {
        let prefix = app.map(|app| format!("{app}/"));
        let wanted = |pool: &str| prefix.as_deref().is_none_or(|prefix| pool.starts_with(prefix));
        let known = self.lock();
        // The newest run of each alone: an older one is over, or has handed over what it had.
        let newest = known.iter().filter_map(|(server, known)| {
            Some((name(*server)?, known.runs.iter().max_by_key(|run| run.heard_at)?))
        });
        let newest: Vec<_> = newest.collect();
        let seen = |endpoint: &Endpoint| {
            newest.iter().filter_map(|(server, run)| run.sees(server, endpoint.id)).collect()
        };
        let views =
            table.endpoints().filter(|(pool, _)| wanted(&pool.0)).map(|(pool, endpoint)| EndpointView {
                pool: pool.0.clone(),
                name: endpoint.name.clone(),
                address: endpoint.address,
                draining: endpoint.state != EndpointState::Active,
                seen: seen(endpoint),
            });
        let mut endpoints: Vec<_> = views.collect();
        endpoints.sort_by(|a, b| (&a.pool, &a.name).cmp(&(&b.pool, &b.name)));
        EndpointTraffic { now, endpoints }
    }

    /// What arrived at a server lately. Nothing was heard of it: zeros.
    #[must_use]
    pub fn counts(&self, server: ServerId, now: Timestamp) -> RequestCounts {
        let servers = self.lock();
        let meter = servers.get(&server).and_then(|known| known.meter.as_ref());
        meter.map(|meter| meter.counts(now)).unwrap_or_default()
    }

    /// Forgets servers that `keep` does not know (any more).
    pub fn retain(&self, keep: impl Fn(ServerId) -> bool) {
        self.lock().retain(|server, _| keep(*server));
    }

    /// Everything, or the pools of one app. `name` tells a server's name.
    #[must_use]
    pub fn view(&self, app: Option<&AppName>, name: impl Fn(ServerId) -> Option<ServerName>) -> Traffic {
        let prefix = app.map(|app| format!("{app}/"));
        let wanted = |pool: &str| prefix.as_deref().is_none_or(|prefix| pool.starts_with(prefix));
        let mut proxies = Vec::new();
        for (server, known) in self.lock().iter() {
            let Some(server_name) = name(*server) else { continue };
            proxies.extend(known.runs.iter().map(|run| {
                ProxyTraffic {
                    server: *server,
                    server_name: server_name.clone(),
                    boot: run.boot,
                    heard_at: run.heard_at,
                    pools: run
                        .pools
                        .iter()
                        .filter(|(id, _)| wanted(id))
                        .map(|(id, s)| (id.clone(), s.clone()))
                        .collect(),
                }
            }));
        }
        Traffic { proxies }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServerId, Known>> {
        // Each change is complete in itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn record(&mut self, run: Run, now: Timestamp) -> Vec<News> {
        let place = self.runs.iter().position(|known| known.boot == run.boot);
        let before = place.map(|place| &self.runs[place]);
        if before.is_some_and(|before| is_older(&run, before)) {
            return Vec::new();
        }
        let news = news::news(before.or(self.runs.last()), &run);
        let (arrived, unmatched) = (arrived(&run, before), unmatched(&run, before));
        match &mut self.meter {
            Some(meter) => meter.add(arrived, unmatched, now),
            None => self.meter = Some(Meter::new(arrived, unmatched, now)),
        }
        match place {
            Some(place) => self.runs[place] = run,
            None => {
                let surplus = (self.runs.len() + 1).saturating_sub(BOOTS);
                self.runs.drain(..surplus);
                self.runs.push(run);
                let older = self.runs.len().saturating_sub(DETAILED);
                self.runs[..older].iter_mut().for_each(Run::forget_endpoints);
            }
        }
        self.within_bounds(news, now)
    }

    fn within_bounds(&mut self, mut news: Vec<News>, now: Timestamp) -> Vec<News> {
        if now.since(self.told.0) >= MINUTE {
            self.told = (now, 0);
        }
        news.truncate(MOST_NEWS - self.told.1.min(MOST_NEWS));
        self.told.1 += news.len();
        news
    }
}

/// Requests beyond those that an earlier message of the same run told of, pool by pool: a pool may have been forgotten meanwhile.
fn arrived(run: &Run, before: Option<&Run>) -> u64 {
    let received = |pool: &PoolStats| pool.requests + pool.cancelled;
    let pools = run.pools.iter().map(|(id, pool)| {
        let old = before.and_then(|before| before.pools.get(id)).map_or(0, received);
        received(pool).saturating_sub(old)
    });
    pools.sum()
}

fn unmatched(run: &Run, before: Option<&Run>) -> u64 {
    run.unmatched.saturating_sub(before.map_or(0, |before| before.unmatched))
}

/// Counters alone do not raise the sequence; of two messages with the same, the one that counted more is newer.
fn is_older(new: &Run, known: &Run) -> bool {
    let requests = |run: &Run| run.pools.values().map(|pool| pool.requests).sum::<u64>();
    (new.sequence, requests(new)) < (known.sequence, requests(known))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pando_routing::PoolId;

    fn stats(boot: u128, sequence: u64, requests: u64) -> ProxyStats {
        let pool = PoolStats { requests, ..PoolStats::default() };
        ProxyStats {
            boot: Uuid::from_u128(boot),
            sequence,
            secrets: Default::default(),
            version: None,
            not_in_rotation: Default::default(),
            in_flight: Default::default(),
            pools: ["hits/web", "hits-two/web"].map(|id| (PoolId(id.to_owned()), pool.clone())).into(),
            unmatched: 0,
            hosts_without_certificate: Vec::new(),
            endpoints: Default::default(),
            ejected: Vec::new(),
            why_out: BTreeMap::new(),
        }
    }

    fn server() -> ServerId {
        ServerId::from_uuid(Uuid::from_u128(1))
    }

    fn requests(memory: &TrafficMemory) -> Vec<u64> {
        let app = AppName::new("hits").unwrap();
        let view = memory.view(Some(&app), |_| ServerName::new("main").ok());
        view.proxies
            .iter()
            .map(|proxy| {
                assert_eq!(proxy.pools.keys().collect::<Vec<_>>(), ["hits/web"]);
                proxy.pools["hits/web"].requests
            })
            .collect()
    }

    #[test]
    fn earlier_runs_are_remembered_and_late_messages_dropped() {
        let memory = TrafficMemory::default();
        for (boot, sequence, count) in [(1, 1, 10), (1, 2, 30), (1, 1, 20), (1, 2, 25), (2, 1, 4)] {
            memory.record(server(), &stats(boot, sequence, count), Timestamp::default());
        }
        assert_eq!(requests(&memory), [30, 4]);
    }

    #[test]
    fn what_arrives_is_counted_over_restarts_of_the_load_balancer() {
        let memory = TrafficMemory::default();
        let at = |seconds: i64| Timestamp::from_millis(seconds * 1000);
        assert_eq!(memory.counts(server(), at(0)), RequestCounts::default());
        // Each message counts for two pools.
        for (boot, sequence, count, second) in
            [(1, 1, 100, 0), (1, 2, 110, 10), (2, 1, 5, 20), (1, 1, 90, 21)]
        {
            memory.record(server(), &stats(boot, sequence, count), at(second));
        }
        let counts = memory.counts(server(), at(30));
        assert_eq!((counts.last_minute, counts.total), (30, 230));
        assert_eq!(counts.heard_at, Some(at(20)));
        memory.retain(|_| false);
        assert_eq!(memory.counts(server(), at(30)), RequestCounts::default());
    }

    #[test]
    fn only_the_last_runs_are_remembered() {
        let memory = TrafficMemory::default();
        for boot in 0..20u64 {
            memory.record(server(), &stats(boot.into(), 1, boot), Timestamp::default());
        }
        assert_eq!(requests(&memory), (12..20).collect::<Vec<_>>());
    }

    #[test]
    fn who_tells_without_end_is_heard_so_often_in_a_minute() {
        let (memory, mut told) = (TrafficMemory::default(), 0);
        let web = EndpointId(Uuid::from_u128(7));
        let at = |second| Timestamp::default() + Millis::from_secs(second);
        for sequence in 1..=200u64 {
            let reason = pando_routing::balance::outlier::Reason::Consecutive {
                failures: 5,
                last: pando_routing::balance::outlier::Failure::Reset,
            };
            let since_millis = i64::try_from(sequence).unwrap() * 5_000;
            let ejected = Ejected {
                endpoint: web,
                text: reason.to_string(),
                reason,
                times: 1,
                since_millis,
                until_millis: since_millis + 1_000,
            };
            let lie = ProxyStats { ejected: vec![ejected], ..stats(1, sequence, 0) };
            told += memory.record(server(), &lie, at(100 + sequence / 10)).len();
        }
        assert_eq!(told, MOST_NEWS);
        assert_eq!(memory.record(server(), &stats(1, 201, 0), at(200)), [], "it has left the table");
        let fails_open = |count| ProxyStats {
            pools: [(
                PoolId("hits/web".to_owned()),
                PoolStats { failed_open: count, ..PoolStats::default() },
            )]
            .into(),
            ..stats(1, 300 + count, 0)
        };
        memory.record(server(), &fails_open(0), at(201));
        assert_eq!(
            memory.record(server(), &fails_open(1), at(202)).len(),
            1,
            "the next minute is another one"
        );
    }

    #[test]
    fn endpoints_are_remembered_of_the_newest_runs_alone() {
        let memory = TrafficMemory::default();
        for boot in 1..=4 {
            let endpoints = [(EndpointId(Uuid::from_u128(7)), EndpointStats::default())].into();
            let stats = ProxyStats { endpoints, ..stats(boot, 1, 3) };
            memory.record(server(), &stats, Timestamp::default());
        }
        let detailed: Vec<_> = memory.lock()[&server()].runs.iter().map(|run| run.endpoints.len()).collect();
        assert_eq!(detailed, [0, 0, 1, 1]);
        assert_eq!(requests(&memory), [3, 3, 3, 3]);
    }
}
