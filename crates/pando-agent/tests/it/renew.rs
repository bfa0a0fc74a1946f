//! Certificates: renewed at half-life without a restart, whatever the control plane does meanwhile.

use pando_model::observed::InstanceState;
use pando_model::time::Timestamp;
use pando_trust::tls::client_config;
use pando_trust::{Identity, Subject};

use crate::authority::Cluster;
use crate::bench::{Bench, is, listening, until};

const DAY: i64 = 86_400_000;

/// Until when the certificate is good that the agent shows to the control plane now.
fn shown(bench: &Bench) -> Option<Timestamp> {
    bench.control.last_caller().map(|caller| caller.not_after)
}

fn current(bench: &Bench) -> Timestamp {
    bench.membership.as_ref().unwrap().identity.current().not_after()
}

fn cluster(bench: &Bench) -> &Cluster {
    bench.control.cluster().unwrap()
}

#[tokio::test]
async fn at_half_life_a_new_key_and_certificate_take_over_live() {
    let mut bench = Bench::certified().await;
    let (_replica, port) = listening().await;
    bench.start_agent().await;
    bench.control.assign(bench.assignment(1, &[(1, port)]));
    bench.control.until("ready", |report| is(report, 1, &InstanceState::Ready)).await;
    let first = current(&bench);
    assert_eq!(shown(&bench), Some(first));
    cluster(&bench).clock.advance(3 * DAY);
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    assert_eq!(current(&bench), first, "too early");
    cluster(&bench).clock.advance(DAY);
    until("renewed", || current(&bench) > first).await;
    let renewed = current(&bench);
    // It is on disk, of another key, and the agent's own API shows it as well.
    let membership = bench.membership.clone().unwrap();
    let kept = Identity::load(&membership.file).unwrap().unwrap();
    assert_eq!(kept.not_after(), renewed);
    let live = cluster(&bench).live(Subject::Control);
    let config = client_config(&live, Subject::Server(bench.server), &cluster(&bench).clock).unwrap();
    let client = pando_api::AgentClient::with_tls(bench.address, bench.server, config);
    assert!(client.has_artifact(&bench.digest).await.unwrap());
    // New connections to the control plane show it: the old ones are broken here.
    bench.control.go_away().await;
    bench.control.come_back().await;
    bench.control.forget_reports();
    bench.control.until("a report", |_| true).await;
    assert_eq!(shown(&bench), Some(renewed));
    assert_eq!(bench.runtime.running().len(), 1);
    bench.stop_agent().await;
    // And again, half a week later, after a restart.
    bench.start_agent().await;
    cluster(&bench).clock.advance(4 * DAY);
    until("renewed again", || current(&bench) > renewed).await;
    bench.stop_agent().await;
}

#[tokio::test]
async fn an_outage_of_ten_days_is_survived() {
    let mut bench = Bench::certified().await;
    bench.start_agent().await;
    bench.control.until("a report", |_| true).await;
    let first = current(&bench);
    bench.control.go_away().await;
    cluster(&bench).clock.advance(10 * DAY);
    tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
    assert_eq!(current(&bench), first);
    bench.control.come_back().await;
    until("renewed", || current(&bench) > first).await;
    bench.control.forget_reports();
    bench.control.until("a report", |_| true).await;
    bench.stop_agent().await;
}
