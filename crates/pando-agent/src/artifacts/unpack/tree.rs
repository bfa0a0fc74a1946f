//! A directory that is filled from names that are not trusted.

use std::ffi::{OsStr, OsString};
use std::fs::{DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid};
use rustix::io::Errno;
use tar::Header;

use super::{MOST_DEEP, UnpackError, disk, lossy};

/// An open directory below the release's own.
const DIRECTORY: OFlags = OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// What an entry says about itself, as far as it is believed.
pub(in crate::artifacts) struct Meta {
    /// Read, write and execute; no set-user-id and its like.
    mode: Mode,
    modified: Timestamps,
}

impl Meta {
    pub(in crate::artifacts) fn of(header: &Header) -> Result<Self, UnpackError> {
        let mode = header.mode().map_err(UnpackError::Damaged)?;
        let seconds = header.mtime().map_err(UnpackError::Damaged)?;
        let time = Timespec { tv_sec: i64::try_from(seconds).unwrap_or(0), tv_nsec: 0 };
        let modified = Timestamps { last_access: time, last_modification: time };
        Ok(Self { mode: Mode::from_bits_truncate(mode & 0o777), modified })
    }

    /// The same, but that everybody may read it.
    pub(in crate::artifacts) fn readable(self) -> Self {
        Self { mode: self.mode | Mode::RUSR | Mode::RGRP | Mode::ROTH, ..self }
    }
}

/// The parts of an entry's path, none of which leads up.
pub(in crate::artifacts) fn parts(path: &[u8]) -> Result<Vec<&OsStr>, UnpackError> {
    let outside = || UnpackError::Outside(lossy(path));
    if path.starts_with(b"/") || path.contains(&0) {
        return Err(outside());
    }
    let parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let parts: Vec<&OsStr> = parts.map(OsStr::from_bytes).collect();
    if parts.iter().any(|part| *part == "..") {
        return Err(outside());
    }
    if parts.len() > MOST_DEEP { Err(UnpackError::Deep(lossy(path))) } else { Ok(parts) }
}

pub(in crate::artifacts) struct Tree {
    root: OwnedFd,
    owner: Option<(Uid, Gid)>,
    /// The directories of the entry before, which the next one mostly shares.
    open: Vec<(OsString, OwnedFd)>,
}

impl Tree {
    /// Makes `path`, for its owner alone.
    pub(in crate::artifacts) fn make(path: &Path, owner: Option<(u32, u32)>) -> Result<Self, UnpackError> {
        let failed = |source: io::Error| UnpackError::Disk { path: path.to_owned(), source };
        DirBuilder::new().mode(0o700).create(path).map_err(failed)?;
        let root = rustix::fs::openat(CWD, path, DIRECTORY, Mode::empty()).map_err(|e| failed(e.into()))?;
        let owner = owner.map(|(uid, gid)| (Uid::from_raw(uid), Gid::from_raw(gid)));
        let tree = Self { root, owner, open: Vec::new() };
        tree.own(tree.root.as_fd(), path.as_os_str().as_bytes())?;
        Ok(tree)
    }

    pub(in crate::artifacts) fn directory(
        &mut self,
        parts: &[&OsStr],
        meta: &Meta,
    ) -> Result<(), UnpackError> {
        self.walk(parts)?;
        // Its owner must be able to fill it, whatever the archive says.
        let mode = meta.mode | Mode::RWXU;
        match self.open.last() {
            Some((_, made)) => rustix::fs::fchmod(made, mode).map_err(|error| failed(parts, error)),
            // The release's directory itself.
            None => Ok(()),
        }
    }

    /// A new, empty file; in place of an earlier one of that name.
    pub(in crate::artifacts) fn file(&mut self, parts: &[&OsStr], meta: &Meta) -> Result<File, UnpackError> {
        let (parent, name) = self.place(parts)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(parent, name, flags, Mode::RUSR | Mode::WUSR);
        let made = made.map_err(|error| failed(parts, error))?;
        self.own(made.as_fd(), &joined(parts))?;
        rustix::fs::fchmod(&made, meta.mode | Mode::RUSR).map_err(|error| failed(parts, error))?;
        Ok(File::from(made))
    }

    /// After its content was written.
    pub(in crate::artifacts) fn finish(
        &self,
        file: &File,
        meta: &Meta,
        parts: &[&OsStr],
    ) -> Result<(), UnpackError> {
        rustix::fs::futimens(file, &meta.modified).map_err(|error| failed(parts, error))
    }

    pub(in crate::artifacts) fn symlink(
        &mut self,
        parts: &[&OsStr],
        target: &[u8],
    ) -> Result<(), UnpackError> {
        let owner = self.owner;
        let (parent, name) = self.place(parts)?;
        let made = rustix::fs::symlinkat(OsStr::from_bytes(target), parent, name);
        let owned = made.and_then(|()| match owner {
            Some((uid, gid)) => {
                rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            }
            None => Ok(()),
        });
        owned.map_err(|error| failed(parts, error))
    }

    /// A second name of a file that was unpacked before.
    pub(in crate::artifacts) fn hard_link(
        &mut self,
        parts: &[&OsStr],
        target: &[&OsStr],
    ) -> Result<(), UnpackError> {
        let leads_out =
            || UnpackError::LeadsOut { path: lossy(&joined(parts)), target: lossy(&joined(target)) };
        let Some((target_name, target_parents)) = target.split_last() else { return Err(leads_out()) };
        self.walk(target_parents)?;
        let from = self.here().try_clone_to_owned().map_err(|source| disk(&joined(target), source))?;
        let stat = rustix::fs::statat(&from, *target_name, AtFlags::SYMLINK_NOFOLLOW);
        if !stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_file()) {
            return Err(leads_out());
        }
        let (parent, name) = self.place(parts)?;
        let linked = rustix::fs::linkat(&from, *target_name, parent, name, AtFlags::empty());
        linked.map_err(|error| failed(parts, error))
    }

    /// Where an entry goes; what is there of that name, unless a directory, is removed.
    fn place<'a>(&'a mut self, parts: &[&'a OsStr]) -> Result<(BorrowedFd<'a>, &'a OsStr), UnpackError> {
        let clash = || UnpackError::Clash(lossy(&joined(parts)));
        let Some((name, parents)) = parts.split_last() else { return Err(clash()) };
        self.walk(parents)?;
        match rustix::fs::unlinkat(self.here(), *name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok((self.here(), name)),
            Err(Errno::ISDIR | Errno::PERM) => Err(clash()),
            Err(error) => Err(failed(parts, error)),
        }
    }

    fn here(&self) -> BorrowedFd<'_> {
        self.open.last().map_or(self.root.as_fd(), |(_, directory)| directory.as_fd())
    }

    /// Makes and opens each directory on the way, following no link.
    fn walk(&mut self, parts: &[&OsStr]) -> Result<(), UnpackError> {
        let shared = self.open.iter().zip(parts).take_while(|((name, _), part)| name == *part).count();
        self.open.truncate(shared);
        for (depth, part) in parts.iter().enumerate().skip(shared) {
            let made = match rustix::fs::mkdirat(self.here(), *part, Mode::RWXU) {
                Ok(()) => true,
                Err(Errno::EXIST) => false,
                Err(error) => return Err(failed(&parts[..=depth], error)),
            };
            let opened = rustix::fs::openat(self.here(), *part, DIRECTORY, Mode::empty());
            let opened = opened.map_err(|error| match error {
                Errno::NOTDIR | Errno::LOOP => UnpackError::Clash(lossy(&joined(parts))),
                other => failed(&parts[..=depth], other),
            })?;
            if made {
                self.own(opened.as_fd(), &joined(parts))?;
                let usual = Mode::RWXU | Mode::RGRP | Mode::XGRP | Mode::ROTH | Mode::XOTH;
                rustix::fs::fchmod(&opened, usual).map_err(|error| failed(parts, error))?;
            }
            self.open.push(((*part).to_owned(), opened));
        }
        Ok(())
    }

    fn own(&self, what: BorrowedFd<'_>, path: &[u8]) -> Result<(), UnpackError> {
        match self.owner {
            Some((uid, gid)) => {
                rustix::fs::fchown(what, Some(uid), Some(gid)).map_err(|error| disk(path, error))
            }
            None => Ok(()),
        }
    }
}

fn joined(parts: &[&OsStr]) -> Vec<u8> {
    parts.join(OsStr::new("/")).as_bytes().to_vec()
}

fn failed(parts: &[&OsStr], error: Errno) -> UnpackError {
    disk(&joined(parts), error)
}
