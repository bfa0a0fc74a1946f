//! Basic auth.

use std::time::Instant;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::{Scene, table};

/// `ann` has `Hello world!` and `bob` `U*U`.
const USERS: &str = r#"{"staff": {
    "ann": "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    "bob": "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"}}"#;

const RULE: &str = r#"{"name": "inner", "host": "*", "pool": "web", "filters": {"basic_auth": {"users": "staff", "realm": "Inner"}}}"#;

fn basic(name: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{name}:{password}")))
}

async fn scene(rule: &str) -> Scene {
    Scene::adjusted(&[rule], |table| table.users(USERS)).await
}

#[tokio::test]
async fn a_right_password_passes_and_goes_no_further() {
    let scene = scene(RULE).await;
    for (name, password) in [("ann", "Hello world!"), ("bob", "U*U")] {
        for answer in scene.ask("GET", "/", &[("authorization", &basic(name, password))]).await {
            assert_eq!(answer.text(), "web");
            assert!(scene.web.last().headers.get("authorization").is_none());
        }
    }
    let (_, shown) = scene.proxy.control("GET", "/v1/table", "").await;
    assert!(!shown.contains("saltstring"), "hashes are not shown");
}

#[tokio::test]
async fn anything_else_gets_401() {
    let scene = scene(RULE).await;
    for field in [
        None,
        Some(basic("ann", "U*U")),
        Some(basic("eve", "U*U")),
        Some(basic("", "")),
        Some("Bearer abc".to_owned()),
        Some("Basic %%%".to_owned()),
        Some(basic("bob", &"x".repeat(3000))),
    ] {
        let headers: Vec<_> = field.iter().map(|field| ("authorization", field.as_str())).collect();
        for answer in scene.ask("GET", "/", &headers).await {
            assert_eq!(answer.status, 401, "{field:?}");
            assert_eq!(answer.header("www-authenticate"), Some("Basic realm=\"Inner\", charset=\"UTF-8\""));
        }
    }
    let right = basic("bob", "U*U");
    let twice = [("authorization", "Basic AAAA"), ("authorization", right.as_str())];
    assert_eq!(scene.ask1("GET", "/", &twice).await.status, 401, "two could be meant in two ways");
    assert_eq!(scene.web.count(), 0);
    assert!(scene.metric("pando_proxy_route_kept_total{route=\"inner\",by=\"unauthorised\"}").await >= 14);
}

#[tokio::test]
async fn a_password_that_was_right_is_not_paid_for_again() {
    let hash = bcrypt::hash("U*U", 10).unwrap();
    let dear = format!(r#"{{"staff": {{"bob": "{hash}"}}}}"#);
    let scene = Scene::adjusted(&[RULE], |table| table.users(&dear)).await;
    let field = basic("bob", "U*U");
    assert_eq!(scene.ask1("GET", "/", &[("authorization", &field)]).await.status, 200);
    let mut client = scene.proxy.client().await;
    let started = Instant::now();
    for _ in 0..200 {
        let text = format!("GET / HTTP/1.1\r\nhost: a.example\r\nauthorization: {field}\r\n\r\n");
        assert_eq!(client.request(&text).await.status, 200);
    }
    let first = started.elapsed();
    // Two hundred checks would take many times as long.
    assert!(first.as_millis() < 2_000, "{first:?}");
    // Another password for the same name is another question, also after a new table.
    let changed = USERS.replace(
        "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy",
    );
    scene.proxy.put_ready(&table(2, &[RULE], &scene.web, &scene.other).users(&changed)).await;
    assert_eq!(scene.ask1("GET", "/", &[("authorization", &field)]).await.status, 401);
    assert_eq!(scene.ask1("GET", "/", &[("authorization", &basic("bob", ""))]).await.status, 200);
}

#[tokio::test]
async fn guessing_is_bounded_and_hurts_nobody_else() {
    let dear = format!(r#"{{"staff": {{"ann": "{}"}}}}"#, bcrypt::hash("right", 10).unwrap());
    let open = r#"{"host": "*", "path": "/open", "pool": "web"}"#;
    let scene = Scene::adjusted(&[RULE, open], |table| table.users(&dear)).await;
    let mut guessers = tokio::task::JoinSet::new();
    for n in 0..100 {
        let mut client = scene.proxy.client().await;
        let field = basic("ann", &format!("guess {n}"));
        guessers.spawn(async move {
            client
                .request(&format!("GET / HTTP/1.1\r\nhost: a.example\r\nauthorization: {field}\r\n\r\n"))
                .await
                .status
        });
    }
    // Others are answered meanwhile: no thread that serves checks passwords.
    let mut client = scene.proxy.client().await;
    let mut slowest = std::time::Duration::ZERO;
    for _ in 0..50 {
        let started = Instant::now();
        assert_eq!(client.get("/open").await.status, 200);
        slowest = slowest.max(started.elapsed());
    }
    assert!(slowest.as_millis() < 1_500, "{slowest:?}");
    let mut statuses = Vec::new();
    while let Some(status) = guessers.join_next().await {
        statuses.push(status.unwrap());
    }
    let limited = statuses.iter().filter(|status| **status == 429).count();
    assert!(limited >= 30, "{statuses:?}");
    assert!(statuses.iter().all(|status| matches!(status, 401 | 429 | 503)), "{statuses:?}");
}

#[tokio::test]
async fn the_header_is_passed_on_when_asked_for() {
    let rule = RULE.replace("\"realm\": \"Inner\"", "\"pass_on\": true");
    let scene = scene(&rule).await;
    let field = basic("bob", "U*U");
    scene.ask1("GET", "/", &[("authorization", &field)]).await;
    assert_eq!(scene.web.last().headers["authorization"], field.as_str());
}
