//! One file of an archive: a small one may be a description, any may be a layer.

use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use flate2::read::MultiGzDecoder;

use super::{ArchiveError, Spooled};
use crate::frames;
use crate::hash::Hashing;
use crate::image::{MOST_DESCRIPTION, MOST_LAYER};

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

pub(super) enum Taken {
    Document { name: String, bytes: Vec<u8> },
    Layer(Spooled),
}

/// Reads it whole.
pub(super) fn take(mut from: impl Read, name: String, directory: &Path) -> Result<Taken, ArchiveError> {
    let mut head = Vec::new();
    let limit = MOST_DESCRIPTION as u64;
    let damaged = ArchiveError::Damaged;
    from.by_ref().take(4096).read_to_end(&mut head).map_err(damaged)?;
    // A tar may begin with this, too, if its first file is named so: such a layer is too short to be sent, or not JSON.
    if head.first() == Some(&b'{') || head.first() == Some(&b'[') {
        from.by_ref().take(limit - head.len() as u64).read_to_end(&mut head).map_err(damaged)?;
        if serde_json::from_slice::<serde::de::IgnoredAny>(&head).is_ok() {
            return Ok(Taken::Document { name, bytes: head });
        }
    }
    let compressed = [GZIP, ZSTD].into_iter().find(|magic| head.starts_with(magic));
    let whole = BufReader::with_capacity(256 * 1024, io::Cursor::new(head).chain(from));
    let spooled = match compressed {
        Some(magic) if magic == GZIP => spool(MultiGzDecoder::new(whole), directory),
        Some(_) => spool(frames::unpacked(whole).map_err(damaged)?, directory),
        None => spool(whole, directory),
    };
    spooled.map(Taken::Layer)
}

fn spool(from: impl Read, directory: &Path) -> Result<Spooled, ArchiveError> {
    let failed = |error| ArchiveError::disk(directory, error);
    let mut from = Hashing::new(from.take(MOST_LAYER + 1));
    let mut file = tempfile::tempfile_in(directory).map_err(failed)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ArchiveError::Damaged(error)),
        };
        file.write_all(&buffer[..count]).map_err(failed)?;
    }
    let (diff_id, bytes) = from.finish();
    if bytes > MOST_LAYER {
        return Err(ArchiveError::LayerTooLarge);
    }
    Ok(Spooled { diff_id, bytes, file })
}
