//! Certificates: renewed at half-life without a restart, whatever the control plane does meanwhile.

use pando_model::observed::InstanceState;
use pando_model::time::Timestamp;
use pando_rt::clock::Clock;
use pando_trust::tls::client_config;
use pando_trust::{Identity, Subject};
use tokio::net::TcpListener;

use crate::authority::Cluster;
use crate::bench::{Bench, DEADLINE, is, listening, until};

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
    // It is looked every second.
    bench.control.further(2).await;
    assert_eq!((current(&bench), bench.control.renewals()), (first, 0), "too early");
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
    bench.control.further(1).await;
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
    hang_up(&bench, 3).await;
    assert_eq!(current(&bench), first);
    bench.control.refuse_renewals(2);
    bench.control.come_back().await;
    until("renewed", || current(&bench) > first).await;
    assert_eq!(bench.control.renewals(), 3);
    bench.control.further(1).await;
    bench.stop_agent().await;
}

/// In place of the control plane: somebody who hangs up on so many.
async fn hang_up(bench: &Bench, times: usize) {
    let listener = TcpListener::bind(bench.control.address()).await.unwrap();
    for _ in 0..times {
        let accepted = tokio::time::timeout(DEADLINE, listener.accept()).await;
        drop(accepted.expect("the agent tries on").unwrap());
    }
}

/// Each new certificate is due at once by such a clock.
#[tokio::test]
async fn a_clock_that_is_days_ahead_renews_once_and_goes_on_with_what_it_has() {
    let mut bench = Bench::certified().await;
    let ahead = Clock::manual(cluster(&bench).clock.now_millis() + 5 * DAY);
    bench.membership.as_mut().unwrap().clock = ahead.clone();
    cluster(&bench).clock.advance(1000);
    let first = current(&bench);
    bench.start_agent().await;
    until("renewed", || current(&bench) > first).await;
    let renewed = current(&bench);
    bench.control.further(2).await;
    // Expired as well by now, and new connections are made.
    ahead.advance(5 * DAY);
    bench.control.go_away().await;
    bench.control.come_back().await;
    bench.control.further(2).await;
    assert_eq!((current(&bench), shown(&bench)), (renewed, Some(renewed)));
    assert_eq!(bench.control.renewals(), 1);
    bench.stop_agent().await;
    // Who starts anew asks anew.
    bench.start_agent().await;
    until("asked again", || bench.control.renewals() == 2).await;
    bench.stop_agent().await;
}
