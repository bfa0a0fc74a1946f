//! The bytes of a packed release: nothing of the machine, the user or the hour is in them.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::PackError;
use super::walk::{Entry, Kind};

pub(super) fn write<W: Write>(
    directory: &Path,
    entries: &[Entry],
    out: W,
    failed: &dyn Fn(io::Error) -> PackError,
) -> Result<W, PackError> {
    let mut builder = Builder::new(out);
    for entry in entries {
        append(&mut builder, directory, entry, failed)?;
    }
    builder.into_inner().map_err(failed)
}

fn append<W: Write>(
    builder: &mut Builder<W>,
    directory: &Path,
    entry: &Entry,
    failed: &dyn Fn(io::Error) -> PackError,
) -> Result<(), PackError> {
    let appended = match &entry.kind {
        Kind::Directory => {
            builder.append_data(&mut header(EntryType::Directory, 0o755, 0), &entry.path, io::empty())
        }
        Kind::Link { target } => {
            builder.append_link(&mut header(EntryType::Symlink, 0o777, 0), &entry.path, target)
        }
        Kind::File { bytes, executable } => {
            return append_file(builder, directory, entry, *bytes, *executable, failed);
        }
    };
    appended.map_err(failed)
}

fn append_file<W: Write>(
    builder: &mut Builder<W>,
    directory: &Path,
    entry: &Entry,
    bytes: u64,
    executable: bool,
    failed: &dyn Fn(io::Error) -> PackError,
) -> Result<(), PackError> {
    let path = directory.join(&entry.path);
    let unreadable = |source| PackError::Read { path: path.clone(), source };
    let file = File::open(&path).map_err(unreadable)?;
    let mut reading = Reading { file: file.take(bytes), bytes: 0, failed: None };
    let mode = if executable { 0o755 } else { 0o644 };
    let appended =
        builder.append_data(&mut header(EntryType::Regular, mode, bytes), &entry.path, &mut reading);
    if let Some(source) = reading.failed {
        return Err(unreadable(source));
    }
    appended.map_err(failed)?;
    // Shorter or longer than its header says: the archive would be damaged, or hold half a file.
    let length = reading.file.into_inner().metadata().map_err(unreadable)?.len();
    if reading.bytes == bytes && length == bytes { Ok(()) } else { Err(PackError::Changed(path)) }
}

fn header(kind: EntryType, mode: u32, bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(bytes);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header
}

/// Tells a failing read from a failing write.
struct Reading {
    file: io::Take<File>,
    bytes: u64,
    failed: Option<io::Error>,
}

impl io::Read for Reading {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.file.read(buffer) {
            Ok(read) => {
                self.bytes += read as u64;
                Ok(read)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Err(error),
            Err(error) => {
                let kind = error.kind();
                self.failed = Some(error);
                Err(kind.into())
            }
        }
    }
}
