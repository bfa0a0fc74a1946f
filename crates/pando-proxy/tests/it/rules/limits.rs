//! Who gets in, and how often.

use super::{Scene, table};

const LIMITED: &str = r#"{"name": "api", "host": "*", "pool": "web", "filters": {"rate_limits": [{"name": "api", "requests": 3, "window_seconds": 3600, "key": {"header": "x-key"}}]}}"#;

#[tokio::test]
async fn who_asks_too_often_gets_429_and_is_told_when_to_come_back() {
    let scene = Scene::with(&[LIMITED]).await;
    for left in [2, 1, 0] {
        let answer = scene.ask1("GET", "/", &[("x-key", "ann")]).await;
        assert_eq!((answer.status, answer.header("ratelimit-policy")), (200, Some("\"api\";q=3;w=3600")));
        assert!(answer.header("ratelimit").unwrap().starts_with(&format!("\"api\";r={left};t=")));
    }
    for answer in scene.ask("GET", "/", &[("x-key", "ann")]).await {
        assert_eq!(answer.status, 429);
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=1200).contains(&wait), "{wait}");
        assert!(answer.header("ratelimit").unwrap().starts_with("\"api\";r=0;t="));
    }
    assert_eq!(scene.ask2("GET", "/", &[("x-key", "bob")]).await.status, 200);
    assert_eq!(scene.metric("pando_proxy_route_kept_total{route=\"api\",by=\"rate_limited\"}").await, 2);
    // Without the header the address is what counts.
    for status in [200, 200, 200, 429] {
        assert_eq!(scene.ask1("GET", "/", &[]).await.status, status);
    }
}

#[tokio::test]
async fn a_new_table_forgives_nothing_unless_the_limit_is_another() {
    let scene = Scene::with(&[LIMITED]).await;
    for _ in 0..3 {
        scene.ask1("GET", "/", &[("x-key", "ann")]).await;
    }
    let other = r#"{"host": "b.example", "pool": "other"}"#;
    scene.proxy.put_ready(&table(2, &[LIMITED, other], &scene.web, &scene.other)).await;
    assert_eq!(scene.ask1("GET", "/", &[("x-key", "ann")]).await.status, 429);
    let more = LIMITED.replace("\"requests\": 3", "\"requests\": 4");
    scene.proxy.put_ready(&table(3, &[&more], &scene.web, &scene.other)).await;
    assert_eq!(scene.ask1("GET", "/", &[("x-key", "ann")]).await.status, 200);
}

#[tokio::test]
async fn a_flood_of_keys_takes_no_more_room_and_frees_nobody() {
    let rule = LIMITED.replace("\"window_seconds\": 3600", "\"window_seconds\": 3600, \"subjects\": 128");
    let scene = Scene::with(&[&rule]).await;
    for _ in 0..3 {
        assert_eq!(scene.ask1("GET", "/", &[("x-key", "ann")]).await.status, 200);
    }
    let mut client = scene.proxy.client().await;
    for n in 0..2_000 {
        client.request(&format!("GET / HTTP/1.1\r\nhost: a.example\r\nx-key: flood-{n}\r\n\r\n")).await;
    }
    assert_eq!(
        scene.ask1("GET", "/", &[("x-key", "ann")]).await.status,
        429,
        "who presses hardest is remembered"
    );
}

#[tokio::test]
async fn all_limits_of_a_rule_must_agree() {
    let rule = r#"{"host": "*", "pool": "web", "filters": {"rate_limits": [
        {"name": "each", "requests": 100, "window_seconds": 60}, {"name": "all", "requests": 2, "window_seconds": 60, "key": "everyone"}]}}"#;
    let scene = Scene::with(&[rule]).await;
    let answer = scene.ask1("GET", "/", &[]).await;
    assert_eq!(answer.header("ratelimit-policy"), Some("\"each\";q=100;w=60, \"all\";q=2;w=60"));
    assert_eq!(scene.ask1("GET", "/", &[]).await.status, 200);
    assert_eq!(scene.ask1("GET", "/", &[]).await.status, 429);
}

#[tokio::test]
async fn networks_are_let_in_or_turned_away() {
    for (filters, status) in [
        (r#"{"allow": ["127.0.0.0/8"]}"#, 200),
        (r#"{"allow": ["10.0.0.0/8"]}"#, 403),
        (r#"{"deny": ["127.0.0.1"]}"#, 403),
        (r#"{"allow": ["127.0.0.0/8"], "deny": ["127.0.0.1"]}"#, 403),
        (r#"{"deny": ["10.0.0.0/8"]}"#, 200),
    ] {
        let scene = Scene::with(&[&format!(r#"{{"host": "*", "pool": "web", "filters": {filters}}}"#)]).await;
        // Saying to be somebody else doesn't help.
        for answer in
            scene.ask("GET", "/", &[("x-forwarded-for", "10.0.0.1"), ("x-real-ip", "10.0.0.1")]).await
        {
            assert_eq!(answer.status, status, "{filters}");
        }
        assert_eq!(scene.web.count(), if status == 200 { 2 } else { 0 });
    }
}

#[tokio::test]
async fn during_maintenance_only_named_networks_pass() {
    let rule = |allow: &str| {
        format!(
            r#"{{"name": "shop", "host": "*", "pool": "web", "filters": {{"maintenance": {{"retry_after_seconds": 90, "allow": {allow}, "message": "Back at <noon>."}}}}}}"#
        )
    };
    let scene = Scene::with(&[&rule("[]")]).await;
    for answer in scene.ask("GET", "/", &[("accept", "text/html")]).await {
        assert_eq!((answer.status, all_of(&answer.headers, "retry-after")), (503, vec!["90"]));
        assert!(answer.text().contains("Back at &lt;noon&gt;."), "{}", answer.text());
    }
    assert_eq!(scene.metric("pando_proxy_route_kept_total{route=\"shop\",by=\"maintenance\"}").await, 2);
    scene.proxy.put_ready(&table(2, &[&rule(r#"["127.0.0.1"]"#)], &scene.web, &scene.other)).await;
    assert_eq!(scene.ask1("GET", "/", &[]).await.text(), "web");
}

fn all_of<'h>(headers: &'h [(String, String)], name: &str) -> Vec<&'h str> {
    headers.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
}

#[tokio::test]
async fn rules_for_one_path_count_apart() {
    let rule = |method: &str| {
        format!(
            r#"{{"host": "*", "pool": "web", "when": {{"methods": ["{method}"]}}, "filters": {{"rate_limits": [{{"requests": 2, "window_seconds": 3600}}]}}}}"#
        )
    };
    let rules = [rule("GET"), rule("HEAD")];
    let rules: Vec<&str> = rules.iter().map(String::as_str).collect();
    let scene = Scene::with(&rules).await;
    assert_eq!(scene.ask1("GET", "/", &[]).await.status, 200);
    let other = r#"{"host": "b.example", "pool": "other"}"#;
    scene.proxy.put_ready(&table(2, &[rules[0], rules[1], other], &scene.web, &scene.other)).await;
    for (method, status) in [("HEAD", 200), ("GET", 200), ("GET", 429), ("HEAD", 200), ("HEAD", 429)] {
        assert_eq!(scene.ask1(method, "/", &[]).await.status, status, "{method}");
    }
    assert_eq!(scene.metric("pando_proxy_route_kept_total{route=\"*/#2\",by=\"rate_limited\"}").await, 1);
}
