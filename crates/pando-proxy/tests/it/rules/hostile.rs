//! What clients send to get out of where rules want them.

use super::Scene;
use crate::support::within;

#[tokio::test]
async fn no_value_ends_a_line() {
    let rule = r#"{"host": "*", "path": {"pattern": "/u/{id}"}, "pool": "web", "filters": {
        "request_headers": {"set": {"x-id": "{id}", "x-q": "{query}", "x-h": "{header.x-in}", "x-p": "{path}"}},
        "response_headers": {"set": {"x-id": "{id}", "x-h": "{header.x-in}"}}}}"#;
    let scene = Scene::with(&[rule]).await;
    let path = "/u/a%0d%0aset-cookie:%20x=1?b%0D%0Ac";
    for answer in scene.ask("GET", path, &[("x-in", "a\tb")]).await {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("x-id"), Some("a%0d%0aset-cookie:%20x=1"));
        assert_eq!(answer.header("x-h"), Some("ab"));
        assert!(answer.header("set-cookie").is_none());
        assert!(scene.web.last().headers.get("set-cookie").is_none());
    }
}

#[tokio::test]
async fn redirects_lead_to_no_other_host() {
    let rules = [
        r#"{"host": "*", "redirect": {"scheme": "https"}}"#,
        r#"{"host": "*", "path": {"pattern": "/go/{rest...}"}, "redirect": {"path": {"to": "/{rest}"}}}"#,
        r#"{"host": "*", "path": "/old", "redirect": {"path": {"prefix": "/"}}}"#,
    ];
    let scene = Scene::with(&rules).await;
    for path in [
        "//evil.example",
        "/\\evil.example",
        "/go//evil.example",
        "/go/%2F%2Fevil.example",
        "/old//evil.example",
        "/x@evil.example",
    ] {
        for answer in scene.ask("GET", path, &[]).await {
            let location = answer.header("location").unwrap();
            let rest =
                location.strip_prefix("https://a.example/").or(location.strip_prefix("http://a.example/"));
            assert!(
                rest.is_some_and(|rest| !rest.starts_with('/') && !rest.contains('\\')),
                "{path}: {location}"
            );
        }
    }
    // HTTP/1.0 need not name a host: then the path is all there is.
    let mut client = scene.proxy.client().await;
    let answer = client.request("GET //evil.example/ HTTP/1.0\r\n\r\n").await;
    assert_eq!(answer.header("location"), Some("/evil.example/"));
}

#[tokio::test]
async fn rewritten_paths_do_not_climb() {
    let rule = r#"{"host": "*", "path": {"pattern": "/f/{name}"}, "pool": "web", "filters": {"rewrite": {"to": "/files/{header.x-dir}/{name}"}}}"#;
    let scene = Scene::with(&[rule]).await;
    for dir in ["..", ".", "%2e%2e"] {
        for answer in scene.ask("GET", "/f/a", &[("x-dir", dir)]).await {
            let target = if answer.status == 200 { scene.web.last().target } else { String::new() };
            assert!(
                answer.status == 400 || target == "/files/%252e%252e/a",
                "{dir}: {} {target}",
                answer.status
            );
        }
    }
    for _ in scene.ask("GET", "/f/a", &[("x-dir", "a/../../b?c#d")]).await {
        assert_eq!(scene.web.last().target, "/files/a%2F..%2F..%2Fb%3Fc%23d/a");
    }
}

#[tokio::test]
async fn what_is_refused_leaves_the_connection_in_step() {
    let rules = [
        r#"{"host": "*", "path": "/no", "pool": "web", "filters": {"deny": ["0.0.0.0/0", "::/0"]}}"#,
        r#"{"host": "*", "path": "/yes", "pool": "web"}"#,
    ];
    let scene = Scene::with(&rules).await;
    let mut client = scene.proxy.client().await;
    // A body that looks like a request.
    let smuggled = "GET /yes HTTP/1.1\r\nhost: a.example\r\nx-smuggled: 1\r\n\r\n";
    let head = format!("POST /no HTTP/1.1\r\nhost: a.example\r\ncontent-length: {}\r\n\r\n", smuggled.len());
    client.send(format!("{head}{smuggled}GET /yes HTTP/1.1\r\nhost: a.example\r\n\r\n")).await;
    assert_eq!(client.response().await.status, 403);
    if let Some(answer) = within("an answer or the end", client.try_response()).await {
        assert_eq!(answer.text(), "web");
        assert!(scene.web.last().headers.get("x-smuggled").is_none());
    }
    assert!(scene.web.count() <= 1);
}
