//! Forward auth: another service says who may pass.

use super::{Scene, all};
use crate::support::App;

const RULE: &str = r#"{"name": "shop", "host": "*", "pool": "web", "filters": {"forward_auth": {"pool": "other", "path": "/check?a=b", "copy": ["x-user", "x-groups"], "timeout_millis": 1000}}}"#;

/// Lets pass who has the right cookie.
async fn authority() -> App {
    App::answering(|seen| {
        let builder = http::Response::builder();
        match seen.headers.get("cookie").map(|value| value.to_str().unwrap()) {
            Some("session=ann") => {
                builder.header("x-user", "ann").header("x-other", "1").body("".into()).unwrap()
            }
            Some("session=broken") => builder.status(500).body("stack trace".into()).unwrap(),
            _ => {
                let builder = builder
                    .status(302)
                    .header("location", "https://login.example/")
                    .header("set-cookie", "back=1");
                builder.header("content-type", "text/html").body("<p>log in</p>".into()).unwrap()
            }
        }
    })
    .await
}

async fn scene(rule: &str) -> Scene {
    Scene::of(App::named("web").await, authority().await, &[rule], |table| table).await
}

#[tokio::test]
async fn who_may_pass_passes_with_what_the_service_says_of_them() {
    let scene = scene(RULE).await;
    let headers = [
        ("cookie", "session=ann"),
        ("x-user", "root"),
        ("x_user", "root"),
        ("x-groups", "admins"),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-uri", "/public"),
        ("x_forwarded_uri", "/public"),
        ("x-forwarded-for", "10.0.0.1"),
        ("if-none-match", "\"a\""),
    ];
    for answer in scene.ask("DELETE", "/secret?x=1", &headers).await {
        assert_eq!(answer.text(), "web");
        let asked = scene.other.last();
        assert_eq!((asked.method.as_str(), asked.target.as_str()), ("GET", "/check?a=b"));
        let told = |name: &str| -> Vec<_> {
            asked.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect()
        };
        assert_eq!(
            (told("x-forwarded-method"), told("x-forwarded-uri")),
            (vec!["DELETE".to_owned()], vec!["/secret?x=1".to_owned()])
        );
        assert_eq!(
            (told("x-forwarded-for"), told("x-forwarded-proto")),
            (vec!["127.0.0.1".to_owned()], vec!["http".to_owned()])
        );
        assert_eq!(
            (told("host"), told("x-forwarded-host")),
            (vec!["a.example".to_owned()], vec!["a.example".to_owned()])
        );
        assert!(told("x_forwarded_uri").is_empty() && told("if-none-match").is_empty());
        let seen = scene.web.last();
        assert_eq!(seen.headers.get_all("x-user").iter().collect::<Vec<_>>(), ["ann"]);
        assert!(seen.headers.get("x_user").is_none() && seen.headers.get("x-groups").is_none());
        assert!(seen.headers.get("x-other").is_none());
        assert_eq!(seen.headers["x-request-id"], asked.headers["x-request-id"], "both are the same request");
    }
}

#[tokio::test]
async fn the_services_no_is_the_clients_answer() {
    let scene = scene(RULE).await;
    for answer in scene.ask("GET", "/", &[]).await {
        assert_eq!((answer.status, answer.header("location")), (302, Some("https://login.example/")));
        assert_eq!((all(&answer, "set-cookie"), answer.text()), (vec!["back=1"], "<p>log in</p>"));
    }
    assert_eq!(scene.web.count(), 0);
    assert_eq!(scene.metric("pando_proxy_route_kept_total{route=\"shop\",by=\"forward_auth\"}").await, 2);
}

#[tokio::test]
async fn without_its_word_nobody_passes() {
    let scene = scene(RULE).await;
    for answer in scene.ask("GET", "/", &[("cookie", "session=broken")]).await {
        assert_eq!(answer.status, 503);
        assert!(!answer.text().contains("stack"));
    }
    let nobody = RULE.replace("\"pool\": \"other\"", "\"pool\": \"gone\"");
    let silent =
        Scene::adjusted(&[&nobody], |table| table.pool("gone", crate::support::NOBODY, |_| {})).await;
    assert_eq!(silent.ask1("GET", "/", &[("cookie", "session=ann")]).await.status, 503);
    let slow = App::serving(|_| Box::pin(std::future::pending())).await;
    let slow = Scene::of(App::named("web").await, slow, &[RULE], |table| table).await;
    for answer in slow.ask("GET", "/", &[("cookie", "session=ann")]).await {
        assert_eq!(answer.status, 503);
    }
    assert_eq!(slow.web.count() + silent.web.count() + scene.web.count(), 0);
}

#[tokio::test]
async fn the_service_sees_only_what_it_is_to_see() {
    let rule = RULE.replace("\"timeout_millis\": 1000", "\"send\": [\"Cookie\"]");
    let scene = scene(&rule).await;
    let body = "POST / HTTP/1.1\r\nhost: a.example\r\ncookie: session=ann\r\nx-secret: 1\r\ncontent-length: 5\r\n\r\nhello";
    assert_eq!(scene.proxy.client().await.request(body).await.text(), "web");
    let asked = scene.other.last();
    assert!(asked.headers.get("x-secret").is_none() && asked.body.is_empty());
    assert!(asked.headers.get("content-length").is_none());
    assert_eq!(scene.web.last().body, "hello");
}
