//! Copies of requests for another pool. They go out beside the original, which knows nothing of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

use pando_routing::rule::limits::Mirror;

use super::asking::{Question, ask};
use super::live::RouteLive;
use crate::balance::moment;
use crate::client::Client;
use crate::plane::Plane;
use crate::snapshot::PoolView;

/// How long one may take. It ends with the proxy, too.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether this request is one of those that are copied.
pub(super) fn is_drawn(mirror: &Mirror) -> bool {
    pando_routing::balance::random::share_of(moment::random(), 100) < u64::from(mirror.percent)
}

/// A copy that is under way.
struct Place(Arc<RouteLive>);

impl Place {
    fn take(live: &Arc<RouteLive>, most: u32) -> Option<Self> {
        let place = Self(Arc::clone(live));
        (live.copies.fetch_add(1, SeqCst) < most).then_some(place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.copies.fetch_sub(1, SeqCst);
    }
}

/// How many are under way.
pub(super) type Count = AtomicU32;

/// Sends it off, if there is room.
pub(super) fn send(
    live: &Arc<RouteLive>,
    mirror: &Mirror,
    pool: &Arc<PoolView>,
    (head, body): (Vec<u8>, Vec<u8>),
    client: &Client,
    plane: &Arc<Plane>,
) {
    let Some(place) = Place::take(live, mirror.max_in_flight) else { return live.not_copied() };
    live.copied();
    let (pool, client, shared) = (Arc::clone(pool), client.clone(), Arc::clone(plane));
    plane.copies.spawn_until_shutdown(async move {
        let question =
            Question { pool, head, body, complete: true, most: None, patience: PATIENCE, client: &client };
        // What it says is nobody's business; what it does, the pool's figures tell.
        let _ = ask(question, &shared).await;
        drop(place);
    });
}
