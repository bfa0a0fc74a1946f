//! Everything that must survive: revisioned keys with compare-and-swap, watches and leases.
//!
//! It is etcd's model on purpose. [`sqlite`] is the embedded default, [`memory`]
//! serves tests and simulations; both pass the same contract suite. What the
//! keys are and mean is in [`keys`]; statistics never come here.

mod engine;
mod hub;
pub mod keys;
mod leases;
pub mod memory;
mod served;
pub mod sqlite;
mod txn;
pub mod value;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

pub use hub::Watch;
pub use keys::Key;
pub use served::ServedStore;
pub use txn::{Expect, Guard, MAX_KEY, MAX_OPS, MAX_VALUE, Op, Outcome, Txn};

/// Rises by one with each transaction that changes something; 0 is the empty store.
pub type Revision = u64;

/// Keys that were put with a lease are deleted when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(pub u64);

impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A key and its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub key: String,
    pub value: Bytes,
    /// The revision that made the key; a key deleted and put again is a new one.
    pub created: Revision,
    /// The revision that last put it.
    pub modified: Revision,
    pub lease: Option<LeaseId>,
}

/// Which keys to read: those from `start` up to and without `end`, in byte order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range {
    pub start: String,
    pub end: String,
    /// Only keys that were last put after this revision.
    pub after: Revision,
    pub limit: Option<usize>,
    /// The highest keys, highest first.
    pub descending: bool,
}

impl Range {
    /// One key.
    #[must_use]
    pub fn key(key: impl fmt::Display) -> Self {
        let start = key.to_string();
        let end = format!("{start}\0");
        Self { start, end, after: 0, limit: None, descending: false }
    }

    /// Every key that begins with `prefix`, which is ASCII and not empty.
    #[must_use]
    pub fn prefix(prefix: impl Into<String>) -> Self {
        let start = prefix.into();
        let end = format!("{start}\u{10ffff}");
        Self { start, end, after: 0, limit: None, descending: false }
    }

    #[must_use]
    pub fn after(mut self, revision: Revision) -> Self {
        self.after = revision;
        self
    }

    #[must_use]
    pub fn limit(mut self, limit: usize) -> Self {
        self.limit = Some(limit);
        self
    }

    #[must_use]
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }
}

/// What several ranges held at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reading {
    pub revision: Revision,
    /// One for each range, in the order that was asked.
    pub ranges: Vec<Vec<Entry>>,
}

/// The store. Every call ends within [`DEADLINE`], with an error if need be.
pub trait Store: Send + Sync + fmt::Debug {
    /// Reads all ranges at one revision, which is the newest when the call was made, or newer.
    fn read(&self, ranges: Vec<Range>) -> BoxFuture<'_, Result<Reading, StoreError>>;

    /// Does every operation or none: when a guard does not hold, nothing changes. Once it is committed it survives a crash of
    /// the machine.
    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<Outcome, StoreError>>;

    /// Tells of changes to keys that begin with `prefix` and were made after `from`. A hint: it may speak when nothing changed,
    /// and speaks once for many changes. Read again; and now and then without a hint.
    fn watch(&self, prefix: &str, from: Revision) -> Watch;

    /// A new lease. It ends `ttl` after it was granted or last kept alive; after a restart of the store, `ttl` after that.
    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, StoreError>>;

    /// # Errors
    /// [`StoreError::NoLease`] when it ended: its keys are gone.
    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Ends the lease and deletes its keys. Repeating it does nothing.
    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// One key.
    fn get(&self, key: &Key) -> BoxFuture<'_, Result<Option<Entry>, StoreError>> {
        let listed = self.list(Range::key(key));
        Box::pin(async move { Ok(listed.await?.1.pop()) })
    }

    /// One range, and the revision that it was read at.
    fn list(&self, range: Range) -> BoxFuture<'_, Result<(Revision, Vec<Entry>), StoreError>> {
        let read = self.read(vec![range]);
        Box::pin(async move {
            let mut reading = read.await?;
            Ok((reading.revision, reading.ranges.pop().unwrap_or_default()))
        })
    }
}

/// How long a call to the store may take, waiting for its turn included. A transaction takes a few milliseconds; a disk that
/// takes so long has failed.
pub const DEADLINE: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the disk with the store `{}` is full: nothing was changed; make room", path.display())]
    Full { path: PathBuf },
    #[error(
        "the store `{}` is damaged ({what}): move it away and restore the last backup, or begin anew without it",
        path.display()
    )]
    Damaged { path: PathBuf, what: String },
    #[error("the store `{}` was written by a later version of pando (schema {found}; this one knows {known})", path.display())]
    Later { path: PathBuf, found: i64, known: i64 },
    #[error("the store `{}` is in use by another process; stop that first", path.display())]
    InUse { path: PathBuf },
    #[error("can't open the store `{}`", path.display())]
    Open { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the store failed while {doing}")]
    Failed { doing: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    /// The disk failed in the middle of a write. What the file holds is only known after it was opened again.
    #[error("the store takes no writes since its disk failed ({why}): mend the disk, then restart pando")]
    Broken { why: String },
    #[error("the store did not answer within {} s; whether it did what it was asked is not known", DEADLINE.as_secs())]
    TimedOut,
    #[error("the store is closed")]
    Closed,
    #[error("there is no lease {0}, or it has ended")]
    NoLease(LeaseId),
    #[error("the store was asked for something impossible: {0}")]
    Invalid(String),
    #[error("the value of `{key}` in the store can't be read")]
    Value { key: String, source: serde_json::Error },
    #[error("the value of `{key}` in the store was written by a later version of pando (schema {schema})")]
    LaterValue { key: String, schema: u32 },
}
