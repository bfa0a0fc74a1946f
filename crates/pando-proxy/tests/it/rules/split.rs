//! Canaries: a part of the requests goes to another pool.

use super::{Scene, all, table};

const STICKY: &str = r#"{"host": "*", "split": {"sides": [{"pool": "web", "weight": 50}, {"pool": "other", "weight": 50}], "stick": {"cookie": {}}}}"#;

#[tokio::test]
async fn each_side_gets_its_part() {
    let rule = r#"{"host": "*", "split": {"sides": [{"pool": "web", "weight": 80}, {"pool": "other", "weight": 20}]}}"#;
    let scene = Scene::with(&[rule]).await;
    let mut client = scene.proxy.client().await;
    for _ in 0..500 {
        client.get("/").await;
    }
    // Five standard deviations to either side.
    assert!((55..=145).contains(&scene.other.count()), "{}", scene.other.count());
}

#[tokio::test]
async fn a_visitor_stays_on_one_side_by_a_cookie_that_replicas_never_see() {
    let scene = Scene::with(&[STICKY]).await;
    for n in 0..10 {
        let first =
            if n % 2 == 0 { scene.ask1("GET", "/", &[]).await } else { scene.ask2("GET", "/", &[]).await };
        let set = all(&first, "set-cookie");
        assert_eq!(set.len(), 1);
        assert!(set[0].starts_with("pando_side=") && set[0].contains("HttpOnly"), "{set:?}");
        let cookie = format!("a=b; {}; c=d", set[0].split(';').next().unwrap());
        for again in scene.ask("GET", "/", &[("cookie", &cookie)]).await {
            assert_eq!(again.text(), first.text());
            assert!(all(&again, "set-cookie").is_empty());
            let app = if again.text() == "web" { &scene.web } else { &scene.other };
            assert_eq!(app.last().headers["cookie"], "a=b; c=d");
        }
    }
}

#[tokio::test]
async fn a_side_without_weight_keeps_nobody() {
    let scene = Scene::with(&[STICKY]).await;
    let mut cookies = Vec::new();
    while cookies.len() < 8 {
        let answer = scene.ask1("GET", "/", &[]).await;
        if answer.text() == "other" {
            cookies.push(all(&answer, "set-cookie")[0].split(';').next().unwrap().to_owned());
        }
    }
    let closed = STICKY.replace(r#""other", "weight": 50"#, r#""other", "weight": 0"#);
    scene.proxy.put_ready(&table(2, &[&closed], &scene.web, &scene.other)).await;
    for cookie in cookies {
        let answer = scene.ask1("GET", "/", &[("cookie", &cookie)]).await;
        assert_eq!((answer.text(), all(&answer, "set-cookie").len()), ("web", 1));
    }
}

#[tokio::test]
async fn both_cookies_are_kept_apart() {
    let scene = Scene::adjusted(&[STICKY], |table| {
        table
            .adjust("web", |pool| pool.sticky = Some(Default::default()))
            .adjust("other", |pool| pool.sticky = Some(Default::default()))
    })
    .await;
    let first = scene.ask1("GET", "/", &[]).await;
    let set = all(&first, "set-cookie");
    assert_eq!(set.len(), 2, "{set:?}");
    let cookies: Vec<_> = set.iter().map(|value| value.split(';').next().unwrap()).collect();
    let cookie = format!("{}; theme=dark", cookies.join("; "));
    for again in scene.ask("GET", "/", &[("cookie", &cookie)]).await {
        assert!(all(&again, "set-cookie").is_empty());
        let app = if first.text() == "web" { &scene.web } else { &scene.other };
        assert_eq!(
            (again.text(), app.last().headers["cookie"].to_str().unwrap()),
            (first.text(), "theme=dark")
        );
    }
}

#[tokio::test]
async fn one_key_is_on_one_side_and_only_the_difference_moves() {
    let rule = |canary: u32| {
        format!(
            r#"{{"host": "*", "split": {{"sides": [{{"pool": "web", "weight": {}}}, {{"pool": "other", "weight": {canary}}}], "stick": {{"hash": {{"header": "x-user"}}}}}}}}"#,
            100 - canary
        )
    };
    let scene = Scene::with(&[&rule(20)]).await;
    let sides = async |scene: &Scene| {
        let mut sides = Vec::new();
        for n in 0..60 {
            sides.push(scene.ask1("GET", "/", &[("x-user", &n.to_string())]).await.text().to_owned());
        }
        sides
    };
    let before = sides(&scene).await;
    assert_eq!(before, sides(&scene).await);
    scene.proxy.put_ready(&table(2, &[&rule(60)], &scene.web, &scene.other)).await;
    let after = sides(&scene).await;
    let moved_back =
        before.iter().zip(&after).filter(|(before, after)| *before == "other" && *after == "web");
    assert_eq!(moved_back.count(), 0);
    assert!(
        after.iter().filter(|side| *side == "other").count()
            > before.iter().filter(|side| *side == "other").count()
    );
}
