//! Packs a directory into a release: a tar.gz that is the same, byte by byte,
//! whenever and wherever the same files are packed.
//!
//! Left out: `.git` and `.pando`, what git ignores, and what a `.pandoignore` in
//! the directory says, which has the last word (`!bin/` brings back what git
//! ignores). What can't be in a release is an error, or is said in a note.

mod archive;
mod link;
mod walk;

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use flate2::Compression;
use flate2::write::GzEncoder;
use pando_model::release::Digest;
use pando_model::resources::Bytes;
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;

/// A packed directory, in a file that is removed with this value.
#[derive(Debug)]
pub(crate) struct Packed {
    file: NamedTempFile,
    /// The SHA-256 of the file.
    pub(crate) digest: Digest,
    /// How large the file is.
    pub(crate) bytes: u64,
    /// How many files are in it; directories don't count.
    pub(crate) files: u64,
    /// What was left out though nobody asked for it, a line each.
    pub(crate) notes: Vec<String>,
}

impl Packed {
    pub(crate) fn path(&self) -> &Path {
        self.file.path()
    }
}

/// What a release may be at most. A release larger than this carries what does not belong into one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Of the packed file; as much as a control plane takes.
    pub(crate) packed: u64,
    pub(crate) files: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { packed: 2 << 30, files: 1_000_000 }
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum PackError {
    #[error("can't read {}", shown(.path))]
    Read { path: PathBuf, source: io::Error },
    #[error("can't look through {}", shown(.path))]
    Walk { path: PathBuf, source: ignore::Error },
    #[error("can't write the packed release in {}", shown(.directory))]
    Write { directory: PathBuf, source: io::Error },
    #[error("nothing is left to pack in {}", shown(.0))]
    Empty(PathBuf),
    #[error("{} changed while it was packed", shown(.0))]
    Changed(PathBuf),
    #[error("{}", escaping(.0))]
    Escapes(Vec<Escape>),
    #[error("the packed release is larger than {}", Bytes(*.0))]
    TooLarge(u64),
    #[error("there are more than {0} files to pack")]
    TooMany(u64),
    #[error("packing was stopped")]
    Stopped,
}

/// A symbolic link that leads out of the directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Escape {
    /// Relative to the directory.
    pub(crate) link: PathBuf,
    pub(crate) target: PathBuf,
}

impl PackError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } | Self::Walk { .. } => {
                "make it readable, or leave it out with a line in .pandoignore"
            }
            Self::Write { .. } => "make room there, or set TMPDIR to a directory that has some",
            Self::Empty(_) => {
                "git's ignore files leave everything out; a line such as `!bin/` in .pandoignore brings it back"
            }
            Self::Changed(_) => {
                "try again when nothing writes to it, or leave it out with a line in .pandoignore"
            }
            Self::Escapes(_) => {
                "put what they lead to inside, or leave the links out with a line each in .pandoignore"
            }
            Self::TooLarge(_) | Self::TooMany(_) => {
                "leave out what the app does not need, with lines in .pandoignore"
            }
            Self::Stopped => "start it again",
        }
    }
}

fn shown(path: &Path) -> String {
    format!("`{}`", path.display())
}

fn escaping(escapes: &[Escape]) -> String {
    let one = |escape: &Escape| format!("`{}` leads to `{}`", escape.link.display(), escape.target.display());
    let all: Vec<String> = escapes.iter().map(one).collect();
    format!("symbolic links lead out of the directory: {}", all.join(", "))
}

/// Packs `directory`, until `stop` is set.
///
/// # Errors
/// See [`PackError`]; nothing is left behind then.
pub(crate) fn pack(directory: &Path, limits: Limits, stop: &AtomicBool) -> Result<Packed, PackError> {
    let found = walk::walk(directory, limits.files, stop)?;
    let place = std::env::temp_dir();
    let unwritable = |source| PackError::Write { directory: place.clone(), source };
    let mut file =
        tempfile::Builder::new().prefix("pando-").suffix(".tar.gz").tempfile().map_err(unwritable)?;
    let sink = Sink::new(file.as_file_mut(), limits.packed, stop);
    // Level 3: a release crosses a private network once, and a person waits for the packing.
    let encoder = GzEncoder::new(sink, Compression::new(3));
    let failed = |error: io::Error| match error.get_ref() {
        Some(inner) if inner.is::<OverLimit>() => PackError::TooLarge(limits.packed),
        Some(inner) if inner.is::<WasStopped>() => PackError::Stopped,
        _ => unwritable(error),
    };
    let encoder = archive::write(directory, &found.entries, encoder, &failed)?;
    let (hash, bytes) = encoder.finish().and_then(Sink::finish).map_err(failed)?;
    let digest = Digest::new(hash).map_err(|error| unwritable(io::Error::other(error)))?;
    Ok(Packed { file, digest, bytes, files: found.files, notes: found.notes })
}

#[derive(Debug, thiserror::Error)]
#[error("over the limit")]
struct OverLimit;

#[derive(Debug, thiserror::Error)]
#[error("stopped")]
struct WasStopped;

/// Writes to the file, hashes and counts.
struct Sink<'a> {
    out: io::BufWriter<&'a mut File>,
    hash: Sha256,
    bytes: u64,
    most: u64,
    stop: &'a AtomicBool,
}

impl<'a> Sink<'a> {
    fn new(file: &'a mut File, most: u64, stop: &'a AtomicBool) -> Self {
        Self { out: io::BufWriter::with_capacity(256 << 10, file), hash: Sha256::new(), bytes: 0, most, stop }
    }

    /// The hash in hexadecimal digits, and the bytes.
    fn finish(mut self) -> io::Result<(String, u64)> {
        self.out.flush()?;
        Ok((hex::encode(self.hash.finalize()), self.bytes))
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other(WasStopped));
        }
        let written = self.out.write(buffer)?;
        self.hash.update(&buffer[..written]);
        self.bytes += written as u64;
        if self.bytes > self.most { Err(io::Error::other(OverLimit)) } else { Ok(written) }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
