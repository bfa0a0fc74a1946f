//! Routes of random apps, and what operators say of all their requests for a while. That each published table is valid, and leads to
//! what serves, is checked at every step of a history; that it says what was asked for, at its end.

use pando_model::app::AppSpec;
use pando_model::desired::{MaintenanceWish, PauseWish};
use pando_model::name::ProcessName;
use pando_model::time::Millis;
use pando_model::traffic::{Interlude, RouteSpec, Traffic};
use pando_routing::{Host, Rule};

use crate::world::{World, hits};

/// One of each kind. The second column: the process that it needs beside `web`.
const ROUTES: [(&str, Option<&str>); 12] = [
    (r#"{"name": "api", "path": "/api", "process": "web", "strip_prefix": true}"#, None),
    (r#"{"path": {"exact": "/robots.txt"}, "respond": {"status": 404}}"#, None),
    (r#"{"path": {"pattern": "/users/{id}"}, "when": {"methods": ["GET"]}}"#, None),
    (r#"{"path": "/jobs", "process": "worker"}"#, Some("worker")),
    (
        r#"{"path": "/beta", "split": {"sides": [{"pool": "web", "weight": 9}, {"pool": "worker", "weight": 1}]}}"#,
        Some("worker"),
    ),
    (
        r#"{"host": "hits.example.com", "path": "/old", "redirect": {"status": 308, "path": {"prefix": "/new"}}}"#,
        None,
    ),
    (
        r#"{"path": "/staff", "basic_auth": {"users": {"ann": "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe"}}}"#,
        None,
    ),
    (r#"{"path": "/slow", "filters": {"rate_limits": [{"requests": 10, "window_seconds": 60}]}}"#, None),
    (r#"{"path": "/copy", "filters": {"mirror": {"pool": "worker", "percent": 5}}}"#, Some("worker")),
    (
        r#"{"path": "/", "when": {"headers": {"x-new": {"is": "1"}}}, "filters": {"response_headers": {"set": {"x-a": "b"}}}}"#,
        None,
    ),
    (r#"{"path": "/sorry", "error_pages": {"pages": {"5xx": {"html": "<h1>{status}</h1>"}}}}"#, None),
    (r#"{"host": "other.example.com", "path": "/", "process": "web"}"#, None),
];

/// Some routes for `spec`, each at most once.
pub(crate) fn draw(world: &mut World, spec: &mut AppSpec) {
    for (text, needs) in ROUTES {
        let can = needs.is_none_or(|name| spec.processes.contains_key(&ProcessName::new(name).unwrap()));
        if can && world.roll(4) == 0 {
            spec.routes.push(serde_json::from_str::<RouteSpec>(text).unwrap());
        }
    }
}

/// Maintenance or a pause begins or ends, as by the API.
pub(crate) fn interlude(world: &mut World) {
    let (now, length, kind) = (world.time(), world.roll(300_000), world.roll(4));
    let wish = &mut world.app().wish;
    match kind {
        0 => {
            let (allow, page) = (vec!["10.0.0.0/8".parse().unwrap()], Some("<h1>{status}</h1>".to_owned()));
            let retry_after = Millis(1 + length);
            wish.maintenance = Some(MaintenanceWish {
                since: now,
                by: "test".to_owned(),
                allow,
                message: None,
                page,
                retry_after,
            });
        }
        1 => wish.maintenance = None,
        2 => {
            let until = now + Millis(1 + length);
            wish.pause = Some(PauseWish { since: now, until, by: "test".to_owned(), most: 10 });
        }
        _ => wish.pause = None,
    }
}

/// The table has each rule that what was committed asks for, as far as its pools are there.
pub(crate) fn is_published(seed: u64, world: &World) -> Result<(), String> {
    let (Some(app), Some(table)) = (world.desired.apps.get(&hits()), &world.desired.table) else {
        return Ok(());
    };
    let Some(target) = app.assigned.committed.filter(|_| !app.wish.stopped) else { return Ok(()) };
    let spec = &app.releases[&target.release].spec;
    let hosts: Vec<Host> = spec.domains.iter().map(|domain| domain.domain.parse().unwrap()).collect();
    let pause = app.wish.pause_at(world.time());
    let asked = Traffic::of(spec, &hosts, Interlude { maintenance: app.wish.maintenance.as_ref(), pause });
    let can = |rule: &&Rule| rule.pools().all(|pool| table.pools.contains_key(pool));
    let missing: Vec<&Rule> =
        asked.rules.iter().filter(can).filter(|rule| !table.rules.contains(rule)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(format!("seed {seed}: {missing:#?} is not in {:#?}\n{}", table.rules, world.log.join("\n")))
}
