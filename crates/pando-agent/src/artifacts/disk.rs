//! What lies where, and the steps that a crash may fall between. Everything here blocks.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io::{self, ErrorKind};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pando_model::assignment::AssignedRelease;
use pando_model::name::AppName;
use pando_model::release::{Digest, ReleaseNumber};
use pando_model::resources::Bytes;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt;

use super::unpack::{self, UnpackError};
use super::{ArtifactError, assets};
use crate::reconcile::{OnDisk, ReleaseKey};

/// Not the name of any app.
const FETCHED: &str = ".fetched";
const NAMELESS: &str = ".nameless";

#[derive(Debug, Clone)]
pub(super) struct Places {
    root: PathBuf,
    /// Releases reach into each other's assets: one does at a time.
    assets: Arc<Mutex<()>>,
}

/// The content of `vN.json`.
#[derive(Debug, Serialize, Deserialize)]
struct Seal {
    artifact: Digest,
}

impl Places {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, assets: Arc::default() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn whole(&self, digest: &Digest) -> PathBuf {
        self.root.join(FETCHED).join(digest.as_str())
    }

    pub(super) fn part(&self, digest: &Digest) -> PathBuf {
        self.root.join(FETCHED).join(format!("{digest}.part"))
    }

    /// Where packed releases and layers lie.
    pub(super) fn fetched(&self) -> PathBuf {
        self.root.join(FETCHED)
    }

    pub(super) fn staging(&self, key: &ReleaseKey) -> PathBuf {
        self.root.join(key.0.as_str()).join(format!("{}.tmp", key.1))
    }

    /// To be held while the assets of several releases are looked at or changed. Never across an await.
    pub(super) fn assets_turn(&self) -> MutexGuard<'_, ()> {
        self.assets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn app(&self, key: &ReleaseKey) -> PathBuf {
        self.root.join(key.0.as_str())
    }

    /// What its replicas and those of other releases serve.
    pub(super) fn assets(&self, key: &ReleaseKey) -> PathBuf {
        self.app(key).join(format!("{}.assets", key.1))
    }

    pub(super) fn directory(&self, key: &ReleaseKey) -> PathBuf {
        self.root.join(key.0.as_str()).join(key.1.to_string())
    }

    /// There as long as the engine may have an image under the release's name.
    pub(super) fn image(&self, key: &ReleaseKey) -> PathBuf {
        self.root.join(key.0.as_str()).join(format!("{}.image", key.1))
    }

    /// All that a plain release may have here, and the assets of any.
    pub(super) fn all_of(&self, key: &ReleaseKey) -> [PathBuf; 4] {
        [self.directory(key), self.staging(key), self.seal(key), self.assets(key)]
    }

    /// A file for each image that we brought, that lost its last name, and that the engine has nevertheless.
    pub(super) fn nameless(&self) -> PathBuf {
        self.root.join(NAMELESS)
    }

    fn seal(&self, key: &ReleaseKey) -> PathBuf {
        self.root.join(key.0.as_str()).join(format!("{}.json", key.1))
    }
}

pub(super) fn disk_error(what: &'static str, path: &Path, source: io::Error) -> ArtifactError {
    if matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded) {
        return ArtifactError::Full { path: path.to_owned() };
    }
    ArtifactError::Disk { what, path: path.to_owned(), source }
}

/// Makes what is missing and answers which releases there are, in whole or in part.
pub(super) fn scan(places: &Places) -> Result<Vec<OnDisk>, ArtifactError> {
    // The apps' own users pass through to their releases, and see no names of others'.
    make_directory(&places.root, 0o711)?;
    make_directory(&places.root.join(FETCHED), 0o700)?;
    let mut found: BTreeSet<ReleaseKey> = BTreeSet::new();
    for name in names_in(&places.root)? {
        let Ok(app) = AppName::new(name.as_str()) else { continue };
        for name in names_in(&places.root.join(&name))? {
            found.extend(release_of(&name).map(|release| (app.clone(), release)));
        }
    }
    let on_disk = |release: ReleaseKey| OnDisk { sealed: sealed(places, &release), release };
    Ok(found.into_iter().map(on_disk).collect())
}

/// `v7`, `v7.tmp`, `v7.json`, `v7.image` and `v7.assets` are all signs of v7.
pub(super) fn release_of(name: &str) -> Option<ReleaseNumber> {
    let stem =
        [".tmp", ".json", ".image", ".assets"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
    stem.strip_prefix('v')?.parse().ok()
}

pub(super) fn names_in(directory: &Path) -> Result<Vec<String>, ArtifactError> {
    let failed = |source| disk_error("read", directory, source);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}

pub(super) fn make_directory(path: &Path, mode: u32) -> Result<(), ArtifactError> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(path);
    made.map_err(|source| disk_error("make", path, source))
}

/// What a complete release is made from.
fn sealed(places: &Places, key: &ReleaseKey) -> Option<Digest> {
    places.directory(key).is_dir().then(|| read_seal(places, key)).flatten().map(|seal| seal.artifact)
}

fn read_seal(places: &Places, key: &ReleaseKey) -> Option<Seal> {
    serde_json::from_slice(&fs::read(places.seal(key)).ok()?).ok()
}

/// All of a file that is not larger.
pub(super) async fn read_at_most(path: &Path, most: u64) -> Result<Vec<u8>, ArtifactError> {
    let failed = |source| disk_error("read", path, source);
    let mut bytes = Vec::new();
    let file = tokio::fs::File::open(path).await.map_err(failed)?;
    file.take(most + 1).read_to_end(&mut bytes).await.map_err(failed)?;
    if bytes.len() as u64 > most { Err(ArtifactError::TooLarge(Bytes(most))) } else { Ok(bytes) }
}

pub(super) async fn remove_file(path: &Path) -> Result<(), ArtifactError> {
    there(tokio::fs::remove_file(path).await).map_err(|source| disk_error("remove", path, source))
}

/// True when the release is there and made from `wanted`. Otherwise nothing is left of it.
pub(super) fn clear_unless(
    places: &Places,
    key: &ReleaseKey,
    wanted: &Digest,
) -> Result<bool, ArtifactError> {
    if sealed(places, key).as_ref() == Some(wanted) {
        return Ok(true);
    }
    remove(places, key)?;
    make_directory(&places.root.join(key.0.as_str()), 0o711)?;
    Ok(false)
}

/// Unpacks, and makes sure that it is on disk. What was begun is removed when it fails.
pub(super) fn unpack(order: &unpack::Order, cancelled: &AtomicBool) -> Result<(), ArtifactError> {
    let unpacked = unpack::unpack(order, cancelled).map_err(|error| match error {
        UnpackError::Disk { path, source } => disk_error("write", &path, source),
        other => other.into(),
    });
    let unpacked = unpacked.and_then(|()| sync(&order.into));
    if unpacked.is_err() {
        // The first error is the one to tell; what stays is cleared by the next try.
        let _ = remove_tree(&order.into);
    }
    unpacked
}

/// Everything below is on disk after this. One call for the whole file system takes less than one for each file.
pub(super) fn sync(path: &Path) -> Result<(), ArtifactError> {
    let failed = |source| disk_error("sync", path, source);
    let directory = fs::File::open(path).map_err(failed)?;
    rustix::fs::syncfs(&directory).map_err(|error| failed(error.into()))
}

/// The seal comes last: a crash before it leaves something that is cleared.
pub(super) fn seal(
    places: &Places,
    key: &ReleaseKey,
    release: &AssignedRelease,
) -> Result<(), ArtifactError> {
    let (staging, directory) = (places.staging(key), places.directory(key));
    sync(&staging)?;
    fs::rename(&staging, &directory).map_err(|source| disk_error("rename", &staging, source))?;
    let Some(artifact) = release.artifact.clone() else { return Ok(()) };
    let seal = Seal { artifact };
    let path = places.seal(key);
    let failed = |source| disk_error("write", &path, source);
    let bytes = serde_json::to_vec(&seal).map_err(|error| failed(error.into()))?;
    // It syncs the directory that holds both.
    pando_rt::fs::write_atomically(&path, &bytes, 0o600).map_err(failed)
}

/// Whatever there is of it. The seal goes first: half a release must not look whole.
pub(super) fn remove(places: &Places, key: &ReleaseKey) -> Result<(), ArtifactError> {
    let seal = places.seal(key);
    let unsealed = there(fs::remove_file(&seal));
    unsealed.map_err(|source| disk_error("remove", &seal, source))?;
    assets::retire(places, key)?;
    remove_tree(&places.directory(key))?;
    remove_tree(&places.staging(key))?;
    // Of use to nobody when it was the app's last; in use, it is not empty.
    let _ = fs::remove_dir(places.root.join(key.0.as_str()));
    Ok(())
}

pub(super) fn remove_tree(path: &Path) -> Result<(), ArtifactError> {
    there(fs::remove_dir_all(path)).map_err(|source| disk_error("remove", path, source))
}

/// What is not there needs no removal.
pub(super) fn there(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })
}
