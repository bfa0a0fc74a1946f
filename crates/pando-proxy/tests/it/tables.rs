//! Tables: taken, refused, kept, found again.

use std::time::Duration;

use pando_proxy::{ProxyError, Settings};
use pando_routing::{Table, TableVersion};
use pando_rt::shutdown::Shutdown;

use crate::support::{App, NOBODY, Proxy, TableBuilder, until, within};

fn version(revision: u64) -> TableVersion {
    TableVersion { epoch: 1, revision }
}

#[tokio::test]
async fn versions_only_rise() {
    let app = App::named("ok").await;
    let proxy = Proxy::start().await;
    assert_eq!(proxy.control("GET", "/v1/table", "").await.0, 404);
    let five = TableBuilder::serving(5, [&app.endpoint]);
    assert_eq!(proxy.put(&five).await.version, version(5));
    // The same again is fine.
    assert_eq!(proxy.put(&five).await.version, version(5));
    for refused in [TableBuilder::serving(4, [&app.endpoint]), TableBuilder::serving(5, NOBODY)] {
        let (status, body) = proxy.control("PUT", "/v1/table", &refused.json()).await;
        assert_eq!(status, 409, "{body}");
        assert!(body.contains("1.5"), "{body}");
    }
    let (_, held) = proxy.control("GET", "/v1/table", "").await;
    assert_eq!(serde_json::from_str::<Table>(&held).unwrap(), five.build());
    assert_eq!(proxy.get("/").await.text(), "ok");
}

#[tokio::test]
async fn what_is_wrong_with_a_table_is_said_at_once_and_nothing_changes() {
    let app = App::named("ok").await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&app.endpoint])).await;
    let bad = TableBuilder::new(2).rule("*", "/", "gone").rule("*", "/", "gone").json();
    let (status, body) = proxy.control("PUT", "/v1/table", &bad).await;
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, answer["reasons"].as_array().unwrap().len()), (400, 3), "{body}");
    let (status, body) = proxy.control("PUT", "/v1/table", r#"{"version": {"epoch": 1}, "rulez": []}"#).await;
    assert_eq!(status, 400);
    assert!(body.contains("reasons"), "{body}");
    assert_eq!(proxy.stats().await.version, Some(version(1)));
    assert_eq!(proxy.get("/").await.text(), "ok");
    assert!(proxy.metrics().await.contains("pando_proxy_tables_refused_total 2"));
}

#[tokio::test]
async fn the_last_table_is_found_again_after_a_start() {
    let app = App::named("ok").await;
    let proxy = Proxy::start_with(|settings, directory| {
        settings.state_file = Some(directory.join("state.json"));
    })
    .await;
    let table = TableBuilder::serving(7, [&app.endpoint]);
    proxy.put_ready(&table).await;
    let directory = proxy.stop().await;
    let state = |settings: &mut Settings, directory: &std::path::Path| {
        settings.state_file = Some(directory.join("state.json"));
    };
    let proxy = Proxy::start_in(directory, state).await;
    proxy.wait_for_stats("it is in rotation", |stats| stats.not_in_rotation.is_empty()).await;
    assert_eq!(proxy.get("/").await.text(), "ok");
    assert_eq!(proxy.stats().await.version, Some(version(7)));
    // The order of versions goes on from there.
    assert_eq!(proxy.control("PUT", "/v1/table", &TableBuilder::serving(6, NOBODY).json()).await.0, 409);
    assert_eq!(proxy.put(&table).await.version, version(7));
}

#[tokio::test]
async fn a_damaged_state_file_is_no_reason_not_to_start() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("state.json"), "{\"schema\": 1, \"vers").unwrap();
    let proxy = Proxy::start_in(directory, |settings, directory| {
        settings.state_file = Some(directory.join("state.json"));
    })
    .await;
    assert_eq!(proxy.get("/").await.status, 503);
    assert!(proxy.directory.path().join("state.json.damaged").exists());
    proxy.put(&TableBuilder::serving(1, NOBODY)).await;
    let kept: Table =
        serde_json::from_slice(&std::fs::read(proxy.directory.path().join("state.json")).unwrap()).unwrap();
    assert_eq!(kept.version, version(1));
}

#[tokio::test]
async fn a_table_that_cannot_be_kept_is_not_acknowledged() {
    let proxy = Proxy::start_with(|settings, directory| {
        settings.state_file = Some(directory.join("no-such-directory").join("state.json"));
    })
    .await;
    let (status, body) = proxy.control("PUT", "/v1/table", &TableBuilder::serving(1, NOBODY).json()).await;
    assert_eq!(status, 507, "{body}");
    assert!(body.contains("state.json"), "{body}");
    assert_eq!(proxy.stats().await.version, None);
}

#[tokio::test]
async fn a_table_file_is_followed() {
    let (a, b) = (App::named("a").await, App::named("b").await);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table.json");
    std::fs::write(&path, TableBuilder::serving(1, [&a.endpoint]).json()).unwrap();
    let file = path.clone();
    let proxy = Proxy::start_in(directory, |settings, _| settings.table_file = Some(file)).await;
    assert_eq!(proxy.get("/").await.text(), "a");
    // Whoever edits by hand may forget the version.
    std::fs::write(&path, TableBuilder::serving(1, [&b.endpoint]).json()).unwrap();
    until("the change is seen", async || proxy.get("/").await.text() == "b").await;
    for broken in ["{", "", r#"{"version": {"epoch": 1, "revision": 9}, "schema": 3}"#] {
        std::fs::write(&path, broken).unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        assert_eq!(proxy.get("/").await.text(), "b");
    }
    std::fs::remove_file(&path).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    std::fs::write(&path, TableBuilder::serving(2, [&a.endpoint]).json()).unwrap();
    until("the repaired file is seen", async || proxy.get("/").await.text() == "a").await;
    let (status, body) = proxy.control("PUT", "/v1/table", &TableBuilder::serving(3, NOBODY).json()).await;
    assert_eq!(status, 409, "{body}");
}

#[tokio::test]
async fn a_bad_table_file_at_the_start_is_an_error_that_names_the_reasons() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("table.json");
    let start =
        async |settings: Settings| within("an end", pando_proxy::run(settings, Shutdown::new())).await;
    let settings = || Settings {
        listeners: pando_proxy::Listeners::bind(&["127.0.0.1:0".parse().unwrap()]).unwrap(),
        table_file: Some(path.clone()),
        ..Settings::default()
    };
    let missing = start(settings()).await.unwrap_err();
    assert!(matches!(missing, ProxyError::NoTable { .. }));
    assert!(missing.to_string().contains("write one"), "{missing}");
    std::fs::write(&path, TableBuilder::new(1).rule("*", "/", "gone").json()).unwrap();
    let error = start(settings()).await.unwrap_err().to_string();
    assert!(error.contains("gone") && error.contains("table.json"), "{error}");
    assert!(error.contains(": line 1, column ") && error.contains(": `rules[0]`: rule "), "{error}");
    assert!(matches!(start(Settings::default()).await, Err(ProxyError::NoListener)));
}

/// The file that the documentation shows is one that the proxy takes.
#[test]
fn the_example_is_valid() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/proxy/table.json");
    let table: Table = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    table.validate().unwrap();
}

/// Every table and every rule that the documentation shows is one that the proxy takes.
#[test]
fn the_documentation_shows_what_is_valid() {
    for (page, least) in [("reference/table.md", 4), ("guide/proxy.md", 12)] {
        let path = format!("{}/../../docs/{page}", env!("CARGO_MANIFEST_DIR"));
        let page = std::fs::read_to_string(path).unwrap();
        let examples: Vec<_> =
            page.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
        assert!(examples.len() >= least);
        examples.into_iter().for_each(check_example);
    }
}

/// Pools that an example names and doesn't show are taken for granted, and so is the version.
fn check_example(text: &str) {
    let mut value: serde_json::Value =
        serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"));
    if value.get("host").is_some() {
        value = serde_json::json!({"rules": [value]});
    }
    let version = serde_json::json!({"epoch": 1, "revision": 1});
    value.as_object_mut().unwrap().entry("version").or_insert(version);
    let mut table: Table = serde_json::from_value(value).unwrap_or_else(|error| panic!("{error} in {text}"));
    let named: Vec<_> = table.rules.iter().flat_map(|rule| rule.pools().cloned()).collect();
    for pool in named {
        table.pools.entry(pool).or_default();
    }
    table.validate().unwrap_or_else(|errors| panic!("{errors:?} in {text}"));
}
