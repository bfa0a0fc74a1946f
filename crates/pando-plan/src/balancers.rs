//! The load balancers that publishing waits for.

use std::collections::HashSet;

use pando_model::id::InstanceId;
use pando_model::observed::ProxyStatus;
use pando_model::server::{Server, Standing};
use pando_model::time::Timestamp;

use crate::ids::IdHash;
use crate::input::{ACKNOWLEDGE_WITHIN, Input, LOST_AFTER, Liveness, SUSPECT_AFTER, version_of};
use crate::view::{Seat, View};

#[derive(Debug)]
pub(crate) struct Balancer<'a> {
    pub(crate) server: &'a Server,
    /// What it said last.
    pub(crate) status: Option<&'a ProxyStatus>,
    /// Agent and load balancer were both heard lately.
    pub(crate) heard: bool,
    /// Since when the load balancer is heard, after its last silence.
    back_at: Option<Timestamp>,
}

impl Balancer<'_> {
    /// The end of its time to use the table. `None`: it does, or nobody can tell: it is silent, or has never had a table.
    pub(crate) fn deadline(&self, view: &View<'_>) -> Option<Timestamp> {
        let desired = view.input.desired;
        let wanted = version_of(desired.table.as_ref()?.version);
        let used = self.status.filter(|_| self.heard)?.acknowledged?;
        let since = self.back_at.map_or(desired.published_at, |back_at| back_at.max(desired.published_at));
        (used < wanted).then_some(since + ACKNOWLEDGE_WITHIN)
    }
}

#[derive(Debug)]
pub(crate) struct Balancers<'a> {
    /// Those that may send requests, by the name of their server.
    pub(crate) live: Vec<Balancer<'a>>,
    /// Every live one uses the published table.
    pub(crate) settled: bool,
    /// Some server is to balance, but no balancer is alive.
    pub(crate) lacks_every_one: bool,
}

impl<'a> Balancers<'a> {
    pub(crate) fn new(input: &Input<'a>, seats: &[Seat<'a>]) -> Self {
        let waited_for = seats.iter().filter(|seat| is_waited_for(input, seat));
        let balancer = |seat: &Seat<'a>| Balancer {
            server: seat.server,
            status: seat.report().and_then(|report| report.proxy.as_ref()),
            heard: seat.liveness == Liveness::Alive && is_proxy_heard(input, seat),
            back_at: seat.seen.and_then(|seen| seen.proxy_back_at),
        };
        let live: Vec<Balancer<'a>> = waited_for.map(balancer).collect();
        let settled = input.desired.table.as_ref().is_some_and(|table| {
            let wanted = version_of(table.version);
            live.iter().all(|balancer| {
                balancer.status.is_some_and(|status| status.alive && status.acknowledged >= Some(wanted))
            })
        });
        let wanted = seats.iter().any(|seat| seat.server.is_entry_point(&input.desired.settings));
        let lacks_every_one = wanted && live.is_empty();
        Self { live, settled, lacks_every_one }
    }

    /// What some live one sends nothing to, though its table says so.
    pub(crate) fn out_of_rotation(&self) -> HashSet<InstanceId, IdHash> {
        let statuses = self.live.iter().filter_map(|balancer| balancer.status);
        statuses.flat_map(|status| &status.not_in_rotation).copied().collect()
    }
}

/// The server's load balancer may send requests by a table that it has: it is an entry point, was told to be one, or has not
/// heard yet that it is one no more.
fn is_waited_for(input: &Input<'_>, seat: &Seat<'_>) -> bool {
    if seat.is_lost() {
        return false;
    }
    let by_role = seat.server.is_entry_point(&input.desired.settings);
    let leaves = seat.server.standing == Standing::Leaving;
    match seat.told.map(|told| told.entry.is_some()) {
        Some(true) => is_proxy_live(input, seat),
        None if by_role => is_proxy_live(input, seat),
        Some(false) if by_role && !leaves => is_proxy_live(input, seat),
        _ => match seat.report() {
            Some(report) => report.proxy.as_ref().is_some_and(|proxy| proxy.alive) && !seat.has_obeyed(),
            // Whether it has heard so, nobody can tell yet after a start of the control plane.
            None => seat.told.is_some() && input.in_grace(),
        },
    }
}

fn is_proxy_live(input: &Input<'_>, seat: &Seat<'_>) -> bool {
    let heard = seat.seen.and_then(|seen| seen.proxy_heard_at);
    input.in_grace() || heard.is_some_and(|at| input.now.since(at) < LOST_AFTER)
}

fn is_proxy_heard(input: &Input<'_>, seat: &Seat<'_>) -> bool {
    let heard = seat.seen.and_then(|seen| seen.proxy_heard_at);
    heard.is_some_and(|at| input.now.since(at) < SUSPECT_AFTER)
}
