//! A store that is gone with its process: for tests and simulations.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::engine::{Applied, Engine};
use super::hub::{Hub, Watch};
use super::served::ServedStore;
use super::{Entry, LeaseId, Op, Outcome, Range, Reading, Revision, Store, StoreError, Txn};

/// An empty store.
///
/// # Errors
/// When the machine refuses it a thread.
pub fn open() -> Result<ServedStore, StoreError> {
    ServedStore::start(Memory::default(), None::<Memory>)
}

/// An empty store without threads and without a clock, for simulations in virtual time: each call is carried out when its
/// future is made, and the future is ready. Leases are known, and never end by themselves.
#[derive(Debug, Default)]
pub struct Local {
    memory: Mutex<Memory>,
    hub: Hub,
}

impl Local {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Every call leaves the memory whole, so a panic elsewhere leaves nothing half done.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        self.hub.close();
    }
}

impl Store for Local {
    fn read(&self, ranges: Vec<Range>) -> BoxFuture<'_, Result<Reading, StoreError>> {
        ready(self.memory().read(&ranges)).boxed()
    }

    fn txn(&self, txn: Txn) -> BoxFuture<'_, Result<Outcome, StoreError>> {
        let applied = txn.check().and_then(|()| self.memory().txn(txn));
        let outcome = applied.map(|applied| {
            if let Outcome::Committed(revision) = applied.outcome
                && !applied.keys.is_empty()
            {
                self.hub.tell(revision, &applied.keys);
            }
            applied.outcome
        });
        ready(outcome).boxed()
    }

    fn watch(&self, prefix: &str, from: Revision) -> Watch {
        self.hub.watch(prefix, from)
    }

    fn grant(&self, ttl: Duration) -> BoxFuture<'_, Result<LeaseId, StoreError>> {
        ready(self.memory().grant(ttl)).boxed()
    }

    fn keep_alive(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        let held = self.memory().leases.contains_key(&lease);
        ready(if held { Ok(()) } else { Err(StoreError::NoLease(lease)) }).boxed()
    }

    fn revoke(&self, lease: LeaseId) -> BoxFuture<'_, Result<(), StoreError>> {
        let revoked = self.memory().revoke(lease);
        if let Ok((revision, keys)) = &revoked
            && !keys.is_empty()
        {
            self.hub.tell(*revision, keys);
        }
        ready(revoked.map(|_| ())).boxed()
    }
}

#[derive(Debug, Default)]
struct Memory {
    revision: Revision,
    entries: BTreeMap<String, Entry>,
    leases: BTreeMap<LeaseId, Duration>,
    granted: u64,
}

impl Memory {
    fn remove_keys(&mut self, keys: &[String]) {
        if keys.is_empty() {
            return;
        }
        self.revision += 1;
        for key in keys {
            self.entries.remove(key);
        }
    }

    fn put(&mut self, revision: Revision, op: Op) {
        match op {
            Op::Put { key, value, lease } => {
                let created = self.entries.get(&key).map_or(revision, |entry| entry.created);
                let entry = Entry { key: key.clone(), value, created, modified: revision, lease };
                self.entries.insert(key, entry);
            }
            Op::Delete { key } => {
                self.entries.remove(&key);
            }
        }
    }

    fn check_leases(&self, txn: &Txn) -> Result<(), StoreError> {
        for op in &txn.ops {
            if let Op::Put { lease: Some(lease), .. } = op
                && !self.leases.contains_key(lease)
            {
                return Err(StoreError::NoLease(*lease));
            }
        }
        Ok(())
    }
}

impl Engine for Memory {
    fn read(&mut self, ranges: &[Range]) -> Result<Reading, StoreError> {
        let read = |range: &Range| -> Vec<Entry> {
            if range.start >= range.end {
                return Vec::new();
            }
            let found = self.entries.range(range.start.clone()..range.end.clone());
            let newer = found.map(|(_, entry)| entry).filter(|entry| entry.modified > range.after);
            let limit = range.limit.unwrap_or(usize::MAX);
            if range.descending {
                newer.rev().take(limit).cloned().collect()
            } else {
                newer.take(limit).cloned().collect()
            }
        };
        Ok(Reading { revision: self.revision, ranges: ranges.iter().map(read).collect() })
    }

    fn txn(&mut self, txn: Txn) -> Result<Applied, StoreError> {
        let modified = |key: &str| self.entries.get(key).map(|entry| entry.modified);
        if !txn.guards.iter().all(|guard| guard.expect.holds(modified(&guard.key))) {
            return Ok(Applied { outcome: Outcome::Conflict, keys: Vec::new() });
        }
        self.check_leases(&txn)?;
        let changes = |op: &Op| matches!(op, Op::Put { .. }) || self.entries.contains_key(op.key());
        let ops: Vec<Op> = txn.ops.into_iter().filter(changes).collect();
        let keys: Vec<String> = ops.iter().map(|op| op.key().to_owned()).collect();
        if !ops.is_empty() {
            self.revision += 1;
        }
        for op in ops {
            self.put(self.revision, op);
        }
        Ok(Applied { outcome: Outcome::Committed(self.revision), keys })
    }

    fn grant(&mut self, ttl: Duration) -> Result<LeaseId, StoreError> {
        self.granted += 1;
        let id = LeaseId(self.granted);
        self.leases.insert(id, ttl);
        Ok(id)
    }

    fn revoke(&mut self, lease: LeaseId) -> Result<(Revision, Vec<String>), StoreError> {
        self.leases.remove(&lease);
        let held = self.entries.values().filter(|entry| entry.lease == Some(lease));
        let keys: Vec<String> = held.map(|entry| entry.key.clone()).collect();
        self.remove_keys(&keys);
        Ok((self.revision, keys))
    }

    fn leases(&mut self) -> Result<Vec<(LeaseId, Duration)>, StoreError> {
        Ok(self.leases.iter().map(|(id, ttl)| (*id, *ttl)).collect())
    }
}
