//! One line for each request, written away from the requests.
//!
//! A line's first half is known when the request is read, the rest when it is over. Whole lines gather in a buffer of the thread
//! and go to the writer in batches, through a queue with a bound; when the disk is slower than the traffic, lines are dropped
//! and counted, never waited for.

mod batch;
mod line;
mod template;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::mpsc;

use crate::error::ProxyError;
use crate::settings::{AccessLog, LogFormat};
use batch::Batch;
pub(crate) use batch::gather;
pub(crate) use line::{Begun, Ended, Outcome};
pub(crate) use template::likest;
pub use template::{BadLogFormat, Template};
pub(crate) use writer::Writer;

/// Batches that wait to be written.
const QUEUE: usize = 64;

/// The requests' side of the log. Clones write to the same.
#[derive(Debug, Clone)]
pub(crate) struct LogHandle {
    pub(crate) format: LogFormat,
    queue: mpsc::Sender<Batch>,
    dropped: Arc<AtomicU64>,
}

impl LogHandle {
    /// Adds a line to this thread's batch.
    pub(crate) fn write(&self, begun: &Begun, ended: &Ended<'_>) {
        if let Some(full) = batch::add(|out| line::whole(&self.format, begun, ended, out)) {
            self.send(full);
        }
    }

    /// Hands this thread's batch to the writer.
    pub(crate) fn flush(&self) {
        if let Some(batch) = batch::take() {
            self.send(batch);
        }
    }

    fn send(&self, batch: Batch) {
        let lines = batch.lines;
        if self.queue.try_send(batch).is_err() {
            self.dropped.fetch_add(lines, Relaxed);
        }
    }

    /// How many lines were dropped since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

/// Opens the log; the writer must be run.
///
/// # Errors
/// The file can't be opened.
pub(crate) fn open(settings: &AccessLog) -> Result<(LogHandle, Writer), ProxyError> {
    let (queue, batches) = mpsc::channel(QUEUE);
    let dropped = Arc::default();
    let writer = Writer::open(settings, batches, Arc::clone(&dropped))?;
    Ok((LogHandle { format: settings.format.clone(), queue, dropped }, writer))
}
