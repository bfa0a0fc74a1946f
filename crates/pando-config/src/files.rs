//! What reading a specification needs of the file system, and no more.

use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

/// A file larger than this was not written by a person; reading stops one byte beyond.
pub const LARGEST_FILE: usize = 1024 * 1024;

/// The files that a specification may refer to.
pub trait Files {
    /// The first [`LARGEST_FILE`] + 1 bytes of a regular file.
    ///
    /// # Errors
    /// As the system says; not being a regular file is one.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    fn is_dir(&self, path: &Path) -> bool;

    /// Where `path` leads to, to tell whether that lies within a directory that was resolved as well.
    fn resolved(&self, path: &Path) -> PathBuf;
}

/// `path` below `start`, without `.` and `..`, whatever there is on a disk.
fn lexical(start: &Path, path: &Path) -> PathBuf {
    start.join(path).components().fold(PathBuf::new(), |mut whole, part| {
        match part {
            Component::CurDir => {}
            Component::ParentDir => drop(whole.pop()),
            part => whole.push(part),
        }
        whole
    })
}

/// The file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        // Asked before opening: opening a named pipe would wait for a writer.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        // What the kernel shows there calls itself one, and says other things to each reader.
        let real = std::fs::canonicalize(path)?;
        if ["/proc", "/sys"].iter().any(|top| real.starts_with(top)) {
            return Err(io::Error::other("it is a file of the kernel's, and not a regular one"));
        }
        let mut content = Vec::new();
        let most = u64::try_from(LARGEST_FILE + 1).unwrap_or(u64::MAX);
        std::fs::File::open(path)?.take(most).read_to_end(&mut content)?;
        Ok(content)
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn resolved(&self, path: &Path) -> PathBuf {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let here = || std::env::current_dir().unwrap_or_default();
        std::fs::canonicalize(path).unwrap_or_else(|_| lexical(&here(), path))
    }
}

/// Files in memory, for tests and for texts that are not on disk. Every path that
/// is the parent of a file is a directory, and so are `.` and the empty path.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles(pub BTreeMap<PathBuf, Vec<u8>>);

impl MemoryFiles {
    #[must_use]
    pub fn with(mut self, path: impl Into<PathBuf>, content: impl Into<Vec<u8>>) -> Self {
        self.0.insert(path.into(), content.into());
        self
    }
}

impl Files for MemoryFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.0.get(path).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn is_dir(&self, path: &Path) -> bool {
        let plain: PathBuf = path.components().filter(|part| part.as_os_str() != ".").collect();
        plain.as_os_str().is_empty()
            || self.0.keys().any(|file| file.ancestors().skip(1).any(|dir| dir == plain))
    }

    fn resolved(&self, path: &Path) -> PathBuf {
        lexical(Path::new("/memory/files"), path)
    }
}
