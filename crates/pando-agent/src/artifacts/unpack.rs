//! Unpacks a release without trusting it: nothing is written outside, whatever the archive says.
//!
//! Every entry is placed by walking from the release's own directory without
//! following a link ([`tree`]), so that a link in the archive leads nowhere
//! while it is unpacked; links whose target would lead out later are refused
//! ([`links`]). Sizes and counts are bounded by what is really written.

mod extension;
mod links;
pub(super) mod tree;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::read::MultiGzDecoder;
use pando_model::resources::Bytes;
use tar::{Archive, Entry, EntryType};

use extension::Extension;
use links::Links;
use tree::{Meta, Tree};

/// How much a release may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Of all files together.
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
}

impl Default for Limits {
    /// 16 GB and a million entries: more than any app's code with all that it depends on.
    fn default() -> Self {
        Self { bytes: 16_000_000_000, entries: 1_000_000 }
    }
}

/// Each directory on the way is held open. Trees of dependencies have about twenty.
const MOST_DEEP: usize = 128;

/// Why a packed release was not unpacked. Paths are as the archive has them.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("the packed release is damaged")]
    Damaged(#[source] io::Error),
    #[error("the packed release holds `{0}`, which would lie outside of its directory")]
    Outside(String),
    #[error("the packed release holds `{path}`, a link to `{target}`, which leads out of its directory")]
    LeadsOut { path: String, target: String },
    #[error(
        "the packed release holds `{path}`, which is {kind}; only files, directories and links are unpacked"
    )]
    Kind { path: String, kind: &'static str },
    #[error("the packed release holds `{0}` below or instead of something else of that name")]
    Clash(String),
    #[error("the packed release holds `{0}`, which lies more than {MOST_DEEP} directories deep")]
    Deep(String),
    #[error("the packed release holds more than {0} files")]
    TooMany(u64),
    #[error("the packed release holds more than {0}")]
    TooLarge(Bytes),
    #[error("can't write `{}`", path.display())]
    Disk { path: PathBuf, source: io::Error },
    #[error("stopped before it was done")]
    Cancelled,
}

/// What to unpack, where, for whom.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) archive: PathBuf,
    /// Made; must not be there.
    pub(super) into: PathBuf,
    pub(super) owner: Option<(u32, u32)>,
    pub(super) limits: Limits,
}

/// Blocking; looks at `cancelled` between entries. Whatever was written stays when it fails.
pub(super) fn unpack(order: &Order, cancelled: &AtomicBool) -> Result<(), UnpackError> {
    let failed = |source| UnpackError::Disk { path: order.archive.clone(), source };
    let file = File::open(&order.archive).map_err(failed)?;
    let mut unpacking = Unpacking {
        tree: Tree::make(&order.into, order.owner)?,
        links: Links::default(),
        extension: Extension::default(),
        left: order.limits.bytes,
        limits: order.limits,
    };
    let mut archive = Archive::new(MultiGzDecoder::new(BufReader::with_capacity(256 * 1024, file)));
    let mut count = 0;
    for entry in archive.entries().map_err(UnpackError::Damaged)?.raw(true) {
        if cancelled.load(Ordering::Relaxed) {
            return Err(UnpackError::Cancelled);
        }
        count += 1;
        if count > order.limits.entries {
            return Err(UnpackError::TooMany(order.limits.entries));
        }
        unpacking.place(entry.map_err(UnpackError::Damaged)?, cancelled)?;
    }
    unpacking.links.check()
}

struct Unpacking {
    tree: Tree,
    links: Links,
    extension: Extension,
    /// Bytes that may still be written.
    left: u64,
    limits: Limits,
}

impl Unpacking {
    fn place<R: Read>(&mut self, mut entry: Entry<'_, R>, cancelled: &AtomicBool) -> Result<(), UnpackError> {
        if self.extension.take(&mut entry)? {
            return Ok(());
        }
        let (path, target) = self.extension.names(&entry)?;
        let parts = tree::parts(&path)?;
        let meta = Meta::of(entry.header())?;
        let target = || checked(target.unwrap_or_default(), &path);
        match entry.header().entry_type() {
            EntryType::Directory => self.tree.directory(&parts, &meta),
            EntryType::Regular | EntryType::Continuous => {
                let file = self.tree.file(&parts, &meta)?;
                self.copy(&mut entry, &file, &path, cancelled)?;
                self.tree.finish(&file, &meta, &parts)
            }
            EntryType::Symlink => {
                let target = target()?;
                self.links.add(&parts, &target);
                self.tree.symlink(&parts, &target)
            }
            EntryType::Link => self.tree.hard_link(&parts, &tree::parts(&target()?)?),
            other => Err(UnpackError::Kind { path: lossy(&path), kind: in_words(other) }),
        }
    }

    fn copy(
        &mut self,
        from: &mut impl Read,
        into: &File,
        path: &[u8],
        cancelled: &AtomicBool,
    ) -> Result<(), UnpackError> {
        let mut buffer = [0; 64 * 1024];
        loop {
            let count = from.read(&mut buffer).map_err(UnpackError::Damaged)?;
            if count == 0 {
                return Ok(());
            }
            if cancelled.load(Ordering::Relaxed) {
                return Err(UnpackError::Cancelled);
            }
            let left = self.left.checked_sub(count as u64);
            self.left = left.ok_or(UnpackError::TooLarge(Bytes(self.limits.bytes)))?;
            io::Write::write_all(&mut &*into, &buffer[..count]).map_err(|source| disk(path, source))?;
        }
    }
}

fn checked(target: Vec<u8>, path: &[u8]) -> Result<Vec<u8>, UnpackError> {
    if target.is_empty() || target.contains(&0) {
        return Err(UnpackError::LeadsOut { path: lossy(path), target: lossy(&target) });
    }
    Ok(target)
}

fn in_words(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Block | EntryType::Char => "a device",
        EntryType::Fifo => "a named pipe",
        EntryType::GNUSparse => "a sparse file",
        _ => "of a kind that is not known",
    }
}

fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

fn disk(path: &[u8], source: impl Into<io::Error>) -> UnpackError {
    let path = Path::new(std::ffi::OsStr::from_bytes(path)).to_owned();
    UnpackError::Disk { path, source: source.into() }
}

#[cfg(test)]
mod tests;
