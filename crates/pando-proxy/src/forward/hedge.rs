//! Hedging: what takes longer than most is asked of a second endpoint too, and the answer that is there first counts.
//!
//! Each try goes its way apart from the client and from the request's paper, so that either may win. The one that loses is dropped, which
//! closes its connection (or resets its stream), so that its endpoint can stop.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use pando_http::Method;

use super::attempt::{self, Began, Failure, Whose, failure_for, idle_link, open, unreachable, waits};
use super::deliver::{Kind, read};
use super::past::Past;
use super::{Routed, Tally};
use crate::asked::Asked;
use crate::balance::{Answered, Asking, Chosen, Picked, moment, pick};
use crate::exchange::{ExchangeError, Upload, alone};
use crate::front::Front;
use crate::live::{Endpoint, Lease};
use crate::plane::Plane;
use crate::snapshot::PoolView;
use crate::upstream::{Heard, Link};

/// How often it is looked whether the machine of the one that is waited for is still there.
const LOOK: Duration = Duration::from_millis(500);

/// How long the first endpoint has, if the request may be asked of a second one at all.
pub(super) fn patience(asked: &Asked, pool: &PoolView, may_repeat: bool) -> Option<Duration> {
    let policy = pool.settings.hedge.as_ref()?;
    let is_fit = matches!(asked.head.method, Method::Get | Method::Head) && asked.head.upgrade.is_none();
    if !may_repeat || !is_fit || pool.active.len() < 2 {
        return None;
    }
    let least = Duration::from_millis(policy.least_millis);
    match policy.after_millis {
        Some(millis) => Some(Duration::from_millis(millis)),
        None => pool.live.slow().map(|slow| slow.max(least)),
    }
}

/// Why a try has no answer.
enum Fault {
    Unreachable(io::Error),
    Unanswered(ExchangeError),
}

type Heading = Result<(Box<Link>, Heard), Fault>;

/// One endpoint's try.
struct Try {
    going: Pin<Box<dyn Future<Output = Heading> + Send>>,
    lease: Lease,
}

impl Try {
    /// The request is in `asked.upstream`.
    fn begin(asked: &Asked, lease: Lease, pool: &Arc<PoolView>, race: &Race<'_>) -> Self {
        let (request, pool) = (asked.upstream.clone(), Arc::clone(pool));
        let going = Box::pin(go(request, Arc::clone(&lease.endpoint), pool, race.whose, race.waits()));
        Self { going, lease }
    }

    fn fails(&mut self, fault: Fault, pool: &PoolView) -> Failure {
        match fault {
            Fault::Unreachable(error) => unreachable(&mut self.lease, pool, &error),
            Fault::Unanswered(error) => failure_for(&error, &mut self.lease, pool, true),
        }
    }
}

/// As `attempt` has it: an idle connection that turns out to be closed is at fault, not its endpoint.
async fn go(
    request: Vec<u8>,
    endpoint: Arc<Endpoint>,
    pool: Arc<PoolView>,
    whose: Whose,
    response: Duration,
) -> Heading {
    let connect = Duration::from_millis(pool.settings.timeouts.connect_millis);
    let mut idle = idle_link(pool.settings.protocol, &endpoint, whose.behalf, true);
    loop {
        let reused = idle.is_some();
        let mut link = match idle.take() {
            Some(link) => link,
            None => {
                let opened = open(&endpoint, whose.behalf, connect).await;
                pool.live.counters.opened(opened.is_ok());
                opened.map_err(Fault::Unreachable)?
            }
        };
        link.begin(&request);
        match alone(&mut link, response).await {
            Ok(heard) => return Ok((link, heard)),
            Err(ExchangeError::NotSent | ExchangeError::Unanswered(_)) if reused => {}
            Err(error) => return Err(Fault::Unanswered(error)),
        }
    }
}

/// What both tries have in common.
pub(super) struct Race<'a> {
    pub(super) asking: attempt::Asker<'a>,
    pub(super) whose: Whose,
    pub(super) plane: &'a Plane,
    /// How long the first endpoint has before a second is asked.
    pub(super) patience: Duration,
    pub(super) routed: &'a Routed,
}

impl Race<'_> {
    fn pool(&self) -> &Arc<PoolView> {
        &self.routed.pool
    }

    fn waits(&self) -> Duration {
        waits(self.pool(), self.plane).response
    }

    /// A second endpoint, if there is one that can take it, and the budget allows.
    fn second(&self, asked: &mut Asked, past: &Past, first: &Endpoint, tally: &mut Tally) -> Option<Try> {
        let (pool, now) = (self.pool(), moment::now());
        let mut tried = past.tried;
        tried.add(first.id);
        let asking = Asking::new(asked, self.asking.client, true);
        let Picked::Chosen(Chosen { lease, .. }) = pick(pool, &asking, &tried, now) else { return None };
        if !pool.live.budget.retry(&pool.settings.retry, now) {
            pool.live.counters.retry_denied();
            lease.void(());
            return None;
        }
        tally.hedged(&lease.endpoint);
        self.asking.write(asked, self.routed, lease.endpoint.address);
        Some(Try::begin(asked, lease, pool, self))
    }
}

/// Asks the endpoint of `lease`, and maybe a second one. `lease` is that of the one that answered, or failed last.
pub(super) async fn run<F: Front>(
    front: &mut F,
    asked: &mut Asked,
    lease: Lease,
    race: Race<'_>,
    past: &mut Past,
    tally: &mut Tally,
) -> (Result<Began, Failure>, Lease) {
    let pool = race.pool();
    let mut first = Try::begin(asked, lease, pool, &race);
    let mut second: Option<Try> = None;
    let (mut was_hedged, mut is_second) = (false, false);
    let wake = tokio::time::sleep(race.patience);
    tokio::pin!(wake);
    let mut looks = tokio::time::interval(LOOK);
    loop {
        let fault = tokio::select! {
            biased;
            heading = &mut first.going => match heading {
                Ok(heading) => {
                    if is_second {
                        tally.hedge_won(pool, &first.lease.endpoint);
                    }
                    return (began(asked, heading, &mut first.lease, pool), first.lease);
                }
                Err(fault) => fault,
            },
            heading = ends(&mut second) => {
                if let Some(mut other) = second.take() {
                    match better(asked, heading, &mut other, pool) {
                        Some(began) => {
                            tally.hedge_won(pool, &other.lease.endpoint);
                            return (Ok(began), other.lease);
                        }
                        None => { past.tried.add(other.lease.endpoint.id); }
                    }
                }
                continue;
            }
            () = &mut wake, if !was_hedged => {
                was_hedged = true;
                second = race.second(asked, past, &first.lease.endpoint, tally);
                continue;
            }
            () = poll_fn(|cx| front.poll_gone(cx)) => return (Err(Failure::ClientGone), first.lease),
            _ = looks.tick() => {
                if !(first.lease.endpoint.is_gone() && pool.has_other(&first.lease.endpoint)) {
                    continue;
                }
                Fault::Unanswered(ExchangeError::Gone)
            }
        };
        let failure = first.fails(fault, pool);
        let Some(other) = second.take() else { return (Err(failure), first.lease) };
        // The other one is the only one now.
        past.tried.add(first.lease.endpoint.id);
        (first, is_second) = (other, true);
    }
}

/// Pending for ever where there is none.
async fn ends(second: &mut Option<Try>) -> Heading {
    match second {
        Some(other) => other.going.as_mut().await,
        None => std::future::pending().await,
    }
}

fn began(
    asked: &mut Asked,
    (link, heard): (Box<Link>, Heard),
    lease: &mut Lease,
    pool: &PoolView,
) -> Result<Began, Failure> {
    match read(asked, &link, heard) {
        Ok(kind) => Ok(Began { link, upload: Upload::done(), heard, kind }),
        Err(error) => Err(failure_for(&error, lease, pool, true)),
    }
}

/// The second one's answer, unless it is one of failure: the first may yet do better.
fn better(asked: &mut Asked, heading: Heading, other: &mut Try, pool: &PoolView) -> Option<Began> {
    let heading = heading.map_err(|fault| other.fails(fault, pool)).ok()?;
    let began = began(asked, heading, &mut other.lease, pool).ok()?;
    let status = asked.response.status;
    if matches!(began.kind, Kind::Proper) && (status >= 500 || status == 429) {
        let answered = Answered { now: moment::now(), status, retry_after: None, whole: false };
        other.lease.answered(pool, answered);
        return None;
    }
    Some(began)
}
