//! Requests that are held until their pause is over, or a table comes in which they may go on, in the order of their coming.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use pando_routing::rule::access::Pause;

use super::route::Route;
use crate::asked::Asked;
use crate::client::Client;
use crate::forward::{Found, Page, look_up};
use crate::front::Front;
use crate::plane::Plane;

/// How a wait ended.
pub(super) enum Held {
    /// What the newest table says of the request.
    Released(Result<Found, Page>),
    /// It waited for too long, or too many did already.
    Over,
    Gone,
}

/// Holds a request that `route` pauses.
pub(super) async fn hold<F: Front>(
    front: &mut F,
    route: &Arc<Route>,
    pause: &Pause,
    asked: &Asked,
    client: &Client,
    plane: &Plane,
) -> Held {
    let live = Arc::clone(&route.live);
    let Some(place) = live.held.enter(pause.most) else { return Held::Over };
    let patience = Duration::from_millis(pause.hold_millis);
    let released = async {
        place.turn().await;
        while let Some(newest) = paused(plane, asked, client) {
            let left = newest.left(plane.clock.now_millis()).flatten().unwrap_or(patience).min(patience);
            let is_other = || paused(plane, asked, client).as_ref() != Some(&newest);
            plane.sequence.wait_until(is_other, left).await;
        }
    };
    let listens = front.is_body_over();
    tokio::select! {
        biased;
        () = released => {}
        () = tokio::time::sleep(patience) => {}
        // No table comes any more; whoever asks again may find one.
        () = plane.stop().wait() => {}
        () = poll_fn(|cx| front.poll_gone(cx)), if listens => return Held::Gone,
    }
    match look_up(plane, asked, client) {
        Ok(Found::Ruled(route, _)) if route.paused(plane.clock.now_millis()).is_some() => Held::Over,
        found => Held::Released(found),
    }
}

/// What the newest table holds the request by, now.
fn paused(plane: &Plane, asked: &Asked, client: &Client) -> Option<Pause> {
    match look_up(plane, asked, client) {
        Ok(Found::Ruled(route, _)) => route.paused(plane.clock.now_millis()).cloned(),
        _ => None,
    }
}
