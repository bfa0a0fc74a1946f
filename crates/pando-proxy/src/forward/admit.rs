//! Finding the endpoint that a request begins at: at once, after the first looks at new ones, in line behind others, or, when nobody
//! is in rotation, with whoever might serve all the same.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use pando_routing::AllDown;

use super::attempt::Failure;
use super::page::Page;
use super::past::Past;
use super::{Routed, renew};
use crate::asked::Asked;
use crate::balance::{Asking, Chosen, Picked, Tried, moment, pick, pick_open};
use crate::client::Client;
use crate::front::Front;
use crate::plane::Plane;
use crate::snapshot::PoolView;

/// How often a pick may come too late for a table that was swapped meanwhile.
const PICKS: u32 = 16;

/// What a request waits at most for the first looks at endpoints. Each look has its own time-out.
const FIRST_LOOKS: Duration = Duration::from_secs(5);

/// Why no endpoint was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turned {
    /// Those in rotation have all that they may, or others wait already.
    Full,
    Nobody,
    /// No rule leads anywhere any more.
    Away(Page),
}

/// Who asks, and of what.
#[derive(Clone, Copy)]
pub(super) struct Applicant<'a> {
    pub(super) asked: &'a Asked,
    pub(super) client: &'a Client,
    pub(super) plane: &'a Plane,
    /// Doing it twice is as good as once.
    pub(super) may_repeat: bool,
    /// In the microseconds of `moment`.
    pub(super) now: u64,
}

impl Applicant<'_> {
    /// As it asks once more, having waited.
    fn later(self) -> Self {
        Self { now: moment::now(), ..self }
    }
}

/// # Errors
/// The page that the client gets instead, or that it has gone.
pub(super) async fn admit<F: Front>(
    front: &mut F,
    applicant: Applicant<'_>,
    routed: &mut Routed,
    past: &Past,
) -> Result<Chosen, Failure> {
    let mut begun = begin(applicant, routed, &past.tried, true);
    // What is waited for is boxed: most requests have no room for it.
    if matches!(begun, Err(Turned::Nobody)) && routed.pool.has_unseen() {
        Box::pin(first_looks(applicant.plane, &routed.pool)).await;
        begun = begin(applicant.later(), routed, &past.tried, true);
    }
    if matches!(begun, Err(Turned::Full)) {
        begun = Box::pin(in_line(front, applicant, routed, past)).await?;
    }
    match begun {
        Ok(chosen) => {
            routed.pool.live.is_well();
            Ok(chosen)
        }
        Err(Turned::Nobody) => match begin_open(applicant, &routed.pool, past) {
            Err(nobody) => match Box::pin(somebody_is_back(front, applicant.plane, &routed.pool)).await? {
                true => begin(applicant.later(), routed, &Tried::default(), true).map_err(|_| nobody),
                false => Err(nobody),
            },
            begun => begun,
        },
        Err(Turned::Full) => Err(Failure::Final(Page::Busy)),
        Err(Turned::Away(page)) => Err(Failure::Final(page)),
    }
}

/// Begins the request on an endpoint of the newest table. A table that was swapped since the request was routed may have
/// drained everything that its snapshot offers, so before giving up the newest is asked.
fn begin(
    applicant: Applicant<'_>,
    routed: &mut Routed,
    tried: &Tried,
    newcomer: bool,
) -> Result<Chosen, Turned> {
    let Applicant { asked, client, plane, may_repeat, now } = applicant;
    let asking = Asking::new(asked, client, may_repeat);
    for _ in 0..PICKS {
        if newcomer && routed.pool.settings.queue.is_some() && routed.pool.live.line.waiting() > 0 {
            return Err(Turned::Full);
        }
        match pick(&routed.pool, &asking, tried, now) {
            Picked::Chosen(chosen) => return Ok(chosen),
            Picked::Stale => *routed = renew(plane, asked, client, routed).map_err(Turned::Away)?,
            turned @ (Picked::Full | Picked::Nobody) => {
                let newest = renew(plane, asked, client, routed).map_err(Turned::Away)?;
                if Arc::ptr_eq(&newest.pool, &routed.pool) {
                    let full = matches!(turned, Picked::Full);
                    return Err(if full { Turned::Full } else { Turned::Nobody });
                }
                *routed = newest;
            }
        }
    }
    Err(Turned::Nobody)
}

/// A table that comes after others were missed may offer none but endpoints that nobody has looked at: to say that none is ready
/// would be a guess.
async fn first_looks(plane: &Plane, pool: &PoolView) {
    let known = || !pool.has_unseen() || pool.active.iter().any(|endpoint| endpoint.in_rotation());
    plane.sequence.wait_until(known, FIRST_LOOKS).await;
}

/// Waits behind whoever came before; full is what it still is when the wait is over.
async fn in_line<F: Front>(
    front: &mut F,
    applicant: Applicant<'_>,
    routed: &mut Routed,
    past: &Past,
) -> Result<Result<Chosen, Turned>, Failure> {
    let Some(queue) = routed.pool.settings.queue.clone() else { return Ok(Err(Turned::Full)) };
    let live = Arc::clone(&routed.pool.live);
    let Some(place) = live.line.enter(queue.length) else { return Ok(Err(Turned::Full)) };
    let over = tokio::time::sleep(Duration::from_millis(queue.wait_millis));
    tokio::pin!(over);
    loop {
        let listens = front.is_body_over();
        tokio::select! {
            () = place.turn() => {}
            () = &mut over => return Ok(Err(Turned::Full)),
            () = poll_fn(|cx| front.poll_gone(cx)), if listens => return Err(Failure::ClientGone),
        }
        match begin(applicant.later(), routed, &past.tried, false) {
            Err(Turned::Full) => {}
            begun => return Ok(begun),
        }
    }
}

/// Waits for somebody to be in rotation again where everybody has left it a moment ago, as when their container engine starts anew, and
/// nobody might serve all the same. Nothing of the request has reached anybody. Whether somebody is; at once where nobody is worth
/// waiting for.
///
/// # Errors
/// The client has gone.
pub(super) async fn somebody_is_back<F: Front>(
    front: &mut F,
    plane: &Plane,
    pool: &PoolView,
) -> Result<bool, Failure> {
    // Another table may bring others meanwhile.
    let is_there = || {
        let snapshot = plane.snapshot.load();
        let newest = snapshot.as_deref().and_then(|snapshot| snapshot.pool(&pool.live.counters.id));
        newest.is_some_and(|pool| pool.active.iter().any(|endpoint| pool.is_ready(endpoint)))
    };
    let patience = pool.return_within(moment::now());
    if patience.is_zero() || pool.settings.when_all_down == AllDown::Refuse {
        return Ok(false);
    }
    let listens = front.is_body_over();
    tokio::select! {
        () = plane.sequence.wait_until(is_there, patience) => {}
        () = poll_fn(|cx| front.poll_gone(cx)), if listens => return Err(Failure::ClientGone),
    }
    Ok(is_there())
}

/// Nobody is in rotation.
fn begin_open(applicant: Applicant<'_>, pool: &Arc<PoolView>, past: &Past) -> Result<Chosen, Failure> {
    let nobody = Failure::Final(past.page_for_nobody());
    if pool.settings.when_all_down == AllDown::Refuse {
        return Err(nobody);
    }
    let asking = Asking::new(applicant.asked, applicant.client, applicant.may_repeat);
    match pick_open(pool, &asking, &past.tried) {
        Picked::Chosen(chosen) => {
            match past.tried.is_empty() {
                true => pool.live.fails_open(),
                // Somebody may well be in rotation: who was tried.
                false => pool.live.counters.failed_open(),
            }
            Ok(chosen)
        }
        Picked::Full => Err(Failure::Final(Page::Busy)),
        Picked::Stale | Picked::Nobody => Err(nobody),
    }
}
