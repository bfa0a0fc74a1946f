//! What a store is made of: one thread's view of the keys, with no clock and no queue.

use std::time::Duration;

use super::{LeaseId, Outcome, Range, Reading, Revision, StoreError, Txn};

/// A transaction's outcome, and the keys that it changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Applied {
    pub(crate) outcome: Outcome,
    pub(crate) keys: Vec<String>,
}

/// Keys and leases. Each call is atomic and durable when it returns. Transactions come checked.
pub(crate) trait Engine: Send + 'static {
    fn read(&mut self, ranges: &[Range]) -> Result<Reading, StoreError>;

    fn txn(&mut self, txn: Txn) -> Result<Applied, StoreError>;

    fn grant(&mut self, ttl: Duration) -> Result<LeaseId, StoreError>;

    /// Forgets the lease and deletes its keys; the revision then, and the keys.
    fn revoke(&mut self, lease: LeaseId) -> Result<(Revision, Vec<String>), StoreError>;

    fn leases(&mut self) -> Result<Vec<(LeaseId, Duration)>, StoreError>;
}
