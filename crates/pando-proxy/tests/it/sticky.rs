//! A visitor stays with one replica, by a cookie that the replica never sees.

use std::time::Duration;

use pando_routing::balance::hash::SecretKey;
use pando_routing::{Endpoint, EndpointState, Sticky};

use crate::support::{App, Client, Proxy, Response, TableBuilder, far, until};

async fn app(name: &'static str) -> (App, Endpoint) {
    let app = App::named(name).await;
    let endpoint = Endpoint { name: format!("web-{name}"), ..app.endpoint.clone() };
    (app, endpoint)
}

fn sticky(revision: u64, endpoints: &[Endpoint]) -> TableBuilder {
    TableBuilder::serving(revision, endpoints).adjust("web", |pool| pool.sticky = Some(Sticky::default()))
}

/// The cookie that an answer sets, as it is to be sent back.
fn cookie(response: &Response) -> Option<String> {
    Some(response.header("set-cookie")?.split(';').next()?.to_owned())
}

async fn with(client: &mut Client, cookies: &str) -> Response {
    client.request(&format!("GET / HTTP/1.1\r\nhost: a\r\ncookie: {cookies}\r\n\r\n")).await
}

#[tokio::test]
async fn a_visitor_stays_and_the_cookie_stays_with_the_proxy() {
    let ((a, one), (b, two)) = (app("a").await, app("b").await);
    let proxy = Proxy::start().await;
    proxy.put_ready(&sticky(1, &[one, two])).await;
    let mut client = proxy.client().await;
    let first = client.get("/").await;
    let set = first.header("set-cookie").unwrap();
    assert!(set.starts_with("pando_server=") && set.contains("; Path=/; HttpOnly; Max-Age=86400"), "{set}");
    assert!(set.ends_with("; SameSite=Lax") && !set.contains("Secure"), "{set}");
    assert!(!set.contains("web-"), "it tells nothing: {set}");
    let own = cookie(&first).unwrap();
    for n in 0..20 {
        let response = with(&mut client, &format!("theme=dark; {own}; n={n}")).await;
        assert_eq!(response.text(), first.text());
        assert_eq!(response.header("set-cookie"), None, "neither new nor moved");
    }
    let app = if first.text() == "a" { &a } else { &b };
    let seen = app.last();
    let cookies: Vec<_> = seen.headers.get_all("cookie").iter().collect();
    assert_eq!(cookies, ["theme=dark; n=19"]);
    with(&mut client, &own).await;
    assert!(app.last().headers.get("cookie").is_none(), "nothing is left of it");
    // What stood in several fields stays in several.
    let two = format!("GET / HTTP/1.1\r\nhost: a\r\nCookie: x=1\r\ncookie: {own}; y=2\r\n\r\n");
    client.request(&two).await;
    let seen = app.last();
    let mut cookies: Vec<_> = seen.headers.get_all("cookie").iter().collect();
    cookies.sort();
    assert_eq!(cookies, ["x=1", "y=2"]);
}

#[tokio::test]
async fn others_are_shared_as_ever_and_a_made_up_cookie_leads_nowhere() {
    let ((_a, one), (_b, two)) = (app("a").await, app("b").await);
    let proxy = Proxy::start().await;
    proxy.put_ready(&sticky(1, &[one, two])).await;
    let mut client = proxy.client().await;
    let mut names = Vec::new();
    for value in ["x", "", "AAAAAAAAAAAAAAAAAAAAAA", "web-a"] {
        let response = with(&mut client, &format!("pando_server={value}")).await;
        assert!(cookie(&response).is_some(), "{value}");
        names.push(response.text().to_owned());
    }
    assert_eq!(names.iter().filter(|name| *name == "a").count(), 2);
}

#[tokio::test]
async fn a_visitor_moves_when_the_replica_is_not_ready() {
    let ((a, one), (b, two)) = (app("a").await, app("b").await);
    let proxy = Proxy::start().await;
    proxy.put_ready(&sticky(1, &[one, two])).await;
    let mut client = proxy.client().await;
    let first = client.get("/").await;
    let own = cookie(&first).unwrap();
    let gone = if first.text() == "a" { a } else { b };
    gone.stop().await;
    let moved = with(&mut client, &own).await;
    assert_eq!(moved.status, 200);
    assert_ne!(moved.text(), first.text());
    let new = cookie(&moved).unwrap();
    assert_ne!(new, own);
    let back = with(&mut client, &new).await;
    assert_eq!((back.text(), back.header("set-cookie")), (moved.text(), None));
}

#[tokio::test]
async fn a_draining_replica_keeps_its_own_until_the_drain_ends() {
    let ((_a, one), (_b, two)) = (app("a").await, app("b").await);
    let proxy = Proxy::start().await;
    proxy.put_ready(&sticky(1, &[one.clone(), two.clone()])).await;
    let mut client = proxy.client().await;
    let mut own = None;
    while own.is_none() {
        own = Some(client.get("/").await).filter(|response| response.text() == "a").and_then(|r| cookie(&r));
    }
    let own = own.unwrap();
    let id = one.id;
    let deadline = far(1_500);
    let draining = Endpoint { state: EndpointState::Draining { deadline_millis: deadline }, ..one };
    proxy.put(&sticky(2, &[draining, two])).await;
    for _ in 0..10 {
        assert_eq!(client.get("/").await.text(), "b", "nobody new");
        let kept = with(&mut client, &own).await;
        assert_eq!((kept.text(), kept.header("set-cookie")), ("a", None));
    }
    assert!(proxy.stats().await.in_flight.contains_key(&id), "idle is for good: it is not idle yet");
    proxy.wait_idle(id).await;
    assert!(far(0) >= deadline, "idle before its deadline");
    let moved = with(&mut client, &own).await;
    assert_eq!(moved.text(), "b");
    assert!(cookie(&moved).is_some());
}

#[tokio::test]
async fn a_cookie_outlives_the_proxy_and_a_replaced_replica_has_its_visitors_again() {
    let ((_a, one), (_b, two)) = (app("a").await, app("b").await);
    let keep = |settings: &mut pando_proxy::Settings, directory: &std::path::Path| {
        settings.state_file = Some(directory.join("table.json"));
    };
    let proxy = Proxy::start_with(keep).await;
    proxy.put_ready(&sticky(1, &[one.clone(), two.clone()])).await;
    let first = proxy.get("/").await;
    let own = cookie(&first).unwrap();
    let proxy = Proxy::start_in(proxy.stop().await, keep).await;
    proxy
        .wait_for_stats("it serves", |stats| stats.version.is_some() && stats.not_in_rotation.is_empty())
        .await;
    let mut client = proxy.client().await;
    for _ in 0..6 {
        let response = with(&mut client, &own).await;
        assert_eq!((response.text(), response.header("set-cookie")), (first.text(), None));
    }
    // Another replica of the same name.
    let (_new, new) = app("new").await;
    let name = format!("web-{}", first.text());
    let stays = if first.text() == "a" { two } else { one };
    proxy.put_ready(&sticky(2, &[Endpoint { name, ..new }, stays])).await;
    for _ in 0..6 {
        assert_eq!(with(&mut client, &own).await.text(), "new");
    }
}

#[tokio::test]
async fn proxies_with_one_key_agree() {
    let ((_a, one), (_b, two)) = (app("a").await, app("b").await);
    let table = sticky(1, &[one, two]);
    let keyed = |key: u8| {
        let mut table = table.build();
        table.secret.balancing_key = Some(SecretKey([key; 16]));
        TableBuilder::of(table)
    };
    let (first, second, stranger) = (Proxy::start().await, Proxy::start().await, Proxy::start().await);
    first.put_ready(&keyed(1)).await;
    second.put_ready(&keyed(1)).await;
    stranger.put_ready(&keyed(2)).await;
    let response = first.get("/").await;
    let own = cookie(&response).unwrap();
    for _ in 0..4 {
        assert_eq!(with(&mut second.client().await, &own).await.text(), response.text());
    }
    assert!(cookie(&with(&mut stranger.client().await, &own).await).is_some());
}

/// A replica that is stopped as soon as it is idle, again and again, while visitors come as fast as they can: none of them may meet
/// one that was stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn idle_means_idle_for_good_for_visitors_too() {
    let proxy = std::sync::Arc::new(Proxy::start().await);
    let (mut app_now, mut now) = app("0").await;
    proxy.put_ready(&sticky(1, std::slice::from_ref(&now))).await;
    let done = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let visitors: Vec<_> = (0..4)
        .map(|_| {
            let (proxy, done) = (proxy.clone(), done.clone());
            tokio::spawn(async move {
                let (mut client, mut own, mut moves) = (proxy.client().await, String::new(), 0);
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    let post =
                        format!("POST / HTTP/1.1\r\nhost: a\r\ncookie: {own}\r\ncontent-length: 0\r\n\r\n");
                    let response = client.request(&post).await;
                    assert_eq!(response.status, 200);
                    if let Some(new) = cookie(&response) {
                        (own, moves) = (new, moves + 1);
                    }
                }
                moves
            })
        })
        .collect();
    for round in 1..=8u64 {
        let (app_next, next) = app(["x", "y"][usize::try_from(round % 2).unwrap()]).await;
        proxy.put_ready(&sticky(2 * round, &[now.clone(), next.clone()])).await;
        let state = EndpointState::Draining { deadline_millis: far(150) };
        proxy.put(&sticky(2 * round + 1, &[Endpoint { state, ..now.clone() }, next.clone()])).await;
        proxy.wait_idle(now.id).await;
        let before = app_now.count();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(app_now.count(), before, "a request came after it was idle");
        app_now.stop().await;
        (app_now, now) = (app_next, next);
    }
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    for visitor in visitors {
        let moves = visitor.await.unwrap();
        // The first, eight rounds; of the last one it may not have heard.
        assert!(
            (8..=9).contains(&moves),
            "{moves}: it moves when its replica has gone, and at no other time"
        );
    }
    until("all is counted", async || proxy.pool("web").await.failed == 0).await;
}
