//! The API by TLS: who comes in, and for what.

use std::net::SocketAddr;
use std::sync::Arc;

use pando_agent::serve::Admission;
use pando_api::stream::Channel;
use pando_api::v1::agents::LogQuery;
use pando_api::{AgentClient, ErrorCode};
use pando_model::assignment::{Assignment, Peer};
use pando_model::id::ServerId;
use pando_model::release::Digest;
use pando_trust::tls::{client_config, pinned_config};
use pando_trust::{LiveIdentity, Subject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use uuid::Uuid;

use super::support::{Served, beside, read, read_pid, send, until_gone, within};
use crate::authority::Cluster;

fn server(n: u128) -> ServerId {
    ServerId::from_uuid(Uuid::from_u128(n))
}

/// Server 1 knows servers 2 and 3.
struct Bed {
    cluster: Cluster,
    served: Served,
    assignment: watch::Sender<Arc<Assignment>>,
}

impl Bed {
    async fn new() -> Self {
        let cluster = Cluster::new();
        let peer = |n| Peer {
            server: server(n),
            name: "other".parse().unwrap(),
            agent_address: SocketAddr::from(([127, 0, 0, 1], 1)),
        };
        let peers = vec![peer(2), peer(3)];
        let assignment = watch::Sender::new(Arc::new(Assignment { peers, ..Assignment::empty(server(1)) }));
        let admission = Admission::Certificates {
            membership: cluster.membership(server(1)),
            assignment: assignment.subscribe(),
        };
        Self { cluster, served: Served::admitting(admission).await, assignment }
    }

    fn client(&self, identity: &Arc<LiveIdentity>) -> AgentClient {
        let config = client_config(identity, Subject::Server(server(1)), &self.cluster.clock).unwrap();
        AgentClient::with_tls(self.served.address, server(1), config)
    }

    fn caller(&self, subject: Subject) -> AgentClient {
        self.client(&self.cluster.live(subject))
    }
}

fn digest() -> Digest {
    Digest::new("a".repeat(64)).unwrap()
}

#[tokio::test]
async fn the_control_plane_may_do_everything() {
    let bed = Bed::new().await;
    let control = bed.caller(Subject::Control);
    let ended = read(&mut control.exec(&beside("echo hello")).await.unwrap()).await;
    assert_eq!(ended.stdout, b"hello\n");
    assert!(!control.has_artifact(&digest()).await.unwrap());
    control.logs(&LogQuery { app: "shop".parse().ok(), ..LogQuery::default() }).await.unwrap();
}

#[tokio::test]
async fn commands_live_on_tls_as_they_do_without() {
    let bed = Bed::new().await;
    let control = bed.caller(Subject::Control);
    let mut running = control.exec(&beside("cat | wc -c; seq 200000 | sha256sum")).await.unwrap();
    for _ in 0..100 {
        send(&mut running, Channel::Stdin, &[b'x'; 10_000]).await;
    }
    send(&mut running, Channel::Stdin, b"").await;
    let ended = read(&mut running).await;
    let text = String::from_utf8(ended.stdout).unwrap();
    assert!(text.starts_with("1000000\n") && text.len() > 64, "{text}");
    // Who leaves takes the command with it, also with input that nobody reads.
    let mut running = control.exec(&beside("echo $$; exec sleep 1000")).await.unwrap();
    let pid = read_pid(&mut running).await;
    for _ in 0..10 {
        send(&mut running, Channel::Stdin, &[b'x'; 10_000]).await;
    }
    drop(running);
    until_gone(pid).await;
}

#[tokio::test]
async fn another_server_gets_what_servers_share_and_nothing_else() {
    let bed = Bed::new().await;
    let peer = bed.caller(Subject::Server(server(2)));
    assert!(!peer.has_artifact(&digest()).await.unwrap());
    let asked = peer.logs(&LogQuery { app: "shop".parse().ok(), ..LogQuery::default() }).await;
    assert_eq!(asked.unwrap_err().code(), Some(ErrorCode::Forbidden));
    assert_eq!(peer.exec(&beside("echo hello")).await.unwrap_err().code(), Some(ErrorCode::Forbidden));
}

#[tokio::test]
async fn a_server_that_was_removed_loses_its_voice_on_a_connection_that_is_open() {
    let bed = Bed::new().await;
    let peer = bed.caller(Subject::Server(server(2)));
    assert!(!peer.has_artifact(&digest()).await.unwrap());
    bed.assignment.send_modify(|assignment| {
        Arc::make_mut(assignment).peers.retain(|peer| peer.server != server(2));
    });
    let refused = peer.has_artifact(&digest()).await.unwrap_err();
    assert_eq!(refused.code(), Some(ErrorCode::Forbidden), "{refused}");
    let anew = bed.caller(Subject::Server(server(2))).has_artifact(&digest()).await.unwrap_err();
    assert!(anew.code().is_none(), "not even a handshake: {anew}");
}

#[tokio::test]
async fn strangers_do_not_get_past_the_handshake() {
    let bed = Bed::new().await;
    let stranger = bed.caller(Subject::Server(server(9)));
    assert!(stranger.has_artifact(&digest()).await.is_err());
    // Of another cluster, by whatever name; it would not even believe us.
    let other = Cluster::new();
    for subject in [Subject::Control, Subject::Server(server(2))] {
        let foreign = bed.client(&other.live(subject));
        assert!(foreign.has_artifact(&digest()).await.is_err());
    }
    // Without a certificate; and without TLS.
    let pinned = pinned_config(bed.cluster.authority.fingerprint(), &bed.cluster.clock).unwrap();
    let nobody = AgentClient::with_tls(bed.served.address, server(1), pinned);
    assert!(nobody.has_artifact(&digest()).await.is_err());
    within(async {
        let mut plain = tokio::net::TcpStream::connect(bed.served.address).await.unwrap();
        plain.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer).await;
        assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    })
    .await;
}

#[tokio::test]
async fn who_answers_in_its_place_is_not_believed() {
    let bed = Bed::new().await;
    let live = bed.cluster.live(Subject::Control);
    let config = client_config(&live, Subject::Server(server(2)), &bed.cluster.clock).unwrap();
    let client = AgentClient::with_tls(bed.served.address, server(2), config);
    assert!(client.has_artifact(&digest()).await.is_err());
}

#[tokio::test]
async fn expiry_is_no_reason_to_stop_speaking_with_each_other() {
    let bed = Bed::new().await;
    let (control, peer) = (bed.caller(Subject::Control), bed.caller(Subject::Server(server(3))));
    bed.cluster.clock.advance(17 * 86_400_000);
    assert!(!control.has_artifact(&digest()).await.unwrap());
    assert!(!peer.has_artifact(&digest()).await.unwrap());
}
