//! What this program keeps of a container on disk, in `STATE_DIR/containers/ID.ATTEMPT/`. What the engine knows is asked of it.
//!
//! | file | holds |
//! |---|---|
//! | `spec.json` (0600: environments hold secrets) | [`Record`], synced before the container is made |
//! | `stop.json` | when a stop was asked for, and what became of it |
//! | `log.json` | how far its output is stored |
//! | `exit.json` | how it ended |
//! | `undo` | its start failed, and the engine could not be asked to undo it |

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use pando_model::observed::ExitReport;
use pando_model::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::position::Position;
use crate::dir::{RunDir, read_json, write_json};
use crate::run::{Held, RunSpec};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) spec: RunSpec,
    /// Of the container.
    pub(super) container: String,
    /// Nothing of its output is older.
    pub(super) created_at: Timestamp,
    /// See [`Held::unmounted`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) unmounted: Vec<String>,
}

impl Record {
    pub(super) fn held(self, pid: Option<u32>, exit: Option<ExitReport>) -> Held {
        Held { spec: self.spec, pid, exit, unmounted: self.unmounted }
    }
}

/// That a container is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stop {
    /// SIGKILL is due then, by this machine's clock.
    pub(super) kill_at: Timestamp,
    pub(super) asked_at: Timestamp,
    /// The engine has taken the stop: the signal is not sent twice, since to many programs a second one means "now".
    pub(super) sent: bool,
}

/// The files of one container.
#[derive(Debug, Clone)]
pub(super) struct Records(pub(super) RunDir);

impl Records {
    /// Makes it, with `record` safely on disk.
    pub(super) fn create(&self, record: &Record) -> io::Result<()> {
        let path = self.0.path();
        DirBuilder::new().mode(0o700).create(path)?;
        let bytes = serde_json::to_vec(record).map_err(io::Error::other)?;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(path.join("spec.json"))?;
        file.write_all(&bytes)?;
        // A run that may happen once must be on record before it begins, whatever becomes of the power.
        file.sync_all()?;
        File::open(path)?.sync_all()?;
        path.parent().map_or(Ok(()), |runs| File::open(runs)?.sync_all())
    }

    /// `None`: it was never written whole, so no container was ever made.
    pub(super) fn record(&self) -> io::Result<Option<Record>> {
        self.read("spec.json")
    }

    pub(super) fn stop(&self) -> io::Result<Option<Stop>> {
        self.read("stop.json")
    }

    pub(super) fn set_stop(&self, stop: &Stop) -> io::Result<()> {
        write_json(&self.0.path().join("stop.json"), stop)
    }

    pub(super) fn position(&self) -> io::Result<Position> {
        Ok(self.read("log.json")?.unwrap_or_default())
    }

    pub(super) fn set_position(&self, position: &Position) -> io::Result<()> {
        write_json(&self.0.path().join("log.json"), position)
    }

    pub(super) fn exit(&self) -> io::Result<Option<ExitReport>> {
        self.read("exit.json")
    }

    pub(super) fn set_exit(&self, exit: &ExitReport) -> io::Result<()> {
        write_json(&self.0.path().join("exit.json"), exit)
    }

    pub(super) fn is_to_be_undone(&self) -> bool {
        self.0.path().join("undo").exists()
    }

    pub(super) fn set_to_be_undone(&self) -> io::Result<()> {
        File::create(self.0.path().join("undo"))?.sync_all()
    }

    fn read<T: DeserializeOwned>(&self, name: &str) -> io::Result<Option<T>> {
        read_json(&self.0.path().join(name))
    }
}
