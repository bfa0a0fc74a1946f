//! What the load balancers counted, in memory alone.
//!
//! Counters begin anew with each run of a load balancer, so the last word of
//! earlier runs is kept too: a deploy's summary must not lose what was served
//! before a restart.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pando_api::v1::traffic::{ProxyTraffic, Traffic};
use pando_model::id::ServerId;
use pando_model::name::{AppName, ServerName};
use pando_model::time::Timestamp;
use pando_routing::{PoolStats, ProxyStats};
use uuid::Uuid;

/// Runs that are remembered of each server's load balancer.
const BOOTS: usize = 8;

/// The newest counters of each run.
#[derive(Debug, Default)]
pub struct TrafficMemory(Mutex<BTreeMap<ServerId, Vec<Run>>>);

#[derive(Debug, Clone)]
struct Run {
    boot: Uuid,
    sequence: u64,
    heard_at: Timestamp,
    pools: BTreeMap<String, PoolStats>,
}

impl TrafficMemory {
    /// Takes what a server's load balancer said; a late message changes nothing.
    pub fn record(&self, server: ServerId, stats: &ProxyStats, now: Timestamp) {
        let pools = stats.pools.iter().map(|(id, stats)| (id.0.clone(), stats.clone())).collect();
        let run = Run { boot: stats.boot, sequence: stats.sequence, heard_at: now, pools };
        let mut servers = self.lock();
        let runs = servers.entry(server).or_default();
        match runs.iter_mut().find(|known| known.boot == run.boot) {
            Some(known) if is_older(&run, known) => {}
            Some(known) => *known = run,
            None => {
                let surplus = (runs.len() + 1).saturating_sub(BOOTS);
                runs.drain(..surplus);
                runs.push(run);
            }
        }
    }

    /// Everything, or the pools of one app. `name` tells a server's name.
    #[must_use]
    pub fn view(&self, app: Option<&AppName>, name: impl Fn(ServerId) -> Option<ServerName>) -> Traffic {
        let prefix = app.map(|app| format!("{app}/"));
        let wanted = |pool: &str| prefix.as_deref().is_none_or(|prefix| pool.starts_with(prefix));
        let mut proxies = Vec::new();
        for (server, runs) in self.lock().iter() {
            let Some(server_name) = name(*server) else { continue };
            proxies.extend(runs.iter().map(|run| {
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

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServerId, Vec<Run>>> {
        // Each change is complete in itself.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
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
            version: None,
            not_in_rotation: Default::default(),
            in_flight: Default::default(),
            pools: ["hits/web", "hits-two/web"].map(|id| (PoolId(id.to_owned()), pool.clone())).into(),
            unmatched: 0,
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
    fn only_the_last_runs_are_remembered() {
        let memory = TrafficMemory::default();
        for boot in 0..20u64 {
            memory.record(server(), &stats(boot.into(), 1, boot), Timestamp::default());
        }
        assert_eq!(requests(&memory), (12..20).collect::<Vec<_>>());
    }
}
