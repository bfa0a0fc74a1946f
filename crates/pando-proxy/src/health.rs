//! Each endpoint's prober: looks, judges, and puts the endpoint in or out of rotation.
//!
//! `verdict` judges, `look` looks; here is the loop that waits in between.

mod ask;
mod look;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use pando_routing::{Probe, ProbeKind};
use tokio::sync::watch;

use crate::live::endpoint::{Endpoint, ProbeOrder};
use verdict::{Seen, Verdict};

/// Probes `endpoint` as its orders say, until they say that it has left.
pub(crate) async fn probe(endpoint: Arc<Endpoint>) {
    let mut orders = endpoint.orders();
    let mut verdict = Verdict::default();
    loop {
        let order = orders.borrow_and_update().clone();
        match order {
            ProbeOrder::End => return,
            ProbeOrder::Rest => {
                if orders.changed().await.is_err() {
                    return;
                }
            }
            ProbeOrder::Look(probe) => {
                if verdict.needs_look(&probe.kind) {
                    let seen = look::at(endpoint.address, &probe).await;
                    judge(&endpoint, &mut verdict, seen, &probe);
                } else {
                    judge(&endpoint, &mut verdict, Seen::Nothing, &probe);
                }
                wait(&endpoint, &mut orders, &mut verdict, &probe).await;
            }
        }
    }
}

fn judge(endpoint: &Endpoint, verdict: &mut Verdict, seen: Seen, probe: &Probe) {
    let before = verdict.is_up();
    verdict.after(seen, probe);
    if verdict.is_up() != before {
        let (id, address) = (endpoint.id, endpoint.address);
        tracing::info!(endpoint = %id, %address, up = verdict.is_up(), "the probe's verdict changed");
    }
    endpoint.set_up(verdict.is_up());
    endpoint.set_gone(seen == Seen::Silence && !verdict.is_up());
}

/// Until the next look: the interval, new orders, or trouble that traffic met.
async fn wait(
    endpoint: &Endpoint,
    orders: &mut watch::Receiver<ProbeOrder>,
    verdict: &mut Verdict,
    probe: &Probe,
) {
    let rests = !verdict.needs_look(&probe.kind);
    let interval = Duration::from_millis(probe.interval_millis);
    tokio::select! {
        // All are cancel-safe: orders and trouble stay until they are taken.
        _ = orders.changed() => {}
        () = endpoint.troubled() => judge(endpoint, verdict, Seen::Trouble, probe),
        () = tokio::time::sleep(interval), if !rests => {}
    }
}

impl Verdict {
    /// Without a kind of probe there is only traffic to tell that an endpoint is down; that it is back, somebody must find out.
    fn needs_look(&self, kind: &ProbeKind) -> bool {
        *kind != ProbeKind::None || self.met_trouble()
    }
}
