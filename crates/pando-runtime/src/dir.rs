//! What a run leaves on disk, for whoever comes to look for it: its directory, `runs/ID.ATTEMPT/`.
//!
//! | file | written by | holds |
//! |---|---|---|
//! | `spec.json` (0600: environments hold secrets) | who starts it, synced before the shim starts | [`Launch`] |
//! | `status.json` | whoever holds the lock | [`Status`] |
//! | `lock` | | locked by the shim for as long as it lives: the one certain sign of life |
//! | `control.sock` | the shim | where it is spoken to, see `control` |

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pando_model::observed::ExitReport;
use pando_model::time::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::account::Account;
use crate::cgroup::RunGroup;
use crate::logs::LogSettings;
use crate::proc::Process;
use crate::run::{RunKey, RunSpec};

/// All that a shim is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub(crate) spec: RunSpec,
    /// `spec.env` with what was missing added.
    pub(crate) env: std::collections::BTreeMap<String, String>,
    /// Whom to become. `None`: nobody else.
    pub(crate) account: Option<Account>,
    pub(crate) groups: Vec<RunGroup>,
    pub(crate) log_root: PathBuf,
    pub(crate) log_settings: LogSettings,
    /// Of the machine's start in which it was written: after another, nothing of the run is left.
    pub(crate) boot: String,
}

impl Launch {
    /// Where it runs: a shim is given nothing that has no directory.
    pub(crate) fn directory(&self) -> &Path {
        self.spec.directory().unwrap_or(Path::new("/"))
    }
}

/// How far a run got.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    pub(crate) shim: Process,
    /// `None` before it runs.
    pub(crate) child: Option<Process>,
    pub(crate) started_at: Option<Timestamp>,
    /// It could not be started at all, and never ran.
    pub(crate) refused: Option<String>,
    pub(crate) exit: Option<ExitReport>,
}

/// The directory of one run. Nothing is checked or made by having one.
#[derive(Debug, Clone)]
pub(crate) struct RunDir(PathBuf);

impl RunDir {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    pub(crate) fn of(runs: &Path, key: RunKey) -> Self {
        Self(runs.join(format!("{}.{}", key.id, key.attempt)))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// The key that the name says. `None`: not a run's directory.
    pub(crate) fn key(&self) -> Option<RunKey> {
        let (id, attempt) = self.0.file_name()?.to_str()?.split_once('.')?;
        Some(RunKey { id: id.parse().ok()?, attempt: attempt.parse().ok()? })
    }

    pub(crate) fn exists(&self) -> bool {
        self.0.is_dir()
    }

    /// Makes it, with `launch` safely on disk.
    pub(crate) fn create(&self, launch: &Launch) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(&self.0)?;
        let bytes = serde_json::to_vec(launch).map_err(io::Error::other)?;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.0.join("spec.json"))?;
        file.write_all(&bytes)?;
        // A run that may happen once must be on record before it begins, whatever becomes of the power.
        file.sync_all()?;
        File::open(&self.0)?.sync_all()?;
        self.0.parent().map_or(Ok(()), |runs| File::open(runs)?.sync_all())
    }

    /// `None`: it was never written whole, so nothing was ever started.
    pub(crate) fn launch(&self) -> io::Result<Option<Launch>> {
        read_json(&self.0.join("spec.json"))
    }

    pub(crate) fn status(&self) -> io::Result<Option<Status>> {
        read_json(&self.0.join("status.json"))
    }

    /// Only for who holds the lock. Not synced: what it tells of is gone after a power cut anyway.
    pub(crate) fn set_status(&self, status: &Status) -> io::Result<()> {
        write_json(&self.0.join("status.json"), status)
    }

    /// The lock, when nobody else has it: then no shim lives here, nor will one until it is released.
    pub(crate) fn try_lock(&self) -> io::Result<Option<File>> {
        try_lock(&self.0.join("lock"))
    }

    /// The lock, as soon as nobody else has it. `None`: somebody had it all the time.
    pub(crate) fn lock(&self, patience: Duration) -> io::Result<Option<File>> {
        lock(&self.0.join("lock"), patience)
    }

    /// Removes it in one step for everybody who comes by its name, such as a late shim; then what was in it.
    pub(crate) fn remove(&self) -> io::Result<()> {
        let gone = self.0.with_file_name(format!("{GONE}{}", uuid::Uuid::now_v7()));
        match fs::rename(&self.0, &gone) {
            Ok(()) => fs::remove_dir_all(gone),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// What directories are called that are being removed.
const GONE: &str = ".gone-";

/// The keys of the runs in `runs`; what a removal cut short left is removed.
pub(crate) fn list(runs: &Path) -> io::Result<Vec<RunKey>> {
    let mut keys = Vec::new();
    for entry in fs::read_dir(runs)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(GONE) {
            // Another removal may be at it.
            let _ = fs::remove_dir_all(entry.path());
        } else if entry.file_type()?.is_dir() {
            keys.extend(RunDir::new(entry.path()).key());
        }
    }
    Ok(keys)
}

/// Locks the file at `path`, made when missing. `None`: another process holds the lock.
pub(crate) fn try_lock(path: &Path) -> io::Result<Option<File>> {
    let file =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(None),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // The directory may have been removed, and made anew, since the file was opened: then this lock locks nothing.
    match fs::metadata(path) {
        Ok(named) if named.ino() == file.metadata()?.ino() => Ok(Some(file)),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "it was removed meanwhile")),
    }
}

/// The same with patience: somebody may just be looking whether it is locked.
pub(crate) fn lock(path: &Path, patience: Duration) -> io::Result<Option<File>> {
    let until = Instant::now() + patience;
    loop {
        match try_lock(path)? {
            None if Instant::now() < until => std::thread::sleep(Duration::from_millis(1)),
            lock => return Ok(lock),
        }
    }
}

/// `None` when there is no such file, or not a whole one.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<Option<T>> {
    let bytes = pando_rt::fs::read_if_there(path)?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// Readers see the old or the new content. Not synced.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    let bytes = serde_json::to_vec(value).map_err(io::Error::other)?;
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    file.write_all(&bytes)?;
    fs::rename(&beside, path)
}
