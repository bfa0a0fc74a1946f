//! Reads what an engine saves: a tar with the image's configuration and layers somewhere in it.
//!
//! Three layouts are about: `DIR/layer.tar` with `manifest.json`; `blobs/sha256/…`
//! with both that and an OCI index; and the OCI layout alone, whose layers may be
//! compressed and whose index may name several platforms and attestations. All are
//! read alike: whatever has the digest of a layer that is wanted is that layer,
//! whatever the archive calls it. Names only save work, by telling which layers need
//! no look. The archive is read once, from beginning to end, and never kept whole: a
//! layer that is wanted lies in a temporary file until its taker drops it.

mod documents;
mod entry;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use pando_model::release::Digest;
use pando_model::resources::Bytes;
use tar::{Archive, EntryType};

use crate::image::{Config, ImageError, MOST_LAYER};
use documents::Documents;
use entry::Taken;

/// More than any image has files in its archive.
const MOST_ENTRIES: usize = 10_000;

#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("what the engine sent is no archive of an image")]
    Damaged(#[source] io::Error),
    #[error("the engine's archive has more than {MOST_ENTRIES} files")]
    TooMany,
    #[error("the engine's archive has more than {0} of descriptions")]
    Documents(Bytes),
    #[error("a layer is larger than {}", Bytes(MOST_LAYER))]
    LayerTooLarge,
    #[error("the engine's archive lacks the layer {0}; was the image removed meanwhile?")]
    Lacks(Digest),
    #[error(
        "the engine's archive lacks the configuration of the image {0}; was the image removed meanwhile?"
    )]
    LacksConfig(String),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("no space left in `{}` for the layers to be sent; set TMPDIR to a directory with more", path.display())]
    Full { path: PathBuf },
    #[error("can't keep a layer in `{}`", path.display())]
    Disk { path: PathBuf, source: io::Error },
    #[error("stopped before it was done")]
    Stopped,
}

impl ArchiveError {
    fn disk(path: &Path, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { path: path.to_owned() },
            _ => Self::Disk { path: path.to_owned(), source },
        }
    }
}

/// What is read for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// As the engine calls the image.
    pub id: Digest,
    /// All layers, as the engine tells them.
    pub diff_ids: Vec<Digest>,
    /// Those of them that are taken.
    pub missing: BTreeSet<Digest>,
    /// Where layers lie meanwhile.
    pub directory: PathBuf,
}

/// A layer out of the archive, in a file without a name, which goes away with this value, and with the program however it ends.
#[derive(Debug)]
pub struct Spooled {
    pub diff_id: Digest,
    pub bytes: u64,
    file: File,
}

impl Spooled {
    /// Reads it from byte `from` on, as often as it is needed.
    ///
    /// # Errors
    /// When there may be no more open files.
    pub fn open(&self, from: u64) -> io::Result<SpooledReader> {
        Ok(SpooledReader { file: self.file.try_clone()?, at: from })
    }
}

/// Has a place of its own in the file.
#[derive(Debug)]
pub struct SpooledReader {
    file: File,
    at: u64,
}

impl Read for SpooledReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

/// Reads the archive to its end, hands each layer that is missing to `take` once, and answers the image's configuration.
/// `take` may block while those before are being sent; false ends the reading. Blocking.
///
/// # Errors
/// See [`ArchiveError`]; layers that were taken are what their digests say nevertheless.
pub fn read(
    source: impl Read,
    wanted: &Wanted,
    mut take: impl FnMut(Spooled) -> bool,
) -> Result<String, ArchiveError> {
    let mut archive = Archive::new(source);
    let (mut documents, mut missing) = (Documents::default(), wanted.missing.clone());
    for (index, entry) in archive.entries().map_err(ArchiveError::Damaged)?.enumerate() {
        if index >= MOST_ENTRIES {
            return Err(ArchiveError::TooMany);
        }
        let entry = entry.map_err(ArchiveError::Damaged)?;
        if entry.header().entry_type() != EntryType::Regular {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if is_known(&name, wanted, &missing) {
            continue;
        }
        match entry::take(entry, name, &wanted.directory)? {
            Taken::Document { name, bytes } => {
                documents.add(name, bytes)?;
            }
            Taken::Layer(layer) if missing.remove(&layer.diff_id) => {
                if !take(layer) {
                    return Err(ArchiveError::Stopped);
                }
            }
            Taken::Layer(_) => {}
        }
    }
    if let Some(diff_id) = missing.pop_first() {
        return Err(ArchiveError::Lacks(diff_id));
    }
    let config = documents.config(&wanted.id, &wanted.diff_ids);
    let config = config.ok_or_else(|| ArchiveError::LacksConfig(wanted.id.to_string()))?;
    Config::read(config.as_bytes())?;
    Ok(config)
}

/// A layer that nobody wants, by its own word: if that is a lie, one that is wanted is not found in the end.
fn is_known(name: &str, wanted: &Wanted, missing: &BTreeSet<Digest>) -> bool {
    let Some(digest) = name.strip_prefix("blobs/sha256/").and_then(|hex| Digest::new(hex).ok()) else {
        return false;
    };
    wanted.diff_ids.contains(&digest) && !missing.contains(&digest)
}

#[cfg(test)]
mod tests;
