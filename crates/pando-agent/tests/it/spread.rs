//! A packed release spreads from server to server.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use pando_model::AgentReport;
use pando_model::assignment::{Assignment, Peer};
use pando_model::id::ServerId;
use pando_model::observed::ReleaseState;
use sha2::Digest as _;
use tokio::net::TcpListener;
use uuid::Uuid;

use crate::bench::{Bench, packed};

/// A cluster whose release has two megabytes that can't be compressed.
async fn large() -> (Bench, Bytes) {
    let mut bench = Bench::new().await;
    let noise: String = (0..60_000u32).map(|n| hex::encode(sha2::Sha256::digest(n.to_le_bytes()))).collect();
    let (content, digest) = packed(&[("bin/web", "#!/bin/sh\n"), ("noise", &noise)]);
    assert!(content.len() > 1_500_000);
    bench.control.store(digest.as_str(), content.clone());
    bench.digest = digest;
    (bench, content)
}

fn with_peers(bench: &Bench, revision: u64, peers: &[Peer]) -> Assignment {
    let peers = peers.iter().filter(|peer| peer.server != bench.server).cloned().collect();
    Assignment { peers, ..bench.assignment(revision, &[]) }
}

fn has_release(report: &AgentReport) -> bool {
    report.releases.iter().any(|release| release.state == ReleaseState::Ready)
}

async fn until_released(bench: &Bench) {
    bench.control.until_of("a release", |id| id == bench.server, has_release).await;
}

/// Another server that plays a part: every `HEAD` finds the release, each `GET` gets the next answer.
struct Peered {
    address: SocketAddr,
    asked: Arc<Mutex<usize>>,
}

async fn peered(answer: impl Fn() -> Response + Clone + Send + Sync + 'static) -> Peered {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(0)));
    let fetch = move |State(asked): State<Arc<Mutex<usize>>>| {
        *asked.lock().unwrap() += 1;
        std::future::ready(answer())
    };
    let probe = || std::future::ready(StatusCode::OK);
    let router = Router::new().route("/v1/artifacts/{digest}", get(fetch).head(probe));
    let router = router.with_state(asked.clone());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    Peered { address, asked }
}

impl Peered {
    fn peer(&self) -> Peer {
        let server = ServerId::from_uuid(Uuid::from_u128(99));
        Peer { server, name: "other".parse().unwrap(), agent_address: self.address }
    }
}

#[tokio::test]
async fn a_server_gets_it_from_another_that_has_it() {
    let (mut first, _) = large().await;
    first.start_agent().await;
    first.control.assign(with_peers(&first, 1, &[]));
    until_released(&first).await;
    let mut second = first.beside(8);
    second.start_agent().await;
    second.control.assign(with_peers(&second, 1, &[first.peer()]));
    until_released(&second).await;
    assert_eq!(first.control.handed_out(), (vec![0], 0), "once from control");
    // Also when control is away, or has lost it.
    let mut third = first.beside(9);
    third.start_agent().await;
    third.control.hand_out(0, Duration::ZERO);
    third.control.assign(with_peers(&third, 1, &[first.peer(), second.peer()]));
    until_released(&third).await;
    for bench in [&mut first, &mut second, &mut third] {
        bench.stop_agent().await;
    }
}

#[tokio::test]
async fn a_server_that_has_just_been_restarted_still_hands_on_what_it_has() {
    let (mut first, _) = large().await;
    first.start_agent().await;
    first.control.assign(with_peers(&first, 1, &[]));
    until_released(&first).await;
    first.stop_agent().await;
    first.start_agent().await;
    let mut second = first.beside(8);
    second.start_agent().await;
    second.control.assign(with_peers(&second, 1, &[first.peer()]));
    until_released(&second).await;
    assert_eq!(first.control.handed_out().0, [0]);
    // It goes with the release.
    let mut gone = first.assignment(2, &[]);
    gone.releases.clear();
    let packed = first.directory.path().join("releases/.fetched").join(first.digest.as_str());
    assert!(packed.exists());
    first.control.assign(gone);
    crate::bench::until("the packed release is gone", || !packed.exists()).await;
    first.stop_agent().await;
    second.stop_agent().await;
}

#[tokio::test]
async fn ten_servers_cost_control_less_than_ten() {
    let (first, _) = large().await;
    first.control.hand_out(3, Duration::from_millis(10));
    let mut benches: Vec<Bench> = (0..10).map(|n| first.beside(20 + n)).collect();
    for bench in &mut benches {
        bench.start_agent().await;
    }
    let peers: Vec<Peer> = benches.iter().map(Bench::peer).collect();
    let began = Instant::now();
    for bench in &benches {
        bench.control.assign(with_peers(bench, 1, &peers));
    }
    for bench in &benches {
        until_released(bench).await;
    }
    let (sent, refused) = first.control.handed_out();
    println!("{} sent by control, {refused} times sent away, {:?}", sent.len(), began.elapsed());
    assert!(refused > 0 && (3..10).contains(&sent.len()), "{sent:?} {refused}");
    for bench in &mut benches {
        bench.stop_agent().await;
    }
}

#[tokio::test]
async fn a_break_at_a_peer_goes_on_at_control() {
    let (mut bench, content) = large().await;
    let half = content.clone();
    let peer = peered(move || {
        let first = half.slice(..1_000_000);
        let pieces = [Ok(first), Err(std::io::Error::other("gone"))];
        let body = Body::from_stream(futures_util::stream::iter(pieces));
        ([(CONTENT_LENGTH, half.len())], body).into_response()
    })
    .await;
    bench.start_agent().await;
    bench.control.assign(with_peers(&bench, 1, &[peer.peer()]));
    until_released(&bench).await;
    // The peer answers a range with all of it, which is not what was asked for; so control is asked, for the rest alone.
    let sent = bench.control.handed_out().0;
    assert!(matches!(sent[..], [from] if 0 < from && from <= 1_000_000), "{sent:?}");
    assert!(*peer.asked.lock().unwrap() >= 2);
    bench.stop_agent().await;
}

#[tokio::test]
async fn a_peer_whose_copy_is_damaged_is_not_believed() {
    let (mut bench, content) = large().await;
    let wrong = Bytes::from(vec![7; content.len()]);
    let peer = peered(move || wrong.clone().into_response()).await;
    bench.start_agent().await;
    bench.control.assign(with_peers(&bench, 1, &[peer.peer()]));
    until_released(&bench).await;
    assert_eq!((bench.control.handed_out().0, *peer.asked.lock().unwrap()), (vec![0], 1));
    bench.stop_agent().await;
}

#[tokio::test]
async fn peers_that_are_gone_hold_nothing_up() {
    let (mut bench, _) = large().await;
    // One refuses connections, one takes them and says nothing.
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let peers: BTreeMap<u128, SocketAddr> =
        BTreeMap::from([(91, refusing), (92, silent.local_addr().unwrap())]);
    let peers: Vec<Peer> = peers
        .into_iter()
        .map(|(n, agent_address)| Peer {
            server: ServerId::from_uuid(Uuid::from_u128(n)),
            name: "other".parse().unwrap(),
            agent_address,
        })
        .collect();
    bench.start_agent().await;
    let began = Instant::now();
    bench.control.assign(with_peers(&bench, 1, &peers));
    until_released(&bench).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(bench.control.handed_out(), (vec![0], 0));
    bench.stop_agent().await;
}
