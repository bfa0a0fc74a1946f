//! Transactions: guards that must all hold, and operations done together.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use serde::Serialize;

use super::{LeaseId, Revision, StoreError, value};

/// The longest key in bytes.
pub const MAX_KEY: usize = 512;
/// The longest value in bytes. The largest is the assignment of a server with hundreds of replicas, each with its environment.
pub const MAX_VALUE: usize = 8 * 1024 * 1024;
/// The most operations of one transaction.
pub const MAX_OPS: usize = 4096;

/// A condition on one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Guard {
    pub key: String,
    pub expect: Expect,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    Exists,
    Absent,
    /// It exists and was last put at this revision.
    Modified(Revision),
}

impl Expect {
    /// Whether it holds for a key that was last put at `modified`, or does not exist.
    #[must_use]
    pub fn holds(self, modified: Option<Revision>) -> bool {
        match self {
            Self::Exists => modified.is_some(),
            Self::Absent => modified.is_none(),
            Self::Modified(revision) => modified == Some(revision),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Put {
        key: String,
        value: Bytes,
        lease: Option<LeaseId>,
    },
    /// Of a key that may be absent.
    Delete {
        key: String,
    },
}

impl Op {
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Put { key, .. } | Self::Delete { key } => key,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done; the store's revision then.
    Committed(Revision),
    /// A guard did not hold; nothing was done.
    Conflict,
}

/// A transaction being put together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Txn {
    pub guards: Vec<Guard>,
    pub ops: Vec<Op>,
}

impl Txn {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    #[must_use]
    pub fn guard(mut self, key: impl fmt::Display, expect: Expect) -> Self {
        self.guards.push(Guard { key: key.to_string(), expect });
        self
    }

    /// The key is as it was when it was read: at this revision, or absent.
    #[must_use]
    pub fn unchanged(self, key: impl fmt::Display, modified: Option<Revision>) -> Self {
        self.guard(key, modified.map_or(Expect::Absent, Expect::Modified))
    }

    /// Puts a value as JSON with its schema number.
    ///
    /// # Errors
    /// When the value has no form in JSON.
    pub fn put(self, key: impl fmt::Display, value: &impl Serialize) -> Result<Self, StoreError> {
        let key = key.to_string();
        let value = value::encode(&key, value)?;
        Ok(self.op(Op::Put { key, value, lease: None }))
    }

    #[must_use]
    pub fn delete(self, key: impl fmt::Display) -> Self {
        self.op(Op::Delete { key: key.to_string() })
    }

    #[must_use]
    pub fn op(mut self, op: Op) -> Self {
        self.ops.push(op);
        self
    }

    #[must_use]
    pub fn ops(mut self, ops: impl IntoIterator<Item = Op>) -> Self {
        self.ops.extend(ops);
        self
    }

    /// Nothing in it is too long, and no key is put or deleted twice (what would win?).
    pub(crate) fn check(&self) -> Result<(), StoreError> {
        if self.ops.len() > MAX_OPS {
            return Err(StoreError::Invalid(format!("{} operations at once", self.ops.len())));
        }
        let mut seen = BTreeSet::new();
        for op in &self.ops {
            check_key(op.key())?;
            if !seen.insert(op.key()) {
                return Err(StoreError::Invalid(format!("`{}` twice in a transaction", op.key())));
            }
            if let Op::Put { key, value, .. } = op
                && value.len() > MAX_VALUE
            {
                let length = value.len();
                return Err(StoreError::Invalid(format!("a value of {length} bytes for `{key}`")));
            }
        }
        Ok(())
    }
}

fn check_key(key: &str) -> Result<(), StoreError> {
    let printable = key.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    if key.is_empty() || key.len() > MAX_KEY || !printable {
        return Err(StoreError::Invalid(format!("{key:?} as a key")));
    }
    Ok(())
}
