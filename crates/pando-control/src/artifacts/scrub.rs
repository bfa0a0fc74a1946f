//! A disk that damaged one file may have damaged others: all that lie here are looked at once one was found.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use pando_model::release::Digest;
use pando_rt::shutdown::Shutdown;
use sha2::{Digest as _, Sha256};

use super::Kind;
use crate::shared::Shared;

const PIECE: usize = 1 << 20;

/// What a look at all of them found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Scrubbed {
    looked_at: usize,
    removed: usize,
}

/// Looks through the whole directory beside everything else, unless that is being done.
pub(crate) fn begin(shared: &Arc<Shared>) {
    let Ok(turn) = shared.scrubs.clone().try_acquire_owned() else { return };
    let (directory, shutdown) = (shared.settings.artifact_dir.clone(), shared.shutdown.clone());
    let look = tokio::task::spawn_blocking(move || (scrub(&directory, &shutdown), turn));
    shared.tasks.spawn(async move {
        match look.await {
            Ok((Ok(Scrubbed { looked_at, removed }), _)) => tracing::warn!(
                "looked through {looked_at} packed releases and layers after damage was found: {removed} more were damaged"
            ),
            Ok((Err(error), _)) => tracing::warn!("can't look through the packed releases: {error}"),
            Err(error) => tracing::error!("looking through the packed releases failed: {error}"),
        }
    });
}

/// Reads every artifact in `directory` and removes those that are not what they are called. One that can't be read stays, and is
/// told: whoever fetches it learns the same. Ends early when the process does.
fn scrub(directory: &Path, shutdown: &Shutdown) -> io::Result<Scrubbed> {
    let mut found = Scrubbed::default();
    for entry in std::fs::read_dir(directory)? {
        if shutdown.has_begun() {
            break;
        }
        let path = entry?.path();
        let Some(digest) = digest_in(&path) else { continue };
        match is_whole(&path, &digest) {
            Ok(true) => found.looked_at += 1,
            Ok(false) => {
                found.looked_at += 1;
                found.removed += usize::from(remove_damaged(&path));
            }
            // Swept meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!("can't read `{}`: {error}; look after the disk", path.display()),
        }
    }
    Ok(found)
}

/// Removes one that is not what it is called, and says so; whether it is gone.
pub(super) fn remove_damaged(path: &Path) -> bool {
    tracing::warn!("`{}` was damaged on this disk, and is removed; look after the disk", path.display());
    match std::fs::remove_file(path) {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!("can't remove `{}`: {error}", path.display());
            false
        }
    }
}

fn digest_in(path: &Path) -> Option<Digest> {
    let name = path.file_name()?.to_str()?;
    Kind::ALL.iter().find_map(|kind| Digest::new(name.strip_suffix(kind.suffix())?).ok())
}

fn is_whole(path: &Path, digest: &Digest) -> io::Result<bool> {
    let (mut file, mut hash, mut piece) = (File::open(path)?, Sha256::new(), vec![0; PIECE]);
    loop {
        match file.read(&mut piece) {
            Ok(0) => return Ok(hex::encode(hash.finalize()) == digest.as_str()),
            Ok(length) => hash.update(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use pando_image::hash::digest_of;

    use super::*;

    #[test]
    fn all_that_are_damaged_go_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let put = |content: &[u8], meant: &[u8], suffix: &str| {
            let path = root.path().join(format!("{}{suffix}", digest_of(meant)));
            std::fs::write(&path, content).unwrap();
            path
        };
        let whole = put(b"layer", b"layer", ".layer.zst");
        let damaged = [put(b"lager", b"other", ".layer.zst"), put(b"", b"image", ".image.json")];
        let record = put(b"{}", b"a record is called by what it is about", ".layer.json");
        let part = put(b"lay", b"layer", ".layer.part");
        let foreign = root.path().join("README");
        std::fs::write(&foreign, "not ours").unwrap();
        assert_eq!(scrub(root.path(), &Shutdown::new()).unwrap(), Scrubbed { looked_at: 3, removed: 2 });
        assert!([whole, record, part, foreign].iter().all(|path| path.exists()));
        assert!(!damaged.iter().any(|path| path.exists()));
    }
}
