//! gRPC by another maker's library, on both sides: its clients and servers have habits of their own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use pando_routing::{Pool, ProbeKind, Protocol, ProxyStats};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::support::{Proxy, TableBuilder, endpoint, until};

/// The peer's program, which does what it is told.
struct Peer {
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    servers: Vec<SocketAddr>,
}

/// Where `script/test` puts gRPC's library.
fn python() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    target.join("interop/bin/python")
}

impl Peer {
    async fn start() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/grpc_peer.py");
        let python = python();
        let mut child = Command::new(&python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| {
                panic!("{}: {error}; script/test makes it, with gRPC's library", python.display())
            });
        let input = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
        let ports = output.next_line().await.unwrap().expect("the peer's ports");
        let servers =
            ports.split_whitespace().map(|port| format!("127.0.0.1:{port}").parse().unwrap()).collect();
        Self { _child: child, input, output, servers }
    }

    /// What comes after `ok`.
    async fn step(&mut self, step: &str) -> String {
        self.input.write_all(format!("{step}\n").as_bytes()).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(60), self.output.next_line()).await;
        let answer = answer.unwrap_or_else(|_| panic!("{step}: no answer")).unwrap().expect("an answer");
        let told = answer.strip_prefix("ok").unwrap_or_else(|| panic!("{answer}"));
        told.trim().to_owned()
    }
}

fn grpc(pool: &mut Pool) {
    pool.protocol = Protocol::H2c;
    pool.probe.kind = ProbeKind::Grpc { service: "t.T".to_owned() };
    pool.probe.interval_millis = 100;
    (pool.probe.rise, pool.probe.fall) = (1, 1);
}

async fn scene() -> (Proxy, Peer) {
    let mut peer = Peer::start().await;
    let endpoints: Vec<_> = peer.servers.iter().map(|server| endpoint(*server)).collect();
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, &endpoints).adjust("web", grpc)).await;
    peer.step(&format!("connect {}", proxy.address)).await;
    (proxy, peer)
}

#[tokio::test]
async fn all_kinds_of_calls_pass_with_status_and_trailers() {
    let (_proxy, mut peer) = scene().await;
    for step in ["unary", "large", "status", "deadline", "streams", "lockstep"] {
        peer.step(step).await;
    }
}

#[tokio::test]
async fn a_busy_client_is_no_flood() {
    let (proxy, mut peer) = scene().await;
    peer.step("calls 8000").await;
    let pool = proxy.wait_for_pool("web", |pool| pool.requests == 8000).await;
    assert_eq!((pool.failed, pool.cancelled), (0, 0));
}

#[tokio::test]
async fn a_server_that_says_so_gets_no_calls_and_can_stop() {
    let (proxy, mut peer) = scene().await;
    let out = async || proxy.stats().await.not_in_rotation.len();
    peer.step("health 0 no").await;
    until("it is out of rotation", async || out().await == 1).await;
    peer.step("calls 200").await;
    peer.step("health 0 yes").await;
    until("it is back", async || out().await == 0).await;
    peer.step("begin").await;
    peer.step("health 1 no").await;
    until("it is out of rotation", async || out().await == 1).await;
    // Calls that were on their way to it are over: gRPC's own servers cancel what comes once they stop.
    let rest = |stats: &ProxyStats| stats.not_in_rotation.iter().all(|id| !stats.in_flight.contains_key(id));
    proxy.wait_for_stats("no call is left there", rest).await;
    peer.step("stop 1").await;
    peer.step("calls 200").await;
    let done: u64 = peer.step("end").await.parse().unwrap();
    assert!(done > 0);
    let pool = proxy.pool("web").await;
    assert_eq!((pool.failed, pool.cancelled), (0, 0));
}
