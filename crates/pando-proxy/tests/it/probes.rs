//! How the proxy looks at endpoints by itself.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::SeqCst};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Response, StatusCode};
use pando_routing::{Expect, Probe, ProbeKind};
use tokio::net::TcpListener;

use crate::support::{App, Proxy, TableBuilder, endpoint, free_address};

fn looking(expect: Option<Expect>) -> Probe {
    let kind = ProbeKind::Http { path: "/up".to_owned(), host: None };
    Probe { kind, interval_millis: 50, timeout_millis: 500, rise: 1, fall: 1, expect }
}

#[tokio::test]
async fn status_and_body_must_be_what_is_expected() {
    let status = Arc::new(AtomicU16::new(200));
    let body = Arc::new(Mutex::new("all is well"));
    let (says, shows) = (status.clone(), body.clone());
    let app = App::answering(move |_| {
        let mut response = Response::new(Bytes::from(*shows.lock().unwrap()));
        *response.status_mut() = StatusCode::from_u16(says.load(SeqCst)).unwrap();
        response
    })
    .await;
    let proxy = Proxy::start().await;
    let expect = Expect { statuses: vec![(200, 204), (418, 418)], body: Some("well".to_owned()) };
    let table = TableBuilder::serving(1, [&app.endpoint]);
    proxy.put_ready(&table.adjust("web", |pool| pool.probe = looking(Some(expect)))).await;
    let id = app.endpoint.id;
    let cases =
        [(301, "all is well", false), (418, "well", true), (200, "all is good", false), (204, "well", false)];
    for (code, text, is_in) in cases {
        (*body.lock().unwrap()) = text;
        status.store(code, SeqCst);
        let what = format!("{code} {text}");
        proxy.wait_for_stats(&what, |stats| stats.not_in_rotation.contains(&id) != is_in).await;
        if !is_in {
            (*body.lock().unwrap()) = "well";
            status.store(200, SeqCst);
            proxy.wait_for_stats("it is well", |stats| stats.not_in_rotation.is_empty()).await;
        }
    }
}

/// Looks are a minute apart; while it was never up they are not.
#[tokio::test]
async fn one_that_starts_is_looked_at_often() {
    let address = free_address();
    let new = endpoint(address);
    let proxy = Proxy::start().await;
    let probe = Probe { interval_millis: 60_000, ..looking(None) };
    let table = TableBuilder::serving(1, [&new]).adjust("web", |pool| pool.probe = probe.clone());
    assert!(proxy.put(&table).await.not_in_rotation.contains(&new.id));
    let up = Arc::new(AtomicBool::new(true));
    let is_up = up.clone();
    let _app = App::on(TcpListener::bind(address).await.unwrap(), move |_| {
        let is_up = is_up.load(SeqCst);
        Box::pin(async move {
            use http_body_util::BodyExt;
            assert!(is_up, "it was up, and is left alone for a minute");
            Response::new(http_body_util::Full::new(Bytes::from("new")).boxed_unsync())
        })
    });
    let began = Instant::now();
    proxy.wait_for_stats("it is in rotation", |stats| stats.not_in_rotation.is_empty()).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(proxy.get("/").await.text(), "new");
    up.store(false, SeqCst);
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(proxy.stats().await.not_in_rotation.is_empty());
}
