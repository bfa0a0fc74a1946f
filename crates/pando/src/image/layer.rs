//! One layer on its way: packed while it is sent, and gone on with where it broke off.

use std::io::BufReader;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::Stream;
use pando_api::ErrorCode;
use pando_api::client::{Client, ClientError};
use pando_api::v1::images::LayerState;
use pando_image::archive::Spooled;
use pando_image::frames::{LEVEL, Packer};
use pando_image::image::Layer;
use pando_rt::backoff::Backoff;
use pando_rt::error_chain::error_chain;
use tokio::sync::mpsc;

use super::board::Board;

/// Frames that are packed ahead of the line.
const AHEAD: usize = 4;

const TRY_AGAIN: Backoff = Backoff { first: Duration::from_millis(200), most: Duration::from_secs(5) };

/// How long the layer may make no way at all before it is given up.
const PATIENCE: Duration = Duration::from_secs(150);

/// Returns when the cluster has it, whoever sent it.
pub(super) async fn send(client: &Client, spooled: Spooled, board: Arc<Board>) -> Result<Layer, ClientError> {
    let spooled = Arc::new(spooled);
    let (mut tries, mut furthest, mut patience) = (0, 0, Patience::default());
    loop {
        let began = Instant::now();
        let (error, moved) = match attempt(client, &spooled, &board, &mut furthest).await {
            Ok(layer) => {
                board.finish(&spooled.diff_id);
                return Ok(layer);
            }
            Err(failed) => failed,
        };
        tries = if moved { 0 } else { tries + 1 };
        if !may_pass(&error) || patience.ends(moved, began, Instant::now()) {
            return Err(error);
        }
        board.broke(&spooled.diff_id, &error_chain(&error));
        tokio::time::sleep(TRY_AGAIN.nth(tries)).await;
    }
}

/// Since when the layer makes no way.
#[derive(Debug, Default)]
struct Patience {
    stuck_since: Option<Instant>,
}

impl Patience {
    /// An attempt that began then failed now; `moved`: those before it brought the layer further. One that stands still is given up
    /// in less than half of [`PATIENCE`], so one that lasted longer has moved, too.
    fn ends(&mut self, moved: bool, began: Instant, now: Instant) -> bool {
        if moved || now.duration_since(began) > PATIENCE / 2 {
            self.stuck_since = None;
        }
        now.duration_since(*self.stuck_since.get_or_insert(now)) > PATIENCE
    }
}

/// Goes on where the cluster says; with an error, whether it came further than ever before.
async fn attempt(
    client: &Client,
    spooled: &Arc<Spooled>,
    board: &Arc<Board>,
    furthest: &mut u64,
) -> Result<Layer, (ClientError, bool)> {
    let from = match client.layer(&spooled.diff_id).await {
        Ok(LayerState::Here(layer)) => return Ok(layer),
        Ok(LayerState::Part { bytes }) => bytes.min(spooled.bytes),
        Err(error) => return Err((error, false)),
    };
    let moved = from > *furthest;
    *furthest = from.max(*furthest);
    board.begin(&spooled.diff_id, from, spooled.bytes);
    let frames = frames(Arc::clone(spooled), from, Arc::clone(board));
    let sent = client.put_layer(&spooled.diff_id, from, frames, Arc::clone(&board.sent)).await;
    sent.map_err(|error| (error, moved))
}

/// The control plane was away, or somebody else sends the layer just now, or the end of an upload before this was not noticed yet.
fn may_pass(error: &ClientError) -> bool {
    let passing = [ErrorCode::Busy, ErrorCode::Conflict, ErrorCode::Unavailable];
    error.is_absence() || error.code().is_some_and(|code| passing.contains(&code))
}

/// Packs on a thread of its own, as far ahead as somebody takes it.
fn frames(spooled: Arc<Spooled>, from: u64, board: Arc<Board>) -> impl Stream<Item = std::io::Result<Bytes>> {
    let (sender, mut frames) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = pack(&spooled, from, &sender, |by| board.moved(&spooled.diff_id, by)) {
            // The request breaks with it; nobody listens when it has broken already.
            let _ = sender.blocking_send(Err(error));
        }
    });
    futures_util::stream::poll_fn(move |context| frames.poll_recv(context))
}

fn pack(
    spooled: &Spooled,
    from: u64,
    sender: &mpsc::Sender<std::io::Result<Bytes>>,
    moved: impl Fn(u64),
) -> std::io::Result<()> {
    let file = spooled.open(from)?;
    let mut packer = Packer::new(BufReader::with_capacity(256 * 1024, file), LEVEL)?;
    while let Some((frame, raw)) = packer.frame()? {
        if sender.blocking_send(Ok(Bytes::copy_from_slice(frame))).is_err() {
            return Ok(());
        }
        moved(raw as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_layer_that_makes_no_way_is_given_up() {
        let start = Instant::now();
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut patience = Patience::default();
        for (moved, began, now, ends) in [
            (false, 0, 1, false),
            (false, 2, 100, false),
            // That one lasted: it has moved.
            (false, 101, 1000, false),
            (false, 1001, 1002, false),
            (false, 1140, 1149, false),
            (false, 1149, 1151, true),
            (true, 1151, 1152, false),
            (false, 1300, 1301, false),
            (false, 1302, 1303, true),
        ] {
            assert_eq!(patience.ends(moved, at(began), at(now)), ends, "{began} to {now}");
        }
    }
}
