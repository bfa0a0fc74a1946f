//! Which rule a request goes to.

use super::Scene;

#[tokio::test]
async fn everything_that_a_rule_may_ask_for_is_asked() {
    let plain = r#"{"host": "*", "pool": "web"}"#;
    for (when, path, headers, matches) in [
        (r#""when": {"methods": ["GET"]}"#, "/", vec![], true),
        (r#""when": {"methods": ["POST"]}"#, "/", vec![], false),
        (r#""when": {"headers": {"X-Beta": {"is": "1"}}}"#, "/", vec![("x-beta", "1")], true),
        (r#""when": {"headers": {"x-beta": {"is": "1"}}}"#, "/", vec![("x-beta", "2")], false),
        (
            r#""when": {"cookies": {"side": {"starts_with": "can"}}}"#,
            "/",
            vec![("cookie", "a=b; side=canary")],
            true,
        ),
        (r#""when": {"query": {"q": {"is": "a b"}}}"#, "/?x&q=a%20b", vec![], true),
        (r#""when": {"query": {"q": "present"}}"#, "/?x", vec![], false),
        (r#""when": {"from": ["127.0.0.0/8"]}"#, "/", vec![], true),
        (r#""when": {"from": ["10.0.0.0/8"]}"#, "/", vec![], false),
        (r#""when": {"tls": false}"#, "/", vec![], true),
        (r#""path": {"exact": "/x"}"#, "/%78", vec![], true),
        (r#""path": {"exact": "/x"}"#, "/x/", vec![], false),
        (r#""path": {"pattern": "/u/{id}/p"}"#, "/a/../u/7/p", vec![], true),
        (r#""path": {"pattern": "/u/{id}/p"}"#, "/u/7/q", vec![], false),
        // Nobody believes what a client says about where it comes from.
        (
            r#""when": {"headers": {"x-forwarded-for": "present"}}"#,
            "/",
            vec![("x-forwarded-for", "10.0.0.1")],
            false,
        ),
    ] {
        let rule = format!(r#"{{"host": "*", {when}, "pool": "other"}}"#);
        let scene = Scene::with(&[plain, &rule]).await;
        for answer in scene.ask("GET", path, &headers).await {
            let expected = if matches { "other" } else { "web" };
            assert_eq!((answer.status, answer.text()), (200, expected), "{when} {path} {}", answer.version);
        }
    }
}

#[tokio::test]
async fn a_request_that_no_rule_is_for_gets_404() {
    let scene = Scene::with(&[r#"{"host": "*", "path": {"exact": "/x"}, "pool": "web"}"#]).await;
    for answer in scene.ask("GET", "/y", &[]).await {
        assert_eq!(answer.status, 404);
    }
}
