//! Requests that are held while something is changed behind them.

use std::time::{Duration, Instant};

use super::{Scene, table};
use crate::support::{Response, far, until};

const PLAIN: &str = r#"{"name": "shop", "host": "*", "pool": "web"}"#;

fn paused(pause: &str) -> String {
    format!(r#"{{"name": "shop", "host": "*", "pool": "web", "filters": {{"pause": {pause}}}}}"#)
}

impl Scene {
    async fn held(&self) -> u64 {
        self.metric("pando_proxy_route_held{route=\"shop\"}").await
    }

    /// One request on a connection of its own, which is held when this returns.
    async fn hold(&self, path: &'static str, before: u64) -> tokio::task::JoinHandle<Response> {
        let mut client = self.proxy.client().await;
        let waiting = tokio::spawn(async move { client.get(path).await });
        until("it is held", async || self.held().await > before).await;
        waiting
    }
}

#[tokio::test]
async fn held_requests_go_on_in_their_order_when_the_pause_is_over() {
    let scene = Scene::with(&[&paused("{}")]).await;
    let mut waiting = Vec::new();
    for (n, path) in ["/0", "/1", "/2", "/3", "/4"].into_iter().enumerate() {
        waiting.push(scene.hold(path, n as u64).await);
    }
    // Another table that still pauses lets nobody through.
    scene.proxy.put_ready(&table(2, &[&paused(r#"{"most": 50}"#)], &scene.web, &scene.other)).await;
    assert_eq!((scene.held().await, scene.web.count()), (5, 0));
    scene.proxy.put_ready(&table(3, &[PLAIN], &scene.web, &scene.other)).await;
    for request in waiting {
        assert_eq!(request.await.unwrap().text(), "web");
    }
    assert_eq!(scene.web.count(), 5);
}

#[tokio::test]
async fn the_next_table_decides_where_they_go() {
    let scene = Scene::with(&[&paused("{}")]).await;
    let first = scene.hold("/a", 0).await;
    let moved = r#"{"host": "*", "pool": "other", "filters": {"response_headers": {"set": {"x-new": "1"}}}}"#;
    scene.proxy.put_ready(&table(2, &[moved], &scene.web, &scene.other)).await;
    let answer = first.await.unwrap();
    assert_eq!((answer.text(), answer.header("x-new")), ("other", Some("1")));
}

#[tokio::test]
async fn who_waits_too_long_or_finds_too_many_gets_503() {
    let scene = Scene::with(&[&paused(r#"{"hold_millis": 300, "most": 1}"#)]).await;
    let started = Instant::now();
    let first = scene.hold("/", 0).await;
    for answer in scene.ask("GET", "/", &[]).await {
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")));
    }
    assert!(scene.held().await == 1 || started.elapsed() > Duration::from_millis(250));
    let late = first.await.unwrap();
    assert_eq!((late.status, late.header("retry-after")), (503, Some("1")));
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(scene.web.count(), 0);
    assert!(scene.metric("pando_proxy_route_kept_total{route=\"shop\",by=\"paused\"}").await >= 3);
}

#[tokio::test]
async fn who_goes_while_waiting_leaves_its_place() {
    let scene = Scene::with(&[&paused("{}")]).await;
    let mut client = scene.proxy.client().await;
    client.send("GET /gone HTTP/1.1\r\nhost: a.example\r\n\r\n").await;
    until("it is held", async || scene.held().await == 1).await;
    let second = scene.hold("/stays", 1).await;
    drop(client);
    until("its place is free", async || scene.held().await == 1).await;
    scene.proxy.put_ready(&table(2, &[PLAIN], &scene.web, &scene.other)).await;
    assert_eq!(second.await.unwrap().text(), "web");
    assert_eq!((scene.web.count(), scene.web.last().target.as_str()), (1, "/stays"));
}

#[tokio::test]
async fn who_waits_when_the_proxy_ends_is_told_to_come_again() {
    let scene = Scene::with(&[&paused("{}")]).await;
    let waiting = scene.hold("/", 0).await;
    let started = Instant::now();
    scene.proxy.stop().await;
    let answer = waiting.await.unwrap();
    assert_eq!((answer.status, answer.header("retry-after")), (503, Some("30")));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_pause_ends_by_itself_and_lets_everybody_go_on_in_order() {
    let until = far(700);
    let scene = Scene::with(&[&paused(&format!(r#"{{"until_millis": {until}}}"#))]).await;
    let mut waiting = Vec::new();
    for (n, path) in ["/0", "/1", "/2", "/3"].into_iter().enumerate() {
        waiting.push(scene.hold(path, n as u64).await);
    }
    assert_eq!(scene.web.count(), 0);
    for request in waiting {
        assert_eq!(request.await.unwrap().text(), "web");
    }
    assert!(far(0) >= until, "nobody went on before the end");
    // The table is the same, and holds nobody any more.
    assert_eq!(scene.proxy.get("/4").await.text(), "web");
    assert_eq!((scene.held().await, scene.web.count()), (0, 5));
}

#[tokio::test]
async fn a_later_table_moves_the_end() {
    let scene = Scene::with(&[&paused(&format!(r#"{{"until_millis": {}}}"#, far(3_600_000)))]).await;
    let waiting = scene.hold("/", 0).await;
    let until = far(200);
    let sooner = paused(&format!(r#"{{"until_millis": {until}}}"#));
    scene.proxy.put_ready(&table(2, &[&sooner], &scene.web, &scene.other)).await;
    assert_eq!(waiting.await.unwrap().text(), "web");
    assert!(far(0) >= until);
}

#[tokio::test]
async fn who_has_waited_for_long_enough_goes_before_the_end() {
    let scene =
        Scene::with(&[&paused(&format!(r#"{{"hold_millis": 100, "until_millis": {}}}"#, far(3_600_000)))])
            .await;
    assert_eq!(scene.proxy.get("/").await.status, 503);
}
