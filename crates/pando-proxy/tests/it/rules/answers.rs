//! Redirects, answers that stand in the table, CORS, changes of answers.

use super::{Scene, all};
use crate::support::App;

#[tokio::test]
async fn redirects_keep_what_they_do_not_change() {
    for (rule, path, location) in [
        (r#""redirect": {"scheme": "https"}"#, "/a/b?c=d", "https://a.example/a/b?c=d"),
        (r#""redirect": {"status": 308, "host": "b.example"}"#, "/a?c", "http://b.example/a?c"),
        (
            r#""redirect": {"host": "b.example", "port": 8443, "scheme": "https", "keep_query": false}"#,
            "/a?c",
            "https://b.example:8443/a",
        ),
        (
            r#""path": "/old", "redirect": {"path": {"prefix": "/new"}}"#,
            "/old/x?y",
            "http://a.example/new/x?y",
        ),
        (
            r#""path": {"pattern": "/u/{id}"}, "redirect": {"path": {"to": "/users/{id}/{header.x-a}"}}"#,
            "/u/a%2Fb",
            "http://a.example/users/a%2Fb/1%2F..",
        ),
    ] {
        let scene = Scene::with(&[&format!(r#"{{"host": "*", {rule}}}"#)]).await;
        for answer in scene.ask("GET", path, &[("x-a", "1/..")]).await {
            assert!(matches!(answer.status, 302 | 308), "{}", answer.status);
            assert_eq!(answer.header("location"), Some(location), "{rule}");
            assert!(answer.body.is_empty() && answer.header("x-request-id").is_some());
        }
        assert_eq!(scene.web.count(), 0);
    }
}

#[tokio::test]
async fn an_answer_may_stand_in_the_table() {
    let rule = r#"{"name": "hello", "host": "*", "respond": {"status": 418, "headers": {"x-client": "{client_address}"}, "body": "short and stout"}}"#;
    let json = r#"{"host": "*", "path": "/json", "respond": {"headers": {"content-type": "application/json"}, "body": "{}"}}"#;
    let scene = Scene::with(&[rule, json]).await;
    for answer in scene.ask("GET", "/", &[]).await {
        assert_eq!((answer.status, answer.text()), (418, "short and stout"));
        assert_eq!(answer.header("x-client"), Some("127.0.0.1"));
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    }
    for answer in scene.ask("HEAD", "/", &[]).await {
        assert_eq!((answer.status, answer.header("content-length"), answer.text()), (418, Some("15"), ""));
    }
    assert_eq!(scene.ask1("GET", "/json", &[]).await.header("content-type"), Some("application/json"));
    assert_eq!(scene.metric("pando_proxy_route_requests_total{route=\"hello\",class=\"4xx\"}").await, 4);
    assert_eq!(scene.metric("pando_proxy_route_kept_total{route=\"hello\",by=\"responded\"}").await, 4);
}

#[tokio::test]
async fn what_answers_say_can_be_changed() {
    let app = App::answering(|_| {
        let builder =
            http::Response::builder().header("server", "cobol").header("x-old", "1").header("vary", "a");
        builder.header("x-frame-options", "ALLOWALL").body("hi".into()).unwrap()
    })
    .await;
    let rule = r#"{"host": "*", "pool": "web", "filters": {"response_headers": {
        "set": {"X-Frame-Options": "DENY", "x-route": "{route}"}, "add": {"vary": "b"}, "remove": ["server", "x-old"]}}}"#;
    let scene = Scene::of(app, App::named("other").await, &[rule], |table| table).await;
    for answer in scene.ask("GET", "/", &[]).await {
        assert_eq!(answer.text(), "hi");
        assert_eq!(all(&answer, "x-frame-options"), ["DENY"]);
        assert_eq!(all(&answer, "vary"), ["a", "b"]);
        assert_eq!(answer.header("x-route"), Some("*/"));
        assert!(answer.header("server").is_none() && answer.header("x-old").is_none());
    }
}

#[tokio::test]
async fn pages_of_other_origins_are_told_what_they_may() {
    let app = App::answering(|_| {
        let builder = http::Response::builder().header("access-control-allow-origin", "*");
        builder.header("access-control-allow-credentials", "true").body("data".into()).unwrap()
    })
    .await;
    let rule = r#"{"host": "*", "pool": "web", "filters": {"cors": {"origins": ["https://*.good.example"], "methods": ["GET", "PUT"],
        "headers": ["x-token"], "expose": ["x-total"], "credentials": true, "max_age_seconds": 60}}}"#;
    let scene = Scene::of(app, App::named("other").await, &[rule], |table| table).await;
    let origin = "https://app.good.example";
    for answer in scene.ask("GET", "/", &[("origin", origin)]).await {
        assert_eq!(all(&answer, "access-control-allow-origin"), [origin]);
        assert_eq!(all(&answer, "access-control-allow-credentials"), ["true"]);
        assert_eq!(answer.header("access-control-expose-headers"), Some("x-total"));
        assert_eq!((answer.text(), answer.header("vary")), ("data", Some("Origin")));
    }
    for answer in scene.ask("GET", "/", &[("origin", "https://good.example.evil")]).await {
        assert!(answer.header("access-control-allow-origin").is_none(), "{:?}", answer.headers);
        assert!(answer.header("access-control-allow-credentials").is_none());
        assert_eq!((answer.text(), answer.header("vary")), ("data", Some("Origin")));
    }
    let before = scene.web.count();
    let preflight = [("origin", origin), ("access-control-request-method", "PUT")];
    for answer in scene.ask("OPTIONS", "/x", &preflight).await {
        assert_eq!((answer.status, answer.header("access-control-allow-methods")), (204, Some("GET, PUT")));
        assert_eq!(answer.header("access-control-allow-headers"), Some("x-token"));
        assert_eq!(answer.header("access-control-max-age"), Some("60"));
        assert!(answer.header("vary").unwrap().contains("Access-Control-Request-Method"));
    }
    let other = [("origin", origin), ("access-control-request-method", "DELETE")];
    assert!(scene.ask1("OPTIONS", "/x", &other).await.header("access-control-allow-methods").is_none());
    assert_eq!(scene.web.count(), before, "preflights go nowhere");
    assert_eq!(scene.ask1("OPTIONS", "/x", &[]).await.text(), "data", "other OPTIONS go on");
}

#[tokio::test]
async fn open_data_is_open_to_all() {
    let rule = r#"{"host": "*", "pool": "web", "filters": {"cors": {"origins": ["*"], "headers": ["*"]}}}"#;
    let scene = Scene::with(&[rule]).await;
    for answer in scene.ask("GET", "/", &[("origin", "null")]).await {
        assert_eq!((answer.header("access-control-allow-origin"), answer.header("vary")), (Some("*"), None));
    }
    let preflight = [
        ("origin", "null"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "x-a, x-b"),
    ];
    let answer = scene.ask1("OPTIONS", "/", &preflight).await;
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-a, x-b"));
}
