//! The exporter: takes spans out of the queue in batches and brings them to their receiver, away from the requests.
//!
//! A batch goes out when it is whole, or when its first span has waited. What does not get through is tried again with growing
//! waits, then dropped and counted; meanwhile the queue fills up to its bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use pando_rt::shutdown::Shutdown;

use super::otlp::{self, Calendar, Resource};
use super::patience::{Next, Patience, Tried};
use super::post::Post;
use super::queue::{Loss, Queue};
use crate::balance::moment;
use crate::error::ProxyError;
use crate::settings::Otlp;

/// What is left when the proxy ends has so long.
const LAST: Duration = Duration::from_secs(3);

/// Takes spans out of the queue until told to end.
#[derive(Debug)]
pub(crate) struct Exporter {
    queue: Arc<Queue>,
    post: Post,
    resource: Resource,
    delay: Duration,
    timeout: Duration,
    backoff: Duration,
    /// Spans that are neither in the queue nor settled.
    in_hand: AtomicUsize,
}

impl Exporter {
    /// # Errors
    /// The receiver's address is none, or there is nobody to trust for TLS.
    pub(super) fn new(settings: &Otlp, queue: Arc<Queue>, instance: &str) -> Result<Self, ProxyError> {
        Ok(Self {
            queue,
            post: Post::new(settings)?,
            resource: otlp::resource(&settings.service_name, instance),
            delay: settings.delay,
            timeout: settings.timeout,
            backoff: settings.backoff,
            in_hand: AtomicUsize::new(0),
        })
    }

    /// Ends when `stop` begins, and everything queued by then was tried once, or 3 s are over.
    pub(crate) async fn run(self, stop: Shutdown) {
        let last = async {
            stop.wait().await;
            tokio::time::sleep(LAST).await;
        };
        tokio::select! {
            () = last => {}
            () = self.work(&stop) => {}
        }
        let mut left = self.in_hand.load(Relaxed);
        loop {
            match self.queue.take().len() {
                0 => break,
                count => left += count,
            }
        }
        self.queue.counts.lost(left, Loss::Shutdown);
    }

    async fn work(&self, stop: &Shutdown) {
        let mut well = true;
        loop {
            tokio::select! {
                () = tokio::time::sleep(self.delay) => {}
                () = self.queue.enough() => {}
                () = stop.wait() => {}
            }
            let ending = stop.has_begun();
            loop {
                let spans = self.queue.take();
                if spans.is_empty() {
                    break;
                }
                self.in_hand.store(spans.len(), Relaxed);
                let calendar = Calendar { moment: moment::now(), unix_nanos: otlp::since_1970() };
                let batch = otlp::encode(&spans, &self.resource, calendar);
                let got_through = self.deliver(spans.len(), batch.into(), stop).await;
                self.in_hand.store(0, Relaxed);
                tell(&mut well, got_through);
            }
            if ending {
                return;
            }
        }
    }

    /// False: the batch was lost.
    async fn deliver(&self, spans: usize, batch: Bytes, stop: &Shutdown) -> bool {
        let mut patience = Patience::new(self.backoff);
        let counts = &self.queue.counts;
        loop {
            let tried = tokio::time::timeout(self.timeout, self.post.bring(batch.clone())).await;
            let tried = tried.unwrap_or(Tried::Later(None));
            if !matches!(tried, Tried::Taken { .. }) {
                counts.failed();
            }
            #[allow(clippy::cast_precision_loss, reason = "a chance need not be exact")]
            let chance = moment::random() as f64 / u64::MAX as f64;
            let wait = match patience.after(tried, chance) {
                Next::Done { refused } => {
                    let refused = refused.min(spans);
                    counts.exported(spans - refused);
                    counts.lost(refused, Loss::Refused);
                    return true;
                }
                Next::Drop => {
                    counts.lost(spans, Loss::Refused);
                    return false;
                }
                Next::GiveUp => {
                    counts.lost(spans, Loss::Unreachable);
                    return false;
                }
                Next::Wait(wait) => wait,
            };
            if stop.has_begun() {
                counts.lost(spans, Loss::Shutdown);
                return false;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                // Once more at once, and no more.
                () = stop.wait() => {}
            }
        }
    }
}

/// Says when spans are lost for the first time, and when they are taken again.
fn tell(well: &mut bool, got_through: bool) {
    match (*well, got_through) {
        (true, false) => tracing::warn!("spans are lost: their receiver can't be reached, or refuses them"),
        (false, true) => tracing::info!("spans are taken again"),
        _ => {}
    }
    *well = got_through;
}
