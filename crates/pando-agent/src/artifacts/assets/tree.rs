//! Directories below which no link is followed: one may be an app's own, which changes it as it likes while files are put there.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use pando_model::asset::AssetPath;
use pando_model::resources::Bytes;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, RenameFlags, Stat, Timespec, Timestamps, Uid};
use rustix::io::Errno;

use super::{AssetsError, Limits};
use crate::artifacts::{ArtifactError, disk::disk_error};

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC);

/// Trees of assets have a handful.
const MOST_DEEP: usize = 64;

/// A file on its way; one that a crash left is replaced by the next.
const UNFINISHED: &str = ".pando-asset";

/// An open directory.
pub(super) struct Dir(OwnedFd);

/// How a file gets another name.
#[derive(Debug, Clone, Copy)]
pub(super) enum Way {
    /// The same file: nobody writes to it.
    Link,
    /// A file of its own, with this owner. `None`: the caller's.
    Copy(Option<(Uid, Gid)>),
}

impl Way {
    fn owner(self) -> Option<(Uid, Gid)> {
        match self {
            Self::Link => None,
            Self::Copy(owner) => owner,
        }
    }
}

impl Dir {
    /// By a path that nobody but this program changes.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty())?))
    }

    /// A directory below it, however deep.
    pub(super) fn below(&self, path: &Path) -> io::Result<Self> {
        let mut here = Self(self.0.try_clone()?);
        for part in parts(path) {
            here = Self(rustix::fs::openat(&here.0, part, DIRECTORY, Mode::empty())?);
        }
        Ok(here)
    }

    /// The same, made as far as it isn't there.
    fn make_below(&self, path: &Path, way: Way) -> Result<Self, Errno> {
        let mut here = Self(self.0.try_clone().map_err(|_| Errno::MFILE)?);
        for part in parts(path) {
            let usual = Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
            let made = match rustix::fs::mkdirat(&here.0, part, usual) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(error),
            };
            here = Self(rustix::fs::openat(&here.0, part, DIRECTORY, Mode::empty())?);
            if made {
                rustix::fs::fchmod(&here.0, usual)?;
                own(&here.0, way)?;
            }
        }
        Ok(here)
    }

    /// Who is to own what is put there: whoever owns it, if this program may give files away.
    pub(super) fn owner(&self) -> io::Result<Option<(Uid, Gid)>> {
        let stat = rustix::fs::fstat(&self.0)?;
        let root = rustix::process::geteuid().is_root();
        Ok(root.then(|| (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))))
    }

    /// Removes a file or a link. What can't be removed, or is not there, stays so.
    pub(super) fn remove(&self, path: &Path) {
        let (parent, name) = split(path);
        if let Ok(parent) = self.below(parent) {
            let _ = rustix::fs::unlinkat(&parent.0, name, AtFlags::empty());
        }
    }
}

fn parts(path: &Path) -> impl Iterator<Item = &OsStr> {
    path.components().filter_map(|part| match part {
        Component::Normal(part) => Some(part),
        // `AssetPath` has no others.
        _ => None,
    })
}

fn split(path: &Path) -> (&Path, &OsStr) {
    (path.parent().unwrap_or(Path::new("")), path.file_name().unwrap_or_default())
}

/// The files and links below, by their paths there.
///
/// # Errors
/// When there are too many, or they are too large.
pub(super) fn list(root: &Dir, path: &AssetPath, most: Limits) -> Result<Vec<PathBuf>, ArtifactError> {
    let shown = || path.as_str().to_owned();
    let disk = |source: io::Error| disk_error("read", Path::new(path.as_str()), source);
    let (mut names, mut bytes) = (Vec::new(), 0_u64);
    let mut walk = Walk::of(root).map_err(disk)?;
    while let Some((name, stat)) = walk.next().map_err(disk)? {
        bytes = bytes.saturating_add(u64::try_from(stat.st_size).unwrap_or(0));
        names.push(name);
        if names.len() > most.files {
            return Err(AssetsError::TooMany { path: shown(), most: most.files }.into());
        }
        if bytes > most.bytes {
            return Err(AssetsError::TooLarge { path: shown(), most: Bytes(most.bytes) }.into());
        }
    }
    if walk.too_deep { Err(AssetsError::Deep(shown()).into()) } else { Ok(names) }
}

/// The same of what was listed before, so that it needs no bounds.
pub(super) fn list_any(root: &Dir) -> io::Result<Vec<PathBuf>> {
    let (mut names, mut walk) = (Vec::new(), Walk::of(root)?);
    while let Some((name, _)) = walk.next()? {
        names.push(name);
    }
    Ok(names)
}

/// Goes through a tree, one directory after the other.
struct Walk {
    /// To be read, with their paths.
    directories: VecDeque<(Dir, PathBuf)>,
    /// Of the one that is being read.
    found: Vec<(PathBuf, Stat)>,
    too_deep: bool,
}

impl Walk {
    fn of(root: &Dir) -> io::Result<Self> {
        let root = Dir(root.0.try_clone()?);
        Ok(Self { directories: [(root, PathBuf::new())].into(), found: Vec::new(), too_deep: false })
    }

    fn next(&mut self) -> io::Result<Option<(PathBuf, Stat)>> {
        loop {
            if let Some(found) = self.found.pop() {
                return Ok(Some(found));
            }
            let Some((directory, path)) = self.directories.pop_back() else { return Ok(None) };
            self.read(&directory, &path)?;
        }
    }

    fn read(&mut self, directory: &Dir, path: &Path) -> io::Result<()> {
        for entry in rustix::fs::Dir::read_from(&directory.0)? {
            let name = OsStr::from_bytes(entry?.file_name().to_bytes()).to_owned();
            if name != "." && name != ".." && name != UNFINISHED {
                self.take(directory, path.join(&name), &name)?;
            }
        }
        Ok(())
    }

    /// What went meanwhile, and what is neither file, link nor directory, is left out.
    fn take(&mut self, directory: &Dir, path: PathBuf, name: &OsString) -> io::Result<()> {
        let Ok(stat) = rustix::fs::statat(&directory.0, name, AtFlags::SYMLINK_NOFOLLOW) else {
            return Ok(());
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile | FileType::Symlink => self.found.push((path, stat)),
            FileType::Directory if path.components().count() > MOST_DEEP => self.too_deep = true,
            FileType::Directory => {
                let below = rustix::fs::openat(&directory.0, name, DIRECTORY, Mode::empty())?;
                self.directories.push_back((Dir(below), path));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Puts these files of `from` into `to`, each unless something of its name is there.
pub(super) fn add_all(from: &Dir, to: &Dir, names: &[PathBuf], way: Way) -> io::Result<()> {
    names.iter().try_for_each(|name| add(from, to, name, way))
}

fn add(from: &Dir, to: &Dir, path: &Path, way: Way) -> io::Result<()> {
    let (parent, name) = split(path);
    let from = from.below(parent)?;
    let to = match to.make_below(parent, way) {
        // A file or a link of its own stands where a directory would.
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(()),
        made => made?,
    };
    if rustix::fs::statat(&to.0, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() {
        return Ok(());
    }
    let stat = rustix::fs::statat(&from.0, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let added = match (FileType::from_raw_mode(stat.st_mode), way) {
        (FileType::Symlink, _) => link(&from, &to, name, way),
        (FileType::RegularFile, Way::Link) => {
            match rustix::fs::linkat(&from.0, name, &to.0, name, AtFlags::empty()) {
                Err(Errno::MLINK | Errno::XDEV | Errno::PERM) => copy(&from, &to, name, way),
                linked => Ok(linked?),
            }
        }
        (FileType::RegularFile, Way::Copy(_)) => copy(&from, &to, name, way),
        _ => Ok(()),
    };
    // Somebody was quicker: the app's own is its own.
    added.or_else(|error| if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) })
}

fn link(from: &Dir, to: &Dir, name: &OsStr, way: Way) -> io::Result<()> {
    let target = rustix::fs::readlinkat(&from.0, name, Vec::new())?;
    rustix::fs::symlinkat(&target, &to.0, name)?;
    if let Some((uid, gid)) = way.owner() {
        rustix::fs::chownat(&to.0, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

/// It has its name only when it is whole.
fn copy(from: &Dir, to: &Dir, name: &OsStr, way: Way) -> io::Result<()> {
    // A pipe that took the file's place is not waited for.
    let source = File::from(rustix::fs::openat(
        &from.0,
        name,
        FILE | OFlags::RDONLY | OFlags::NONBLOCK,
        Mode::empty(),
    )?);
    let stat = rustix::fs::fstat(&source)?;
    if !FileType::from_raw_mode(stat.st_mode).is_file() {
        return Ok(());
    }
    let _ = rustix::fs::unlinkat(&to.0, UNFINISHED, AtFlags::empty());
    let new = FILE | OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let made = rustix::fs::openat(&to.0, UNFINISHED, new, Mode::RUSR | Mode::WUSR)?;
    let done = fill(source, &stat, made, way).and_then(|()| {
        Ok(rustix::fs::renameat_with(&to.0, UNFINISHED, &to.0, name, RenameFlags::NOREPLACE)?)
    });
    if done.is_err() {
        let _ = rustix::fs::unlinkat(&to.0, UNFINISHED, AtFlags::empty());
    }
    done
}

fn fill(mut source: File, stat: &Stat, made: OwnedFd, way: Way) -> io::Result<()> {
    let mut made = File::from(made);
    io::copy(&mut source, &mut made)?;
    own(&made, way)?;
    rustix::fs::fchmod(&made, Mode::from_bits_truncate(stat.st_mode & 0o777) | Mode::RUSR)?;
    // Caches go by the time, too.
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: 0 };
    Ok(rustix::fs::futimens(&made, &Timestamps { last_access: time, last_modification: time })?)
}

fn own(what: impl AsFd, way: Way) -> Result<(), Errno> {
    way.owner().map_or(Ok(()), |(uid, gid)| rustix::fs::fchown(what, Some(uid), Some(gid)))
}
