//! What a control plane says of an app with two servers, as JSON.

use pando_model::time::{Millis, Timestamp};
use serde_json::{Value, json};

use super::fake::{Answer, Asked};

pub(crate) const DEPLOYMENT: &str = "01890000-0000-7000-8000-000000000007";

pub(crate) fn uuid(n: u32) -> String {
    format!("01890000-0000-7000-8000-{n:012}")
}

/// A replica of `web`, in this state for 200 s.
pub(crate) fn replica(n: u32, release: u64, state: &str) -> Value {
    let now = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
    json!({
        "replica": format!("web-{n}"), "process": "web", "instance": uuid(n), "release": release,
        "server": uuid(90 + n % 2), "server_name": format!("app-{}", 1 + n % 2), "port": 20000 + n, "state": state,
        "since": now - Millis::from_secs(200), "pid": 4000 + n, "restarts": 0, "ready_for": 1000, "in_flight": 0,
        "problem": null, "last_exit": null,
    })
}

pub(crate) fn app(release: Option<u64>, state: &str, replicas: &[Value]) -> Value {
    json!({
        "name": "hits", "state": state, "release": release, "deployment": null, "queued": 0, "last": null,
        "wish": { "stopped": false, "remove": false, "scale": {} },
        "processes": [
            { "process": "web", "role": "web", "wanted": 3, "ready": replicas.len(), "existing": replicas.len(), "scaled": true },
            { "process": "worker", "role": "worker", "wanted": 1, "ready": 1, "existing": 1, "scaled": false },
        ],
        "replicas": replicas, "waiting_on": [], "domains": ["hits.example.com"], "urls": ["http://hits.example.com"],
    })
}

/// Of an app with the process `web`, made two hours ago.
pub(crate) fn release(number: u64, current: bool, succeeded: bool) -> Value {
    let spec = json!({
        "name": "hits", "run": { "directory": { "path": "." } }, "strategy": "replace", "min_ready": 0,
        "processes": { "web": { "command": "bin/web", "role": "web", "count": { "total": 1 }, "stop_timeout": 30_000,
            "health": { "kind": { "type": "none" }, "interval": 2000, "timeout": 2000, "healthy": 2, "unhealthy": 3, "start_timeout": 60_000 } } },
    });
    let now = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
    json!({
        "number": number, "spec": spec, "artifact": "ab".repeat(32), "created_by": "ci", "current": current, "succeeded": succeeded,
        "created_at": now - Millis::from_secs(7200),
    })
}

/// The deployment of v43, begun at noon.
pub(crate) fn deployment(phase: Value, ended_after: Option<&str>) -> Value {
    let mut deployment = json!({
        "id": DEPLOYMENT, "app": "hits", "kind": "deploy", "release": 43, "created_at": "2026-01-01T12:00:00Z",
        "created_by": "ci", "phase": phase, "started_at": "2026-01-01T12:00:01Z",
    });
    if let Some(seconds) = ended_after {
        deployment["ended_at"] = json!(format!("2026-01-01T12:00:{seconds}Z"));
    }
    deployment
}

/// A view whose events are at so many seconds after the beginning.
pub(crate) fn view(
    cursor: u64,
    deployment: &Value,
    events: &[(u32, &str)],
    waits: &[&str],
    replicas: &[Value],
) -> Value {
    let event = |(seconds, text): &(u32, &str)| json!({ "id": uuid(1000 + seconds), "time": format!("2026-01-01T12:00:{seconds:02}Z"), "level": "info", "app": "hits", "text": text });
    json!({
        "cursor": cursor, "deployment": deployment, "queued_behind": [], "waiting_on": waits, "replicas": replicas,
        "progress": events.iter().map(event).collect::<Vec<_>>(),
    })
}

/// What one load balancer has counted, when it was heard at second 14 of the deployment.
pub(crate) fn traffic(boot: u32, requests: u64, failed: u64) -> Value {
    let mut buckets = vec![0; 120];
    buckets[pando_routing::Latency::bucket_of(10_500)] = requests;
    json!({ "proxies": [{
        "server": uuid(91), "server_name": "app-1", "boot": uuid(boot), "heard_at": "2026-01-01T12:00:15.2Z",
        "pools": { "hits/web": {
            "requests": requests, "by_class": [0, requests, 0, 0, 0], "failed": failed, "retries": 1, "cancelled": 0, "latency": buckets,
        } },
    }] })
}

/// `app-1` or `app-2`, alive, with replicas of `hits`.
pub(crate) fn server(n: u32, standing: &str, replicas: &[(&str, &str)]) -> Value {
    let now = Timestamp::from_millis(jiff::Timestamp::now().as_millisecond());
    let replica = |(name, state): &(&str, &str)| {
        json!({
            "app": "hits", "replica": name, "instance": uuid(n), "release": 42, "port": 20000 + n, "state": state, "in_flight": 0,
        })
    };
    json!({
        "id": uuid(89 + n), "name": format!("app-{n}"), "roles": ["web", "worker"], "private_address": format!("10.0.0.{n}"),
        "public_address": format!("203.0.113.{n}"), "labels": { "zone": "a" }, "standing": standing, "state": "alive", "heard_at": now,
        "capacity": { "cpu_millis": 2000, "memory_bytes": 4_000_000_000_u64 },
        "reserved": { "cpu_millis": 500, "memory_bytes": 512_000_000 }, "instances": replicas.len(), "proxy": null,
        "joined_at": "2026-01-01T12:00:00Z", "agent_address": format!("10.0.0.{n}:7421"), "entry": "direct",
        "replicas": replicas.iter().map(replica).collect::<Vec<_>>(), "unwanted": if standing == "active" { 0 } else { replicas.len() },
        "missing": 0, "is_current": true, "waiting_on": [], "warnings": [], "firewall": null, "certificate_expires_at": null,
    })
}

pub(crate) fn cluster() -> Value {
    let server = |n: u32, state: &str| {
        json!({
            "id": uuid(90 + n), "name": format!("app-{}", 1 + n), "roles": ["lb", "web"], "private_address": format!("10.0.0.{n}"),
            "state": state, "heard_at": "2026-01-01T12:00:00Z", "capacity": { "cpu_millis": 2000, "memory_bytes": 4_000_000_000_u64 },
            "reserved": { "cpu_millis": 500, "memory_bytes": 512_000_000 }, "instances": 2, "proxy": null,
        })
    };
    json!({
        "version": "0.1.0", "now": "2026-01-01T12:00:00Z", "servers": [server(0, "alive"), server(1, "suspect")],
        "apps": [{ "name": "hits", "state": "running", "release": 42, "wanted": 4, "ready": 4, "urls": ["http://hits.example.com"] }],
        "warnings": ["app-2: memory limits are not enforced"],
    })
}

/// Takes whatever is packed and every wish about `hits`; the rest is `says`'s to answer.
pub(crate) fn takes_deploys(asked: &Asked, says: impl Fn(&Asked) -> Option<Answer>) -> Answer {
    if let Some(answer) = says(asked) {
        return answer;
    }
    let missing = || Answer::refused(404, "not_found", "there is none");
    match (asked.method.as_str(), asked.path.as_str()) {
        ("HEAD", path) if path.starts_with("/v1/artifacts/") => missing(),
        ("PUT", path) if path.starts_with("/v1/artifacts/") => {
            let digest = path.rsplit('/').next().unwrap_or_default();
            Answer::ok(json!({ "digest": digest, "bytes": asked.body.len(), "existed": false }))
        }
        ("POST", "/v1/apps/hits/deployments") => Answer::ok(
            json!({ "answer": "accepted", "deployment": DEPLOYMENT, "release": 43, "queued_behind": [] }),
        ),
        ("GET", "/v1/traffic") => Answer::ok(json!({ "proxies": [] })),
        ("GET", "/v1/apps/hits") => {
            Answer::ok(app(Some(42), "running", &[replica(1, 42, "serving"), replica(2, 42, "serving")]))
        }
        ("GET", "/v1/status") => Answer::ok(cluster()),
        _ => missing(),
    }
}
