//! The words that a good deploy ends with: how long, and what was served meanwhile, counted by the load balancers.

use std::time::{Duration, Instant};

use pando_api::client::Client;
use pando_api::v1::apps::{ReplicaStatus, losses};
use pando_api::v1::deployments::DeploymentView;
use pando_api::v1::traffic::{ProxyTraffic, Traffic};
use pando_model::desired::Deployment;
use pando_model::id::{DeploymentId, ServerId};
use pando_model::name::AppName;
use pando_model::release::ReleaseNumber;
use pando_model::time::{Millis, Timestamp};
use pando_routing::PoolStats;
use serde_json::json;

use super::Before;
use crate::printer::{Paint, Style};
use crate::words::{counted, latency, thousands, took};

/// Counters that came so long before the end count as those of the end: agents fetch them twice a second.
const FRESH: Millis = Millis(500);
/// Heartbeats come every 2 s: a load balancer that is there tells its counters by then.
const PATIENCE: Duration = Duration::from_millis(2500);
/// One that was silent for so long before the end is not waited for.
const SILENT: Millis = Millis::from_secs(20);
const LOOK: Duration = Duration::from_millis(50);

/// A deployment that ended well.
#[derive(Debug)]
pub(crate) struct Live {
    app: AppName,
    pub(crate) release: ReleaseNumber,
    deployment: DeploymentId,
    /// From when it was its turn.
    pub(crate) length: Millis,
    /// That run the release.
    servers: usize,
    replaced: u32,
    /// Replicas of the app existed before.
    ran: bool,
    /// What is to be said of what runs now.
    pub(crate) warnings: Vec<String>,
    /// `None`: nobody can tell.
    served: Option<Served>,
}

impl Live {
    /// Asks the load balancers for what they did meanwhile.
    pub(super) async fn of(
        client: &Client,
        app: &AppName,
        view: &DeploymentView,
        replaced: u32,
        before: &Before,
    ) -> Self {
        let deployment = &view.deployment;
        let served = match &before.traffic {
            Some(earlier) => counters_of_the_end(client, app, deployment)
                .await
                .map(|after| Served::between(earlier, &after, before.ran)),
            None => None,
        };
        Self {
            app: app.clone(),
            release: deployment.release,
            deployment: deployment.id,
            length: duration(deployment),
            servers: servers(view).len(),
            replaced,
            ran: before.ran,
            warnings: losses(of_release(view)),
            served,
        }
    }

    /// `hits v43 is live on 3 servers: 6 replicas replaced in 14.2 s`, and what was served.
    pub(crate) fn lines(&self, paint: Paint) -> Vec<String> {
        let live = paint.with(Style::Good, "is live");
        let extent = extent(self.servers, self.replaced, self.ran, self.length);
        let mut lines = vec![format!("{} {} {live}{extent}", self.app, self.release)];
        match &self.served {
            Some(served) if !served.takes_requests => {}
            Some(served) => lines.push(served.words()),
            None => lines.push("what was served meanwhile is not known".to_owned()),
        }
        lines
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        json!({
            "app": self.app, "release": self.release, "deployment": self.deployment, "phase": "done",
            "replaced": self.replaced, "servers": self.servers, "millis": self.length,
            "traffic": self.served.as_ref().map(Served::json), "warnings": self.warnings,
        })
    }

    /// Requests that were served and that failed meanwhile, as far as it takes any and that is known.
    pub(crate) fn requests(&self) -> Option<(u64, u64)> {
        let served = self.served.as_ref().filter(|served| served.takes_requests);
        served.map(|served| (served.sum.requests, served.sum.failed))
    }
}

fn of_release(view: &DeploymentView) -> impl Iterator<Item = &ReplicaStatus> {
    let release = view.deployment.release;
    view.replicas.iter().filter(move |replica| replica.release == release)
}

/// Those that run the release.
fn servers(view: &DeploymentView) -> Vec<ServerId> {
    let mut servers: Vec<ServerId> = of_release(view).map(|replica| replica.server).collect();
    servers.sort();
    servers.dedup();
    servers
}

/// From when it was its turn.
pub(super) fn duration(deployment: &Deployment) -> Millis {
    let started = deployment.started_at.unwrap_or(deployment.created_at);
    deployment.ended_at.unwrap_or(started).since(started)
}

/// ` on 3 servers: 6 replicas replaced in 14.2 s`
fn extent(servers: usize, replaced: u32, ran: bool, length: Millis) -> String {
    if servers == 0 {
        return format!(", and has no replicas: none are wanted (in {})", took(length));
    }
    let verb = if ran { "replaced" } else { "started" };
    let (servers, replaced) = (counted(servers as u64, "server"), counted(u64::from(replaced), "replica"));
    format!(" on {servers}: {replaced} {verb} in {}", took(length))
}

/// Asks until every load balancer that is there has told its counters of the end.
async fn counters_of_the_end(client: &Client, app: &AppName, deployment: &Deployment) -> Option<Traffic> {
    let end = deployment.ended_at.unwrap_or(deployment.created_at);
    let deadline = Instant::now() + PATIENCE;
    loop {
        let traffic = super::traffic(client, app).await?;
        if is_of_the_end(&traffic, end) || Instant::now() >= deadline {
            return Some(traffic);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn is_of_the_end(traffic: &Traffic, end: Timestamp) -> bool {
    let last_heard = |server: ServerId| {
        traffic.proxies.iter().filter(|proxy| proxy.server == server).map(|proxy| proxy.heard_at).max()
    };
    let mut heard = traffic.proxies.iter().filter_map(|proxy| last_heard(proxy.server));
    heard.all(|heard| heard >= end - FRESH || heard < end - SILENT)
}

/// What the load balancers did between two moments.
#[derive(Debug)]
struct Served {
    sum: PoolStats,
    /// Requests from before anything of the app was ready, where nothing of it ran before: nobody had them served.
    early: u64,
    /// A pool of the app exists.
    takes_requests: bool,
    /// A load balancer was started anew: what it counted last, nobody heard.
    restarted: bool,
}

impl Served {
    /// `ran`: replicas of the app existed at the earlier moment.
    fn between(earlier: &Traffic, later: &Traffic, ran: bool) -> Self {
        let is_new_run = |proxy: &ProxyTraffic| {
            let mut runs = earlier.proxies.iter().filter(|old| old.server == proxy.server).peekable();
            runs.peek().is_some() && !runs.any(|old| old.boot == proxy.boot)
        };
        let mut sum = later.since(earlier);
        let early = if ran { 0 } else { sum.unready };
        sum.requests = sum.requests.saturating_sub(early);
        sum.failed = sum.failed.saturating_sub(early);
        Self {
            sum,
            early,
            takes_requests: later.proxies.iter().any(|proxy| !proxy.pools.is_empty()),
            restarted: later.proxies.iter().any(is_new_run),
        }
    }

    fn words(&self) -> String {
        let sum = &self.sum;
        let told = if sum.requests + sum.failed == 0 {
            "no requests came meanwhile".to_owned()
        } else {
            let p99 = sum.latency.quantile_micros(0.99).map(|p99| format!(" (p99 {})", latency(p99)));
            let verb = if sum.requests == 1 { "request was" } else { "requests were" };
            format!(
                "{} {verb} served meanwhile, {} failed{}",
                thousands(sum.requests),
                thousands(sum.failed),
                p99.unwrap_or_default()
            )
        };
        let early = match self.early {
            0 => String::new(),
            early => format!("; {} came before anything was ready", thousands(early)),
        };
        let lost = if self.restarted {
            "; a load balancer was started anew, and its last count is missing"
        } else {
            ""
        };
        told + &early + lost
    }

    fn json(&self) -> serde_json::Value {
        let p99 = self.sum.latency.quantile_micros(0.99);
        json!({
            "requests": self.sum.requests, "failed": self.sum.failed, "early": self.early, "retries": self.sum.retries, "p99_micros": p99,
            "complete": !self.restarted,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pando_model::name::ServerName;
    use uuid::Uuid;

    use super::*;

    fn traffic(boot: u128, heard_at: i64, pools: Option<PoolStats>) -> Traffic {
        let proxy = ProxyTraffic {
            server: ServerId::from_uuid(Uuid::from_u128(1)),
            server_name: ServerName::new("main").unwrap(),
            boot: Uuid::from_u128(boot),
            heard_at: Timestamp::from_millis(heard_at),
            pools: pools.map(|stats| BTreeMap::from([("hits/web".to_owned(), stats)])).unwrap_or_default(),
        };
        Traffic { proxies: vec![proxy] }
    }

    fn stats(requests: u64, failed: u64) -> PoolStats {
        let mut stats = PoolStats { requests, failed, ..PoolStats::default() };
        stats.latency.buckets = vec![0; pando_routing::Latency::BUCKETS];
        stats.latency.buckets[pando_routing::Latency::bucket_of(10_500)] = requests;
        stats
    }

    #[track_caller]
    fn check(earlier: &Traffic, later: &Traffic, words: &str) {
        assert_eq!(Served::between(earlier, later, true).words(), words);
    }

    #[test]
    fn what_was_served_is_the_difference() {
        let before = traffic(1, 0, Some(stats(100, 3)));
        check(
            &before,
            &traffic(1, 0, Some(stats(41_308, 3))),
            "41,208 requests were served meanwhile, 0 failed (p99 11 ms)",
        );
        check(
            &before,
            &traffic(1, 0, Some(stats(101, 5))),
            "1 request was served meanwhile, 2 failed (p99 11 ms)",
        );
        check(&before, &before, "no requests came meanwhile");
    }

    #[test]
    fn what_came_before_a_first_deploy_was_ready_is_no_failure_of_it() {
        let before = traffic(1, 0, Some(stats(5, 5)));
        let after = traffic(1, 0, Some(PoolStats { unready: 20, ..stats(125, 26) }));
        let words = |ran| Served::between(&before, &after, ran).words();
        assert_eq!(
            words(false),
            "100 requests were served meanwhile, 1 failed (p99 11 ms); 20 came before anything was ready"
        );
        assert_eq!(words(true), "120 requests were served meanwhile, 21 failed (p99 11 ms)");
    }

    #[test]
    fn a_load_balancer_that_was_started_anew_is_told() {
        let (before, after) = (traffic(1, 0, Some(stats(100, 0))), traffic(2, 0, Some(stats(7, 0))));
        let words = "7 requests were served meanwhile, 0 failed (p99 11 ms); a load balancer was started anew, and its last count is missing";
        check(&before, &after, words);
        check(&Traffic::default(), &after, "7 requests were served meanwhile, 0 failed (p99 11 ms)");
    }

    #[test]
    fn an_app_without_pools_takes_no_requests() {
        assert!(!Served::between(&Traffic::default(), &traffic(1, 0, None), true).takes_requests);
        assert!(!Served::between(&Traffic::default(), &Traffic::default(), true).takes_requests);
    }

    #[test]
    fn counters_are_waited_for_unless_nobody_can_tell_them() {
        let end = Timestamp::from_millis(100_000);
        for (heard_at, enough) in
            [(100_200, true), (99_600, true), (99_000, false), (81_000, false), (79_000, true)]
        {
            assert_eq!(is_of_the_end(&traffic(1, heard_at, None), end), enough, "{heard_at}");
        }
        let mut restarted = traffic(1, 98_000, None);
        restarted.proxies.extend(traffic(2, 99_900, None).proxies);
        assert!(is_of_the_end(&restarted, end), "its newest run counts");
    }

    #[test]
    fn the_first_line_tells_what_happened() {
        let length = Millis(14_200);
        assert_eq!(extent(3, 6, true, length), " on 3 servers: 6 replicas replaced in 14.2 s");
        assert_eq!(extent(1, 1, false, length), " on 1 server: 1 replica started in 14.2 s");
        assert_eq!(extent(0, 0, true, length), ", and has no replicas: none are wanted (in 14.2 s)");
    }
}
