//! One line for each request, written away from the requests.
//!
//! A request leaves a record in a queue with a bound; when the disk is slower than
//! the traffic, records are dropped and counted, never waited for.

mod format;
mod writer;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use pando_http::{Known, Span, Version};
use pando_routing::PoolId;
use tokio::sync::mpsc;

use crate::asked::Asked;
use crate::client::Client;
use crate::error::ProxyError;
use crate::forward::Id;
use crate::settings::AccessLog;
pub(crate) use writer::Writer;

/// Records that wait to be written.
const QUEUE: usize = 8192;

/// A value in the log is at most this long: what clients send is theirs to choose.
const LONGEST_VALUE: usize = 8 << 10;

/// What is known of a request when it is over.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) at_millis: i64,
    pub(crate) client: IpAddr,
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) version: Version,
    pub(crate) host: String,
    pub(crate) user_agent: String,
    pub(crate) referer: String,
    pub(crate) id: String,
    /// 0: the client gave up before there was an answer.
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    pub(crate) pool: Option<PoolId>,
    pub(crate) endpoint: Option<SocketAddr>,
    pub(crate) retries: u32,
    pub(crate) outcome: Outcome,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Whole,
    /// The endpoint broke off in the middle of the answer.
    Cut,
    /// The client gave up.
    Cancelled,
}

impl Record {
    pub(crate) fn of(asked: &Asked, client: Client, id: &Id, at_millis: i64) -> Self {
        let (head, bytes) = (&asked.head, asked.bytes.bytes());
        let value = |span: Span| span.bytes(bytes);
        let field = |known: Known| head.fields.first(known).map_or(&[][..], |field| value(field.value));
        Self {
            at_millis,
            client: client.address.ip().to_canonical(),
            method: text(value(head.method_text)),
            target: text(value(head.target)),
            version: head.version,
            host: text(value(head.host)),
            user_agent: text(field(Known::UserAgent)),
            referer: text(field(Known::Referer)),
            id: text(id.text(bytes)),
            status: 0,
            bytes: 0,
            took: Duration::ZERO,
            pool: None,
            endpoint: None,
            retries: 0,
            outcome: Outcome::Cancelled,
        }
    }
}

fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(&value[..value.len().min(LONGEST_VALUE)]).into_owned()
}

/// The requests' side of the log. Clones write to the same.
#[derive(Debug, Clone)]
pub(crate) struct LogHandle {
    queue: mpsc::Sender<Box<Record>>,
    dropped: Arc<AtomicU64>,
}

impl LogHandle {
    /// Queues a record, or drops it when the queue is full.
    pub(crate) fn write(&self, record: Box<Record>) {
        if self.queue.try_send(record).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
    }

    /// How many records were dropped since the start.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }
}

/// Opens the log; the writer must be run.
///
/// # Errors
/// The file can't be opened.
pub(crate) fn open(settings: &AccessLog) -> Result<(LogHandle, Writer), ProxyError> {
    let (queue, records) = mpsc::channel(QUEUE);
    let writer = Writer::open(settings, records)?;
    Ok((LogHandle { queue, dropped: Arc::default() }, writer))
}
