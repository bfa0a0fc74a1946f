//! What replicas see of requests that rules have changed.

use super::Scene;

#[tokio::test]
async fn paths_are_rewritten_and_queries_kept() {
    for (rule, path, seen) in [
        (
            r#""path": "/api", "pool": "web", "filters": {"rewrite": {"prefix": "/v2"}}"#,
            "/api/x?y=1",
            "/v2/x?y=1",
        ),
        (r#""path": "/api", "pool": "web", "filters": {"rewrite": {"prefix": "/v2"}}"#, "/api", "/v2"),
        (r#""path": "/api", "pool": "web", "filters": {"rewrite": {"prefix": "/"}}"#, "/api/x", "/x"),
        (
            r#""path": "/api", "pool": "web", "filters": {"rewrite": {"prefix": "/v2"}}"#,
            "/%61pi/a%2Fb",
            "/v2/a%2Fb",
        ),
        (
            r#""path": {"pattern": "/u/{id}/{rest...}"}, "pool": "web", "filters": {"rewrite": {"to": "/{rest}/of/{id}"}}"#,
            "/u/7/a/b?c",
            "/a/b/of/7?c",
        ),
        (
            r#""path": "/api", "pool": "web", "strip_prefix": true, "filters": {"request_headers": {"set": {"x": "y"}}}"#,
            "/api/x",
            "/x",
        ),
    ] {
        let scene = Scene::with(&[&format!(r#"{{"host": "*", {rule}}}"#)]).await;
        for answer in scene.ask("GET", path, &[]).await {
            assert_eq!((answer.text(), scene.web.last().target.as_str()), ("web", seen), "{rule} {path}");
        }
    }
}

#[tokio::test]
async fn headers_are_set_added_and_removed() {
    let rule = r#"{"name": "shop", "host": "*", "path": {"pattern": "/u/{id}"}, "pool": "web", "filters": {"request_headers": {
        "set": {"X-User": "{id}", "host": "inner.example", "x-real-ip": "{client_address}", "x-forwarded-proto": "https", "x-all": "{method} {scheme} {host} {path} {query} {route} {request_id}"},
        "add": {"via": "1.1 pando"}, "remove": ["cookie", "x-secret"]}}}"#;
    let scene = Scene::with(&[rule]).await;
    let headers = [
        ("x-user", "forged"),
        ("x_user", "forged"),
        ("cookie", "a=b"),
        ("x-secret", "1"),
        ("via", "1.0 other"),
        ("x-real-ip", "10.0.0.1"),
        ("x-request-id", "id-7"),
        ("accept", "*/*"),
    ];
    for _ in scene.ask("GET", "/u/7?q=1", &headers).await {
        let seen = scene.web.last();
        let all = |name: &str| -> Vec<_> {
            seen.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
        };
        assert_eq!((all("x-user"), all("x_user")), (vec!["7".to_owned()], vec![]));
        assert_eq!(
            (all("host"), all("x-forwarded-host")),
            (vec!["inner.example".to_owned()], vec!["a.example".to_owned()])
        );
        assert_eq!(
            (all("x-real-ip"), all("x-forwarded-proto")),
            (vec!["127.0.0.1".to_owned()], vec!["https".to_owned()])
        );
        assert_eq!(all("x-all"), ["GET http a.example /u/7 q=1 shop id-7"]);
        assert_eq!(all("via"), ["1.0 other", "1.1 pando"]);
        assert!(all("cookie").is_empty() && all("x-secret").is_empty());
        assert_eq!(
            (all("accept"), all("x-forwarded-for")),
            (vec!["*/*".to_owned()], vec!["127.0.0.1".to_owned()])
        );
    }
}

#[tokio::test]
async fn bodies_and_retries_pass_as_without_rules() {
    let rule = r#"{"host": "*", "pool": "web", "filters": {"request_headers": {"set": {"x-a": "1"}}}}"#;
    let scene = Scene::with(&[rule]).await;
    let mut client = scene.proxy.client().await;
    let body = "x".repeat(100_000);
    for _ in 0..2 {
        let head = format!("POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: {}\r\n\r\n", body.len());
        assert_eq!(client.request(&format!("{head}{body}")).await.text(), "web");
        assert_eq!(scene.web.last().body.len(), body.len());
    }
    let chunked =
        "POST / HTTP/1.1\r\nhost: a.example\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    assert_eq!(client.request(chunked).await.text(), "web");
    assert_eq!(scene.web.last().body, "abc");
}
