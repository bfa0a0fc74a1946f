//! Each endpoint's prober: looks, judges, and puts the endpoint in or out of rotation.
//!
//! `verdict` judges, `look` looks; here is the loop that waits in between.

mod ask;
mod grpc;
mod look;
mod verdict;

use std::sync::Arc;
use std::time::Duration;

use pando_routing::balance::SECOND;
use pando_routing::balance::random::Draws;
use pando_routing::{Probe, ProbeKind};
use tokio::sync::{Semaphore, watch};

use crate::balance::moment;
use crate::live::endpoint::{Endpoint, ProbeOrder};
use look::Sight;
use verdict::{Seen, Verdict};

/// How often an endpoint is looked at that was never up, or went down a moment ago.
const STARTING: Duration = Duration::from_millis(250);

/// An ejected endpoint whose time has been over for so long (in microseconds) has no traffic to bring it back.
const NO_TRIAL: u64 = 5 * SECOND;

/// First looks at a time. A table may bring thousands of endpoints at once, and each look takes a file; later looks spread by
/// themselves.
const FIRST_LOOKS: usize = 256;

/// Who may look for the first time.
#[derive(Debug, Clone)]
pub(crate) struct FirstLooks(Arc<Semaphore>);

impl Default for FirstLooks {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(FIRST_LOOKS)))
    }
}

/// Probes `endpoint` as its orders say, until they say that it has left.
pub(crate) async fn probe(endpoint: Arc<Endpoint>, first_looks: FirstLooks) {
    let mut orders = endpoint.orders();
    let mut verdict = Verdict::default();
    if endpoint.was_looked_at() {
        verdict = inherited(&endpoint, &mut orders).await;
    } else {
        let seat = first_looks.0.acquire().await;
        let order = orders.borrow_and_update().clone();
        if let ProbeOrder::Look(probe) = order {
            look(&endpoint, &mut verdict, &probe).await;
            drop(seat);
            wait(&endpoint, &mut orders, &mut verdict, &probe).await;
        }
    }
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
                look(&endpoint, &mut verdict, &probe).await;
                wait(&endpoint, &mut orders, &mut verdict, &probe).await;
            }
        }
    }
}

/// The proxy before this one has looked a moment ago: the next look is at any time within an interval.
async fn inherited(endpoint: &Endpoint, orders: &mut watch::Receiver<ProbeOrder>) -> Verdict {
    let (up, was_up) = (endpoint.is_up(), endpoint.was_ever_up());
    let mut verdict = Verdict::inherited(up, was_up, endpoint.refuses());
    let order = orders.borrow_and_update().clone();
    if let ProbeOrder::Look(probe) = order {
        let pause = pause(&probe, verdict.is_starting());
        let share = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX).max(1);
        let pause = Duration::from_micros(Draws::new(moment::random()).below(share));
        wait_for(endpoint, orders, &mut verdict, &probe, pause).await;
    }
    verdict
}

async fn look(endpoint: &Endpoint, verdict: &mut Verdict, probe: &Probe) {
    let sight = match verdict.needs_look(&probe.kind) {
        true => look::at(endpoint.address, &endpoint.reach(), probe).await,
        false => Some(Sight::good(Seen::Nothing)),
    };
    let Some(Sight { seen, why }) = sight else { return };
    if let Some(why) = &why {
        tracing::debug!(endpoint = %endpoint.id, address = %endpoint.address, why, "a probe failed");
    }
    endpoint.set_why_out(why);
    judge(endpoint, verdict, seen, probe);
}

fn judge(endpoint: &Endpoint, verdict: &mut Verdict, seen: Seen, probe: &Probe) {
    let before = verdict.is_up();
    verdict.after(seen, probe);
    if verdict.is_up() != before {
        let (id, address) = (endpoint.id, endpoint.address);
        let why = endpoint.why_out();
        tracing::info!(endpoint = %id, %address, up = verdict.is_up(), why = why.as_deref(), "the probe's verdict changed");
    }
    match seen {
        // Traffic has said so itself.
        Seen::Trouble => {}
        seen => endpoint.set_refusing(matches!(seen, Seen::Refusal | Seen::Silence)),
    }
    endpoint.set_up(verdict.is_up());
    endpoint.set_gone(matches!(seen, Seen::Silence | Seen::Hanging) && !verdict.is_up());
    if seen == Seen::Pass && matches!(probe.kind, ProbeKind::Http { .. } | ProbeKind::Grpc { .. }) {
        bring_back(endpoint);
    }
}

/// A request brings an ejected endpoint back, since it shows more than a probe does. Where none comes, the probe has to do: one that
/// asks for an answer.
fn bring_back(endpoint: &Endpoint) {
    let now = moment::now();
    if !endpoint.conduct.is_in() && endpoint.conduct.probe_passed(now.saturating_sub(NO_TRIAL)) {
        endpoint.came_back(now);
    }
}

/// The interval, a tenth more or less: what began together doesn't go on together.
fn pause(probe: &Probe, is_starting: bool) -> Duration {
    let interval = Duration::from_millis(probe.interval_millis);
    let interval = if is_starting { interval.min(STARTING) } else { interval };
    let tenth = interval / 10;
    let spread = u64::try_from(tenth.as_micros()).unwrap_or(u64::MAX).saturating_mul(2);
    interval - tenth + Duration::from_micros(Draws::new(moment::random()).below(spread))
}

/// Until the next look: the interval, new orders, or trouble that traffic met.
async fn wait(
    endpoint: &Endpoint,
    orders: &mut watch::Receiver<ProbeOrder>,
    verdict: &mut Verdict,
    probe: &Probe,
) {
    // Requests may be waiting for it.
    let is_awaited = endpoint.may_be_back_within(moment::now()) > 0;
    let pause = pause(probe, verdict.is_starting() || is_awaited);
    wait_for(endpoint, orders, verdict, probe, pause).await;
}

async fn wait_for(
    endpoint: &Endpoint,
    orders: &mut watch::Receiver<ProbeOrder>,
    verdict: &mut Verdict,
    probe: &Probe,
    pause: Duration,
) {
    let rests = !verdict.needs_look(&probe.kind);
    tokio::select! {
        // All are cancel-safe: orders and trouble stay until they are taken.
        _ = orders.changed() => {}
        () = endpoint.troubled() => judge(endpoint, verdict, Seen::Trouble, probe),
        () = tokio::time::sleep(pause), if !rests => {}
    }
}

impl Verdict {
    /// Without a kind of probe there is only traffic to tell that an endpoint is down; that it is back, somebody must find out.
    fn needs_look(&self, kind: &ProbeKind) -> bool {
        *kind != ProbeKind::None || self.met_trouble()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_differ_by_a_tenth_at_most_and_are_short_while_it_starts() {
        let probe = |interval_millis| Probe { interval_millis, ..Probe::default() };
        let pauses: Vec<_> = (0..1000).map(|_| pause(&probe(10_000), false)).collect();
        assert!(pauses.iter().all(|pause| (9..11).contains(&pause.as_secs())));
        assert!(pauses.iter().any(|pause| pause.as_millis() < 9_300));
        assert!(pauses.iter().any(|pause| pause.as_millis() > 10_700));
        assert!(pause(&probe(10_000), true) <= STARTING * 11 / 10);
        assert!(pause(&probe(50), true) < Duration::from_millis(56));
    }
}
