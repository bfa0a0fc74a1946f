//! Pages for errors that stand in the table.

use super::Scene;
use crate::support::App;

const PAGES: &str = r#"{
    "default": {"pages": {"404": {"html": "<h1>default {status}</h1>"}, "5xx": {"text": "default {status} {request_id}"}}},
    "shop": {"pages": {"5xx": {"html": "<h1>{status} {message}</h1>", "json": "{\"sorry\": \"{message}\"}"}}, "replica_errors": true}}"#;

async fn failing(status: u16) -> App {
    App::answering(move |_| {
        let builder = http::Response::builder().status(status).header("x-debug", "stack trace");
        builder.body("secret stack trace".into()).unwrap()
    })
    .await
}

#[tokio::test]
async fn pages_of_the_table_take_the_place_of_the_proxys_own() {
    let rules = [
        r#"{"host": "*", "path": "/shop", "pool": "nobody", "filters": {"error_pages": "shop"}}"#,
        r#"{"host": "*", "path": "/plain", "pool": "nobody"}"#,
    ];
    let scene = Scene::adjusted(&rules, |table| {
        table.error_pages(PAGES).pool("nobody", crate::support::NOBODY, |_| {})
    })
    .await;
    let html = [("accept", "text/html")];
    for answer in scene.ask("GET", "/shop", &html).await {
        assert_eq!(answer.status, 503);
        assert!(answer.text().starts_with("<h1>503 No instance is ready"), "{}", answer.text());
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    }
    for answer in scene.ask("GET", "/shop", &[("accept", "application/json")]).await {
        assert!(answer.text().starts_with("{\"sorry\": \"No instance"), "{}", answer.text());
    }
    let answer = scene.ask1("GET", "/plain", &[("x-request-id", "id-7")]).await;
    assert_eq!(answer.text(), "default 503 id-7");
    for answer in scene.ask("GET", "/elsewhere", &html).await {
        assert_eq!((answer.status, answer.text()), (404, "<h1>default 404</h1>"));
    }
    assert!(
        scene.ask1("GET", "/plain", &html).await.text().contains("<!doctype html>"),
        "what is missing is the proxy's own"
    );
}

#[tokio::test]
async fn a_replicas_own_failure_is_hidden_when_asked_for() {
    let rules = [
        r#"{"host": "*", "path": "/shop", "pool": "web", "filters": {"error_pages": "shop"}}"#,
        r#"{"host": "*", "path": "/plain", "pool": "web"}"#,
    ];
    let scene =
        Scene::of(failing(500).await, App::named("other").await, &rules, |table| table.error_pages(PAGES))
            .await;
    for answer in scene.ask("GET", "/shop", &[("accept", "text/html")]).await {
        assert_eq!((answer.status, answer.text().starts_with("<h1>500 Something")), (500, true));
        assert!(answer.header("x-debug").is_none() && answer.header("x-request-id").is_some());
    }
    for answer in scene.ask("HEAD", "/shop", &[("accept", "text/html")]).await {
        assert_eq!((answer.status, answer.text()), (500, ""));
    }
    for answer in scene.ask("GET", "/plain", &[]).await {
        assert_eq!((answer.status, answer.text()), (500, "secret stack trace"));
    }
    // The connection is as good as before.
    let mut client = scene.proxy.client().await;
    for _ in 0..3 {
        assert_eq!(client.get("/shop").await.status, 500);
    }
}

#[tokio::test]
async fn the_default_set_holds_for_rules_that_say_nothing() {
    let pages = r#"{"default": {"pages": {"502": {"text": "hidden"}}, "replica_errors": true}}"#;
    let rules = [r#"{"host": "*", "pool": "web"}"#];
    let scene =
        Scene::of(failing(502).await, App::named("other").await, &rules, |table| table.error_pages(pages))
            .await;
    for answer in scene.ask("GET", "/", &[]).await {
        assert_eq!((answer.status, answer.text()), (502, "hidden"));
    }
}
