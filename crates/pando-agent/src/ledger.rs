//! What the agent must still know after a crash: its newest assignment, the
//! instances that are leaving, and which tasks it has begun.
//!
//! It is one small JSON file, replaced whole. When to write it is decided in
//! [`crate::reconcile`]; here it is only read and written.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pando_model::assignment::{AssignedInstance, Assignment};
use pando_model::id::{InstanceId, ServerId, TaskId};
use pando_model::time::Timestamp;
use pando_trust::{Kind, SignedBytes, VerifyingKey};
use serde::{Deserialize, Serialize};

/// The shape of the file. A newer one is refused rather than misread.
const SCHEMA: u32 = 1;

/// How many begun tasks are remembered after they left the assignment, so that one that comes back (from a restored
/// store, say) is not started again. The newest are kept.
const TASKS_KEPT: usize = 1000;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    pub schema: u32,
    pub assignment: Assignment,
    /// Instances that were assigned and may still run; how they were assigned says how they are stopped.
    pub leaving: BTreeMap<InstanceId, Arc<AssignedInstance>>,
    /// Every task that was started, or may have been.
    pub tasks: BTreeMap<TaskId, TaskRecord>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskRecord {
    pub started_at: Timestamp,
    /// It ran longer than it may and was, or is being, stopped.
    #[serde(default)]
    pub timed_out: bool,
    /// Why it could not be started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("can't read the ledger `{}`", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error(
        "the ledger `{}` is damaged; move it away to let the control plane assign anew (tasks that were under way count as unknown then)",
        path.display()
    )]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("the ledger `{}` has schema {found}; this program reads schema {SCHEMA}: use the newer program", path.display())]
    Schema { path: PathBuf, found: u32 },
    #[error("the ledger `{}` is of server {found}, and this is {here}", path.display())]
    Server { path: PathBuf, found: ServerId, here: ServerId },
    #[error("can't write the ledger `{}`", path.display())]
    Write { path: PathBuf, source: std::io::Error },
}

impl Ledger {
    #[must_use]
    pub fn empty(server: ServerId) -> Self {
        Self {
            schema: SCHEMA,
            assignment: Assignment::empty(server),
            leaving: BTreeMap::new(),
            tasks: BTreeMap::new(),
        }
    }

    /// Takes a newer assignment: what it no longer has is leaving.
    pub(crate) fn accept(&mut self, assignment: Assignment) {
        let old = std::mem::replace(&mut self.assignment, assignment);
        for (id, instance) in old.instances {
            self.leaving.entry(id).or_insert(instance);
        }
        self.leaving.retain(|id, _| !self.assignment.instances.contains_key(id));
        self.forget_old_tasks();
    }

    fn forget_old_tasks(&mut self) {
        let past: Vec<TaskId> =
            self.tasks.keys().filter(|id| !self.assignment.tasks.contains_key(id)).copied().collect();
        for id in past.iter().take(past.len().saturating_sub(TASKS_KEPT)) {
            self.tasks.remove(id);
        }
    }
}

/// The ledger in `directory`, or an empty one. Blocking.
///
/// # Errors
/// When the file is there and can't be used; nothing is overwritten then.
pub fn load(directory: &Path, server: ServerId) -> Result<Ledger, LedgerError> {
    let path = file(directory);
    let read = pando_rt::fs::read_if_there(&path);
    let Some(bytes) = read.map_err(|source| LedgerError::Read { path: path.clone(), source })? else {
        return Ok(Ledger::empty(server));
    };
    let found = schema_of(&bytes).map_err(|source| LedgerError::Damaged { path: path.clone(), source })?;
    if found != SCHEMA {
        return Err(LedgerError::Schema { path, found });
    }
    let ledger: Ledger = serde_json::from_slice(&bytes)
        .map_err(|source| LedgerError::Damaged { path: path.clone(), source })?;
    if ledger.assignment.server != server {
        return Err(LedgerError::Server { path, found: ledger.assignment.server, here: server });
    }
    Ok(ledger)
}

fn schema_of(bytes: &[u8]) -> Result<u32, serde_json::Error> {
    #[derive(Deserialize)]
    struct Head {
        schema: u32,
    }
    serde_json::from_slice::<Head>(bytes).map(|head| head.schema)
}

/// Writes it so that a crash leaves the old or the new one. Readable by its owner alone: environments hold secrets. Blocking.
///
/// # Errors
/// What the disk answers; the old one is then still there.
pub fn save(directory: &Path, ledger: &Ledger) -> Result<(), LedgerError> {
    let path = file(directory);
    let failed = |source| LedgerError::Write { path: path.clone(), source };
    let bytes = serde_json::to_vec(ledger).map_err(|error| failed(error.into()))?;
    pando_rt::fs::write_atomically(&path, &bytes, 0o600).map_err(failed)
}

/// Keeps the newest assignment as it was signed, beside the ledger. Blocking.
///
/// # Errors
/// What the disk answers.
pub fn keep_signed(directory: &Path, assignment: &SignedBytes) -> Result<(), LedgerError> {
    let path = signed_file(directory);
    let failed = |source| LedgerError::Write { path: path.clone(), source };
    let bytes = serde_json::to_vec(assignment).map_err(|error| failed(error.into()))?;
    pando_rt::fs::write_atomically(&path, &bytes, 0o600).map_err(failed)
}

/// Sets a ledger aside that another cluster signed, or that is of the server that this one was before it joined anew: nothing of
/// it may be run here, nor stand in the way of what is assigned now. One that nobody signed stays. Whether it was. Blocking.
///
/// # Errors
/// What the disk answers; nothing is lost then.
pub fn set_aside_if_foreign(
    directory: &Path,
    server: ServerId,
    key: &VerifyingKey,
) -> Result<bool, LedgerError> {
    let signed = signed_file(directory);
    let read = pando_rt::fs::read_if_there(&signed);
    let read = read.map_err(|source| LedgerError::Read { path: signed.clone(), source })?;
    let Some(bytes) = read.and_then(|bytes| serde_json::from_slice::<SignedBytes>(&bytes).ok()) else {
        return Ok(false);
    };
    let ours = bytes.verify::<Assignment>(key, Kind::Assignment);
    if ours.is_ok_and(|assignment| assignment.server == server) {
        return Ok(false);
    }
    // The ledger first: while its signed form lies there, a start after a crash in between comes here again.
    for path in [file(directory), signed] {
        let mut aside = path.clone().into_os_string();
        aside.push(".foreign");
        match std::fs::rename(&path, &aside) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(LedgerError::Write { path, source });
            }
            _ => {}
        }
    }
    Ok(true)
}

fn signed_file(directory: &Path) -> PathBuf {
    directory.join("assignment.json")
}

fn file(directory: &Path) -> PathBuf {
    directory.join("ledger.json")
}

#[cfg(test)]
mod tests;
