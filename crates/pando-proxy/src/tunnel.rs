//! An upgraded connection: bytes both ways until one side has enough.
//!
//! What is in the bytes is looked at for one purpose. When the endpoint has to go, a
//! WebSocket is told so with a close frame, and that frame may only stand between
//! two others.

pub(crate) mod curfew;
mod frames;
mod pump;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use futures_util::future::try_join;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::balance::moment;
use crate::forward::Tally;
use crate::inbox::Inbox;
use crate::live::Lease;
use crate::plane::Plane;
use crate::stats::counters::Moved;
use crate::time::{Alarm, span, ticks};
use crate::wire::Wire;
use pump::{Direction, Pump};

/// How long both sides have to say goodbye once they were told.
const GOODBYE: Duration = Duration::from_secs(5);

/// The endpoint's side of an agreed upgrade.
#[derive(Debug)]
pub(crate) struct Switched {
    pub(crate) upstream: Wire,
    /// What the endpoint has said already.
    pub(crate) first: Inbox,
    pub(crate) lease: Lease,
    pub(crate) is_websocket: bool,
    /// The longest time without a byte either way.
    pub(crate) idle: Duration,
    /// The longest time that it goes on while its endpoint drains.
    pub(crate) drain: Duration,
}

/// An upgrade whose head is on its way to the client.
#[derive(Debug)]
pub(crate) struct Tunnel {
    switched: Switched,
    tally: Tally,
}

impl Tunnel {
    /// The tunnel that begins after the answer. The request counts as answered here.
    pub(crate) fn agree(switched: Switched, mut tally: Tally) -> Box<Self> {
        tally.count_whole(moment::now());
        Box::new(Self { switched, tally })
    }

    /// Passes bytes until both sides have closed, one breaks, nothing moves for too long, or the endpoint (or the proxy)
    /// has to go.
    pub(crate) async fn run<C>(self, client: C, first: Inbox, plane: &Plane)
    where
        C: AsyncRead + AsyncWrite,
    {
        let Self { switched, mut tally } = self;
        plane.gauges.open_tunnels.fetch_add(1, Relaxed);
        let passed = pass(switched, client, first, plane).await;
        plane.gauges.open_tunnels.fetch_sub(1, Relaxed);
        tally.sent(usize::try_from(passed.down).unwrap_or(usize::MAX));
        tally.received(passed.up);
    }
}

/// Answers how many bytes went each way.
async fn pass<C>(switched: Switched, client: C, first: Inbox, plane: &Plane) -> Moved
where
    C: AsyncRead + AsyncWrite,
{
    let Switched { upstream, first: upstream_first, lease, is_websocket, idle, drain } = switched;
    let moved = AtomicU64::new(ticks());
    let (passed_down, passed_up) = (AtomicU64::new(0), AtomicU64::new(0));
    let goodbye = CancellationToken::new();
    let (from_client, to_client) = tokio::io::split(client);
    let (from_upstream, to_upstream) = tokio::io::split(upstream);
    let down = Pump::new(Direction::ToClient, is_websocket, &moved, &goodbye, &passed_down);
    let up = Pump::new(Direction::ToEndpoint, is_websocket, &moved, &goodbye, &passed_up);
    let both =
        try_join(down.run(from_upstream, to_client, upstream_first), up.run(from_client, to_upstream, first));
    let farewell = async {
        curfew::wait(&lease.endpoint, plane, drain).await;
        if is_websocket {
            goodbye.cancel();
            tokio::time::sleep(GOODBYE).await;
        }
    };
    tokio::select! {
        // Whichever ends first ends the tunnel; dropping the others closes both connections.
        _ = both => {}
        () = farewell => {}
        () = silence(&moved, idle) => {}
    }
    Moved { up: passed_up.load(Relaxed), down: passed_down.load(Relaxed) }
}

async fn silence(moved: &AtomicU64, most: Duration) {
    let mut alarm = Alarm::default();
    std::future::poll_fn(|cx| alarm.poll(cx, moved.load(Relaxed).saturating_add(span(most)))).await;
}
