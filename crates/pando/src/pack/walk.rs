//! Which files of a directory belong to a release.

use std::fs::{self, FileType};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use ignore::{DirEntry, WalkBuilder};

use super::{Escape, PackError, link};

/// One thing to pack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Relative to the directory.
    pub(super) path: PathBuf,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File { bytes: u64, executable: bool },
    Link { target: PathBuf },
}

/// What was found, in the order of the paths' bytes.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) entries: Vec<Entry>,
    pub(super) files: u64,
    pub(super) notes: Vec<String>,
}

/// Never part of a release: history, and what `pando dev` keeps.
const NEVER: [&str; 2] = [".git", ".pando"];
/// Longer lists of links help nobody.
const MOST_ESCAPES: usize = 10;

pub(super) fn walk(directory: &Path, most_files: u64, stop: &AtomicBool) -> Result<Found, PackError> {
    let root =
        directory.canonicalize().map_err(|source| PackError::Read { path: directory.to_owned(), source })?;
    let mut found = Found::default();
    let mut escapes = Vec::new();
    for entry in builder(&root).build() {
        if stop.load(Ordering::Relaxed) {
            return Err(PackError::Stopped);
        }
        let entry = entry.map_err(|source| PackError::Walk { path: directory.to_owned(), source })?;
        let Ok(path) = entry.path().strip_prefix(&root) else { continue };
        if path == Path::new("") {
            continue;
        }
        let path = path.to_owned();
        let Some(kind) = kind(&entry, &path, &root, &mut found.notes, &mut escapes)? else { continue };
        found.files += u64::from(kind != Kind::Directory);
        if found.files > most_files {
            return Err(PackError::TooMany(most_files));
        }
        found.entries.push(Entry { path, kind });
    }
    if !escapes.is_empty() {
        return Err(PackError::Escapes(escapes));
    }
    if found.files == 0 {
        return Err(PackError::Empty(directory.to_owned()));
    }
    found.entries.sort_by(|one, other| one.path.as_os_str().cmp(other.path.as_os_str()));
    Ok(found)
}

/// In a git repository its rules count, those above the directory too. Elsewhere a `.gitignore` in the directory counts, and
/// none above: a `*` in somebody's home must not empty a release.
fn builder(root: &Path) -> WalkBuilder {
    let in_git = root.ancestors().any(|above| above.join(".git").exists());
    let mut builder = WalkBuilder::new(root);
    builder
        .standard_filters(false)
        .git_ignore(true)
        .git_global(in_git)
        .git_exclude(in_git)
        .parents(in_git)
        .require_git(in_git)
        .add_custom_ignore_filename(".pandoignore")
        .filter_entry(|entry| entry.depth() == 0 || !NEVER.iter().any(|name| entry.file_name() == *name));
    builder
}

/// `None`: it is noted, or an escape, and not packed.
fn kind(
    entry: &DirEntry,
    path: &Path,
    root: &Path,
    notes: &mut Vec<String>,
    escapes: &mut Vec<Escape>,
) -> Result<Option<Kind>, PackError> {
    let unreadable = |source| PackError::Read { path: entry.path().to_owned(), source };
    // Of the link itself, never of what it leads to.
    let metadata = fs::symlink_metadata(entry.path()).map_err(unreadable)?;
    let file_type = metadata.file_type();
    if file_type.is_dir() {
        return Ok(Some(Kind::Directory));
    }
    if file_type.is_file() {
        return Ok(Some(Kind::File { bytes: metadata.len(), executable: metadata.mode() & 0o111 != 0 }));
    }
    if file_type.is_symlink() {
        let target = fs::read_link(entry.path()).map_err(unreadable)?;
        if link::stays_inside(path, &target, root) {
            return Ok(Some(Kind::Link { target }));
        }
        if escapes.len() < MOST_ESCAPES {
            escapes.push(Escape { link: path.to_owned(), target });
        }
        return Ok(None);
    }
    notes.push(format!(
        "`{}` is {}, which a release can't hold; it is left out",
        path.display(),
        word(file_type)
    ));
    Ok(None)
}

fn word(file_type: FileType) -> &'static str {
    if file_type.is_socket() {
        "a socket"
    } else if file_type.is_fifo() {
        "a named pipe"
    } else {
        "a device"
    }
}
