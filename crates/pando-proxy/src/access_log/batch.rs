//! A thread's lines that were not handed to the writer yet.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::LogHandle;

/// A batch this large goes out at once.
const ENOUGH: usize = 32 << 10;

/// What is smaller waits so long for company.
const WAIT: Duration = Duration::from_millis(100);

thread_local! {
    static BATCH: RefCell<Batch> = RefCell::default();
    static BEGUN: Arc<Notify> = Arc::default();
}

/// Whole lines.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) text: Vec<u8>,
    pub(super) lines: u64,
}

/// Lets `line` add a line to this thread's batch; the batch, if it is full by that.
pub(super) fn add(line: impl FnOnce(&mut Vec<u8>)) -> Option<Batch> {
    BATCH.with_borrow_mut(|batch| {
        if batch.lines == 0 {
            batch.text.reserve(ENOUGH + ENOUGH / 4);
            BEGUN.with(|begun| begun.notify_one());
        }
        line(&mut batch.text);
        batch.lines += 1;
        (batch.text.len() >= ENOUGH).then(|| std::mem::take(batch))
    })
}

/// What there is.
pub(super) fn take() -> Option<Batch> {
    let batch = BATCH.take();
    (batch.lines > 0).then_some(batch)
}

/// Sees to it that this thread's lines don't wait for long. Never ends; cancel-safe.
pub(crate) async fn gather(log: Option<LogHandle>) {
    let Some(log) = log else { return std::future::pending().await };
    let begun = BEGUN.with(Arc::clone);
    loop {
        begun.notified().await;
        tokio::time::sleep(WAIT).await;
        log.flush();
    }
}
