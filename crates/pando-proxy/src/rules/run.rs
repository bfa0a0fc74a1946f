//! A request's way through a rule that does something to it.

use std::sync::Arc;

use pando_routing::rule::access::Pause;

use super::case::Case;
use super::change::Change;
use super::entry;
use super::pause::{self, Held};
use super::route::Route;
use super::shown::Shown;
use crate::asked::Asked;
use crate::client::Client;
use crate::forward::{self, End, Found, Id, Routed, Tally};
use crate::front::Front;
use crate::plane::Plane;
use crate::upstream::drop_claims;

/// Where a request stands once nothing holds it any more.
enum Free {
    Ruled(Arc<Route>, usize),
    /// The newest rule for it does nothing.
    Plain(Routed),
    /// It was held for too long.
    Late(Arc<Route>, usize),
    /// Nothing is for it any more.
    Lost(forward::Page),
    Gone,
}

/// Answers a request as its rule would have it.
pub(crate) async fn run<F: Front>(
    front: &mut F,
    mut asked: Asked,
    (route, strip): (Arc<Route>, usize),
    client: &Client,
    id: &Id,
    plane: &Arc<Plane>,
    mut tally: Tally,
) -> End {
    tally.for_route(&route.live);
    let (route, strip, late) = match set_free(front, (route, strip), &asked, client, plane).await {
        Free::Ruled(route, strip) => (route, strip, false),
        Free::Late(route, strip) => (route, strip, true),
        Free::Plain(routed) => return go_on(front, asked, routed, client, id, plane, tally).await,
        Free::Lost(page) => {
            return forward::refuse(front, page.into(), &asked, client, id, tally, plane).await;
        }
        Free::Gone => return End::Cut,
    };
    tally.for_route(&route.live);
    let case = Case { route, strip, client, id, plane };
    case.settle(front, &mut asked, late, tally).await
}

/// Waits while the rule, or the one of the newest table, pauses.
async fn set_free<F: Front>(
    front: &mut F,
    (mut route, mut strip): (Arc<Route>, usize),
    asked: &Asked,
    client: &Client,
    plane: &Plane,
) -> Free {
    loop {
        let shown = Shown { paper: asked, client };
        let pause = route.filters.pause.clone();
        let holds = |pause: &Pause| pause.left(plane.clock.now_millis()).is_some();
        let Some(pause) = pause.filter(|pause| holds(pause) && entry::maintenance(&route, shown).is_ok())
        else {
            return Free::Ruled(route, strip);
        };
        match pause::hold(front, &route, &pause, asked, client, plane).await {
            Held::Released(Ok(Found::Ruled(newest, taken))) => (route, strip) = (newest, taken),
            Held::Released(Ok(Found::Plain(routed))) => return Free::Plain(routed),
            Held::Released(Err(page)) => return Free::Lost(page),
            Held::Over => return Free::Late(route, strip),
            Held::Gone => return Free::Gone,
        }
    }
}

/// As if no rule had ever been there.
async fn go_on<F: Front>(
    front: &mut F,
    mut asked: Asked,
    routed: Routed,
    client: &Client,
    id: &Id,
    plane: &Arc<Plane>,
    tally: Tally,
) -> End {
    drop_claims(&mut asked);
    // Time has passed, which is told by this.
    let routed = Routed { change: Some(Arc::new(Change::of_ours(false))), ..routed };
    match forward::carry(front, &mut asked, routed, client, id, plane, tally).await {
        Ok(end) => end,
        Err((page, tally)) => forward::refuse(front, page.into(), &asked, client, id, tally, plane).await,
    }
}
