//! Where the logs lie, and their rotation.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogSettings {
    /// Bytes after which a file is rotated.
    pub file_bytes: u64,
    /// Files kept per replica name, the current one among them; at least 1.
    pub files: u32,
}

impl Default for LogSettings {
    /// 50 MB a replica: some days of a busy app, and no surprise on a small disk.
    fn default() -> Self {
        Self { file_bytes: 10_000_000, files: 5 }
    }
}

/// A directory of logs: `ROOT/APP/NAME.log`.
#[derive(Debug, Clone)]
pub struct LogStore {
    pub(crate) root: PathBuf,
    pub(crate) settings: LogSettings,
}

impl LogStore {
    #[must_use]
    pub fn new(root: PathBuf, settings: LogSettings) -> Self {
        Self { root, settings }
    }

    /// Removes every log of `app`; those of runs that still write begin anew.
    ///
    /// # Errors
    /// Whatever the disk answers, but for the directory not being there.
    pub fn remove_app(&self, app: &str) -> io::Result<()> {
        match fs::remove_dir_all(self.root.join(app)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// The files of one replica name.
#[derive(Debug, Clone)]
pub(crate) struct LogFiles {
    directory: PathBuf,
    name: String,
}

impl LogFiles {
    pub(crate) fn new(directory: PathBuf, name: &str) -> Self {
        Self { directory, name: name.to_owned() }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The files of every name in `directory`, by name. None when it isn't there.
    pub(crate) fn in_directory(directory: &Path) -> io::Result<Vec<Self>> {
        let entries = match fs::read_dir(directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".log")?.to_owned()))
            .collect();
        names.sort_unstable();
        Ok(names.iter().map(|name| Self::new(directory.to_owned(), name)).collect())
    }

    /// The current file is number 0, the newest rotated one 1, and so on.
    pub(crate) fn path(&self, number: u32) -> PathBuf {
        match number {
            0 => self.directory.join(format!("{}.log", self.name)),
            number => self.directory.join(format!("{}.log.{number}", self.name)),
        }
    }

    /// Opens the current file for appending, made with its directory when missing.
    pub(crate) fn append(&self) -> io::Result<File> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        OpenOptions::new().append(true).create(true).mode(0o600).open(self.path(0))
    }

    /// The files that there are, oldest first, each opened and with its inode.
    pub(crate) fn open_all(&self) -> io::Result<Vec<(u64, File)>> {
        let _steady = self.lock_shared();
        let mut found = Vec::new();
        for number in 0.. {
            match File::open(self.path(number)) {
                Ok(file) => found.push((file.metadata()?.ino(), file)),
                // The current one may be missing for a moment, or for good once its app is removed.
                Err(error) if error.kind() == io::ErrorKind::NotFound && number == 0 => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        found.reverse();
        Ok(found)
    }

    /// The inode of the current file. `None`: there is none now.
    pub(crate) fn current_inode(&self) -> Option<u64> {
        fs::metadata(self.path(0)).ok().map(|data| data.ino())
    }

    fn lock_file(&self) -> io::Result<File> {
        let path = self.directory.join(format!(".{}.lock", self.name));
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
    }

    /// Held while appending, so that no file is rotated away under a writer; `None` when it can't be had soon: a log
    /// never waits for long.
    pub(crate) fn lock_shared(&self) -> Option<File> {
        let file = self.lock_file().ok()?;
        for _ in 0..LOCK_TRIES {
            match file.try_lock_shared() {
                Ok(()) => return Some(file),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
                Err(TryLockError::Error(_)) => return None,
            }
        }
        None
    }

    /// Renames every file to the next number, the oldest away, unless another writer has done so since `inode` was current or
    /// somebody is writing right now; then the next writer does it.
    pub(crate) fn rotate(&self, inode: u64, settings: LogSettings) -> io::Result<()> {
        let lock = self.lock_file()?;
        if lock.try_lock().is_err() || self.current_inode() != Some(inode) {
            return Ok(());
        }
        if settings.files <= 1 {
            return fs::remove_file(self.path(0));
        }
        for number in (0..settings.files - 1).rev() {
            match fs::rename(self.path(number), self.path(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// A rotation takes microseconds; whoever holds the lock for 50 ms hangs.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(1);
