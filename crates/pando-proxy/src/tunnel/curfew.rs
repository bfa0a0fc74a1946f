//! Waits for the moment when a connection that lives for long has to end.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::balance::moment;
use crate::live::Endpoint;
use crate::parting::Curfew;
use crate::plane::Plane;
use crate::time::span;

/// Waits until the endpoint, or the proxy, lets the connection go on no longer; for at most `drain` once the endpoint drains. A
/// deadline that moves, or is taken back, is followed. Cancel-safe.
pub(crate) async fn wait(endpoint: &Endpoint, plane: &Plane, drain: Duration) {
    let (mut closing, mut parting) = (endpoint.closing(), plane.parting());
    // The same for every deadline, so that one that moves by little moves nobody about.
    let chance = moment::random();
    loop {
        let crowd = plane.gauges.open_tunnels.load(Relaxed);
        let of = |curfew: Option<Curfew>, most| curfew.map(|curfew| curfew.moment(most, chance, crowd));
        let (endpoint_s, own) = (*closing.borrow_and_update(), *parting.borrow_and_update());
        let at = of(endpoint_s, span(drain)).into_iter().chain(of(own, u64::MAX)).min();
        let left = at.map(|at| at.saturating_sub(plane.clock.now_millis()));
        let left = left.map(|millis| Duration::from_millis(u64::try_from(millis).unwrap_or(0)));
        tokio::select! {
            // What has changed is looked at anew.
            changed = closing.changed() => if changed.is_err() { return },
            changed = parting.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(left.unwrap_or_default()), if left.is_some() => return,
        }
    }
}
