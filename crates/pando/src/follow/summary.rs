//! The words that a good deploy ends with: how long, and what was served meanwhile, counted by the load balancers.

use pando_api::client::Client;
use pando_api::v1::deployments::DeploymentView;
use pando_api::v1::traffic::Traffic;
use pando_model::name::AppName;
use pando_model::time::Millis;
use pando_routing::PoolStats;
use serde_json::json;

use crate::printer::{Printer, Style};
use crate::words::{counted, latency, thousands, took};

/// `hits v43 is live on 3 servers: 6 replicas replaced in 14.2 s`, and what was served.
pub(crate) async fn tell(
    printer: Printer,
    client: &Client,
    app: &AppName,
    view: &DeploymentView,
    replaced: u32,
    before: Option<Traffic>,
) -> anyhow::Result<()> {
    let deployment = &view.deployment;
    let length = duration(view);
    let mut servers: Vec<_> = view.replicas.iter().map(|replica| replica.server).collect();
    servers.sort();
    servers.dedup();
    let served = match before {
        Some(before) => super::traffic(client, app).await.map(|after| after.since(&before)),
        None => None,
    };
    if printer.is_json() {
        let traffic = served.as_ref().map(|served| {
            let p99 = served.latency.quantile_micros(0.99);
            json!({ "requests": served.requests, "failed": served.failed, "retries": served.retries, "p99_micros": p99 })
        });
        return printer.json(&json!({
            "app": app, "release": deployment.release, "deployment": deployment.id, "phase": "done",
            "replaced": replaced, "servers": servers.len(), "millis": length, "traffic": traffic,
        }));
    }
    let live = printer.paint().with(Style::Good, "is live");
    let places = counted(servers.len() as u64, "server");
    let replaced = counted(u64::from(replaced), "replica");
    let release = deployment.release;
    printer
        .line(format_args!("{app} {release} {live} on {places}: {replaced} replaced in {}", took(length)))?;
    printer.line(
        served
            .map_or_else(|| "what was served meanwhile is not known".to_owned(), |served| requests(&served)),
    )
}

fn duration(view: &DeploymentView) -> Millis {
    let deployment = &view.deployment;
    deployment.ended_at.unwrap_or(deployment.created_at).since(deployment.created_at)
}

fn requests(served: &PoolStats) -> String {
    if served.requests + served.failed == 0 {
        return "no requests came meanwhile".to_owned();
    }
    let p99 = served
        .latency
        .quantile_micros(0.99)
        .map(|p99| format!(" (p99 {})", latency(p99)))
        .unwrap_or_default();
    let verb = if served.requests == 1 { "request was" } else { "requests were" };
    format!(
        "{} {verb} served meanwhile, {} failed{p99}",
        thousands(served.requests),
        thousands(served.failed)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_counts_and_says_when_there_is_nothing_to_count() {
        let mut served = PoolStats { requests: 41_208, ..PoolStats::default() };
        served.latency.buckets = vec![0; pando_routing::Latency::BUCKETS];
        served.latency.buckets[pando_routing::Latency::bucket_of(10_500)] = 41_208;
        assert_eq!(requests(&served), "41,208 requests were served meanwhile, 0 failed (p99 11 ms)");
        assert_eq!(requests(&PoolStats::default()), "no requests came meanwhile");
        let one = PoolStats { requests: 1, failed: 2, ..PoolStats::default() };
        assert_eq!(requests(&one), "1 request was served meanwhile, 2 failed");
    }
}
