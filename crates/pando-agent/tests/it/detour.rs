//! Cut off from the control plane: tables and reports go through other servers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pando_api::v1::agents::{RelayedReport, ReportBody};
use pando_api::{AgentClient, ErrorCode};
use pando_model::assignment::{Assignment, Entry, Peer};
use pando_model::id::Version;
use pando_model::observed::{AgentReport, InstanceState};
use pando_model::{AppName, ServerId};
use pando_routing::Table;
use pando_trust::Subject;
use pando_trust::tls::client_config;

use crate::authority::Cluster;
use crate::bench::{Bench, DEADLINE, is, listening, run, until};
use crate::links::{acknowledged, table};
use crate::wire::{Line, Wire};

/// Two servers that know each other; the second reaches the control plane over a wire alone.
struct Pair {
    first: Bench,
    second: Bench,
    wire: Wire,
}

impl Pair {
    async fn new() -> Self {
        let first = Bench::certified().await.with_proxy();
        let wire = Wire::to(first.control.address()).await;
        let second = first.beside(8).with_proxy().over(wire.address);
        let mut pair = Self { first, second, wire };
        for bench in [&mut pair.first, &mut pair.second] {
            bench.proxy.start();
            bench.start_agent().await;
        }
        pair.introduce(1);
        pair
    }

    /// Nothing runs anywhere, and each knows the other.
    fn introduce(&self, revision: u64) {
        let peers = [self.first.peer(), self.second.peer()];
        for bench in [&self.first, &self.second] {
            bench.control.assign(with_peers(bench, revision, &peers, &[]));
        }
    }

    /// Both have this table and know each other, as the control plane heard from themselves.
    async fn both_have(&self, revision: u64) {
        for bench in [&self.first, &self.second] {
            let has = |report: &AgentReport| {
                acknowledged(revision)(report) && report.assignment >= Version::new(1, 1)
            };
            bench.control.until_of("acknowledged", |id| id == bench.server, has).await;
        }
    }

    /// As the second would.
    fn ask_first(&self) -> AgentClient {
        let membership = self.second.membership.clone().unwrap();
        let expected = Subject::Server(self.first.server);
        let config = client_config(&membership.identity, expected, &membership.clock).unwrap();
        AgentClient::with_tls(self.first.address, self.first.server, config)
    }

    async fn end(mut self) {
        self.wire.set(Line::Whole);
        self.first.stop_agent().await;
        self.second.stop_agent().await;
    }
}

fn with_peers(bench: &Bench, revision: u64, peers: &[Peer], instances: &[(u16, u16)]) -> Assignment {
    let peers = peers.iter().filter(|peer| peer.server != bench.server).cloned().collect();
    Assignment { peers, ..bench.assignment(revision, instances) }
}

/// What was relayed of a server last.
fn relayed(cluster: &Cluster, bodies: &[ReportBody], of: ServerId) -> Option<AgentReport> {
    let reports = bodies.iter().rev().flat_map(|body| &body.relayed);
    let verified = reports.map(|report| report.verify(cluster.authority.anchor(), cluster.now()).unwrap().1);
    verified.map(|body| body.report).find(|report| report.server == of)
}

async fn until_relayed(pair: &Pair, what: &str, holds: impl Fn(&AgentReport) -> bool) -> AgentReport {
    let cluster = Arc::clone(pair.first.control.cluster().unwrap());
    let of = pair.second.server;
    let began = Instant::now();
    loop {
        let found = relayed(&cluster, &pair.first.control.reports(), of);
        if let Some(report) = found.filter(&holds) {
            return report;
        }
        assert!(began.elapsed() < DEADLINE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Within which a server that is cut off follows: a heartbeat, the silence, a second between two questions, and some.
const FOLLOWS: Duration = Duration::from_secs(7);

async fn cut_off(line: Line) {
    let pair = Pair::new().await;
    pair.first.control.publish(table(1));
    pair.both_have(1).await;
    pair.wire.set(line);
    pair.first.control.forget_reports();
    let began = Instant::now();
    pair.first.control.publish(table(2));
    // It takes the newer table, its proxy too, and the control plane hears of that, by the hand of the other.
    let report = until_relayed(&pair, "relayed", acknowledged(2)).await;
    println!("{line:?}: from publication to the relayed acknowledgement {:?}", began.elapsed());
    assert!(began.elapsed() < FOLLOWS, "{:?}", began.elapsed());
    assert_eq!(report.assignment, Version::new(1, 1));
    // Nothing of it comes straight: what may still arrive was on its way before.
    let straight = |body: &&ReportBody| body.report.server == pair.second.server;
    assert!(!pair.first.control.reports().iter().filter(straight).any(|body| acknowledged(2)(&body.report)));
    // And goes on so.
    let began = Instant::now();
    pair.first.control.publish(table(3));
    until_relayed(&pair, "relayed", acknowledged(3)).await;
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    // Mended: it speaks for itself again, and gets what is its own.
    pair.wire.set(Line::Whole);
    let began = Instant::now();
    pair.introduce(2);
    let second = pair.second.server;
    let itself = |report: &AgentReport| report.assignment == Version::new(1, 2);
    pair.first.control.until_of("itself", |id| id == second, itself).await;
    println!("{line:?}: back after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    pair.first.control.publish(table(4));
    pair.both_have(4).await;
    pair.end().await;
}

#[tokio::test]
async fn one_whose_connections_are_refused_follows_through_another() {
    cut_off(Line::Reset).await;
}

#[tokio::test]
async fn one_that_hears_nothing_at_all_follows_through_another() {
    cut_off(Line::Silent).await;
}

#[tokio::test]
async fn keys_are_never_handed_on_and_come_when_control_is_back() {
    let pair = Pair::new().await;
    let peers = [pair.first.peer(), pair.second.peer()];
    for bench in [&pair.first, &pair.second] {
        let entry = Some(Entry { prefer_local: false });
        bench.control.assign(Assignment { entry, ..with_peers(bench, 2, &peers, &[]) });
    }
    pair.first.control.publish_with_keys(table(1), "a");
    pair.both_have(1).await;
    pair.wire.set(Line::Reset);
    pair.first.control.forget_reports();
    pair.first.control.publish_with_keys(table(2), "b");
    // The newer table goes into use with the keys that are there, and that is told.
    let report = until_relayed(&pair, "relayed", acknowledged(2)).await;
    assert_eq!(report.proxy.unwrap().secrets.0, "a");
    let handed_on = pair.ask_first().newest_table(Version::default()).await.unwrap().unwrap();
    assert!(!handed_on.payload.contains(&"ab".repeat(32)), "{}", handed_on.payload);
    pair.wire.set(Line::Whole);
    let second = pair.second.server;
    let has_them = |report: &AgentReport| {
        acknowledged(2)(report) && report.proxy.as_ref().is_some_and(|proxy| proxy.secrets.0 == "b")
    };
    pair.first.control.until_of("with its own keys", |id| id == second, has_them).await;
    let pushed = pair.second.proxy.keys_pushed();
    let wanted = [(1, "a"), (2, "a"), (2, "b")].map(|(revision, mark)| (revision, mark.to_owned()));
    assert_eq!(pushed, wanted);
    pair.end().await;
}

#[tokio::test]
async fn two_that_are_cut_off_hand_on_nothing_and_come_back() {
    let pair = Pair::new().await;
    pair.first.control.publish(table(1));
    pair.both_have(1).await;
    pair.first.control.go_away().await;
    pair.wire.set(Line::Reset);
    // Who asks the first to hand something on is told that it is cut off as well.
    let client = pair.ask_first();
    let body = pair.first.control.reports().into_iter().find(|body| body.report.server == pair.second.server);
    let membership = pair.second.membership.clone().unwrap();
    let report = RelayedReport::sign(body.unwrap(), &membership.identity.current()).unwrap();
    let began = Instant::now();
    let refused = loop {
        match client.relay_report(&report).await {
            Err(error) => break error,
            Ok(()) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        assert!(began.elapsed() < FOLLOWS, "it took {report:?} for long");
    };
    assert_eq!(refused.code(), Some(ErrorCode::Unavailable), "{refused}");
    // The first is back: the second goes through it.
    pair.first.control.forget_reports();
    pair.first.control.publish(table(2));
    pair.first.control.come_back().await;
    until_relayed(&pair, "relayed", acknowledged(2)).await;
    pair.end().await;
}

#[tokio::test]
async fn servers_hand_in_their_own_reports_alone_and_only_among_members() {
    let pair = Pair::new().await;
    pair.both_have_reported().await;
    let cluster = Arc::clone(pair.first.control.cluster().unwrap());
    let expected = Subject::Server(pair.first.server);
    let client = |identity: &Arc<pando_trust::LiveIdentity>| {
        let config = client_config(identity, expected, &cluster.clock).unwrap();
        AgentClient::with_tls(pair.first.address, pair.first.server, config)
    };
    let second = pair.second.membership.clone().unwrap().identity;
    let own = pair.first.control.reports().into_iter().find(|body| body.report.server == pair.second.server);
    let body = own.unwrap();
    // Somebody else's words, signed with one's own key; and one's own, changed on the way.
    let mut foreign = body.clone();
    foreign.report.server = pair.first.server;
    let forged = RelayedReport::sign(foreign, &second.current()).unwrap();
    let error = client(&second).relay_report(&forged).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Invalid), "{error}");
    let mut changed = RelayedReport::sign(body.clone(), &second.current()).unwrap();
    changed.body = changed.body.replace("\"sequence\":", "\"sequence\":1");
    let error = client(&second).relay_report(&changed).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Invalid), "{error}");
    // A report of one server in the hands of another.
    let signed = RelayedReport::sign(body, &second.current()).unwrap();
    let control = cluster.live(Subject::Control);
    let error = client(&control).relay_report(&signed).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Forbidden), "{error}");
    let stranger = cluster.live(Subject::Server(ServerId::from_uuid(uuid::Uuid::from_u128(99))));
    assert!(client(&stranger).relay_report(&signed).await.is_err());
    client(&second).relay_report(&signed).await.unwrap();
    until_relayed(&pair, "relayed", |_| true).await;
    pair.end().await;
}

impl Pair {
    async fn both_have_reported(&self) {
        for bench in [&self.first, &self.second] {
            let has = |report: &AgentReport| report.assignment == Version::new(1, 1);
            bench.control.until_of("a report", |id| id == bench.server, has).await;
        }
    }
}

#[tokio::test]
async fn what_another_cluster_signed_is_not_taken_and_is_said() {
    let mut bench = Bench::certified().await.with_proxy();
    bench.proxy.start();
    bench.start_agent().await;
    bench.control.publish(table(1));
    bench.control.until("acknowledged", acknowledged(1)).await;
    bench.control.sign_as(Some(Arc::new(Cluster::new())));
    bench.control.publish(table(2));
    bench.control.assign(bench.assignment(5, &[(1, 18_001)]));
    let warned = |report: &AgentReport| {
        report
            .warnings
            .iter()
            .any(|warning| warning.starts_with("what the control plane sent is not believed"))
    };
    let body = bench.control.until("a warning", warned).await;
    assert_eq!(body.report.assignment, Version::default());
    assert_eq!(bench.proxy.pushed(), [1]);
    bench.control.sign_as(None);
    let taken = |report: &AgentReport| {
        report.warnings.is_empty() && acknowledged(2)(report) && report.assignment == Version::new(1, 5)
    };
    bench.control.until("taken", taken).await;
    bench.stop_agent().await;
    // Both are kept as they were signed.
    for name in ["table.json", "assignment.json"] {
        let text = std::fs::read_to_string(bench.directory.path().join("ledger").join(name)).unwrap();
        let signed: pando_trust::SignedBytes = serde_json::from_str(&text).unwrap();
        assert_eq!(signed.signature.len(), 128, "{name}");
    }
}

#[tokio::test]
async fn a_server_that_was_of_another_cluster_begins_anew() {
    let mut bench = Bench::certified().await;
    let (_replica, port) = listening().await;
    bench.start_agent().await;
    bench.control.assign(bench.assignment(900, &[(1, port)]));
    bench.control.until("ready", |report| is(report, 1, &InstanceState::Ready)).await;
    bench.stop_agent().await;
    let mut other = Bench::certified().await;
    std::mem::swap(&mut other.directory, &mut bench.directory);
    std::mem::swap(&mut other.runtime, &mut bench.runtime);
    other.start_agent().await;
    // What ran for the other is stopped, and the first assignment of this one is taken, low as its number is.
    other.control.assign(other.assignment(1, &[]));
    let emptied =
        |report: &AgentReport| report.assignment == Version::new(1, 1) && report.instances.is_empty();
    other.control.until("emptied", emptied).await;
    let runtime = other.runtime.clone();
    until("nothing runs", || runtime.running().is_empty()).await;
    assert!(other.directory.path().join("ledger/ledger.json.foreign").exists());
    other.stop_agent().await;
}

fn without_endpoints(revision: u64) -> Table {
    let mut table = table(revision);
    table.pools.values_mut().for_each(|pool| pool.endpoints.clear());
    table
}

/// The second server was down while instance 1 was moved away; when it returns, it reaches the other server alone.
#[tokio::test]
async fn what_left_the_table_meanwhile_is_not_started_on_the_word_of_a_peer() {
    let app: AppName = "hits".parse().unwrap();
    let mut pair = Pair::new().await;
    let peers = [pair.first.peer(), pair.second.peer()];
    let (_replica, port) = listening().await;
    let both = [(1, port), (2, 18_002)];
    pair.second.control.assign(with_peers(&pair.second, 2, &peers, &both));
    pair.first.control.publish(table(1));
    pair.both_have(1).await;
    let runtime = pair.second.runtime.clone();
    until("both run", || runtime.running().len() == 2).await;
    pair.second.stop_agent().await;
    pair.second.runtime.restart_machine();
    pair.wire.set(Line::Reset);
    pair.first.control.publish(without_endpoints(2));
    let first = pair.first.server;
    pair.first.control.until_of("acknowledged", |id| id == first, acknowledged(2)).await;
    let began = Instant::now();
    pair.second.start_agent().await;
    let runtime = pair.second.runtime.clone();
    // Instance 2 has no endpoint, and nobody says anything against it.
    until("instance 2", || runtime.running().iter().any(|spec| spec.key == run(2, 1))).await;
    assert!(
        began.elapsed() < Duration::from_millis(4800),
        "a peer's word ends the wait: {:?}",
        began.elapsed()
    );
    until_relayed(&pair, "relayed", acknowledged(2)).await;
    assert!(runtime.running().iter().all(|spec| spec.app == app && spec.key.id != run(1, 0).id));
    // The control plane knows better: it is still wanted.
    pair.wire.set(Line::Whole);
    until("instance 1", || runtime.running().iter().any(|spec| spec.key == run(1, 1))).await;
    pair.end().await;
}

/// With the control plane there, a start with an old ledger takes no time.
#[tokio::test]
async fn a_start_hears_at_once_that_nothing_is_newer() {
    let mut bench = Bench::certified().await;
    bench.start_agent().await;
    bench.control.assign(bench.assignment(1, &[(1, 18_001)]));
    let runtime = bench.runtime.clone();
    until("it runs", || runtime.running().len() == 1).await;
    bench.stop_agent().await;
    bench.runtime.restart_machine();
    let began = Instant::now();
    bench.start_agent().await;
    let runtime = bench.runtime.clone();
    until("it runs again", || runtime.running().len() == 1).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    bench.stop_agent().await;
}
