//! What releases are made from, on this machine's disk, named by the SHA-256 of its bytes: packed releases, and images'
//! descriptions and layers, which come by way of [`crate::layers`].
//!
//! A file under its final name is whole: it was written beside, checked, synced
//! and renamed. What no kept release needs is removed after a day.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use pando_api::v1::artifacts::ArtifactStored;
use pando_api::{ErrorBody, ErrorCode};
use pando_model::release::Digest;
use sha2::{Digest as _, Sha256};
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use crate::layers::Layers;

pub(crate) mod scrub;
mod whole;

pub use whole::Whole;

/// How long an artifact that no release needs is kept: somebody may be about to deploy it.
pub const UNUSED_FOR: Duration = Duration::from_secs(24 * 3600);

/// Bytes a second that an upload must make on the whole; a slower one holds a place that others wait for.
const SLOWEST: u64 = 16 * 1024;

const START: Duration = Duration::from_secs(60);

/// How long an upload may stand still.
const STALL: Duration = Duration::from_secs(30);

const UPLOADING: &str = ".upload-";

#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    #[error("the packed release is larger than the {most} bytes that are allowed")]
    TooLarge { most: u64 },
    #[error(
        "what was sent has the digest {found}, not {expected}: it was changed on its way, or while it was read"
    )]
    Digest { expected: Digest, found: String },
    #[error("nothing was sent for {} s", after.as_secs())]
    Stalled { after: Duration },
    #[error("the upload is too slow: {bytes} bytes in {} s", after.as_secs())]
    Slow { bytes: u64, after: Duration },
    #[error("the upload broke off: {0}")]
    BrokeOff(String),
    #[error("the disk with `{}` is full", path.display())]
    Full { path: PathBuf },
    #[error("can't keep the packed release in `{}`", path.display())]
    Disk { path: PathBuf, source: io::Error },
}

impl From<ArtifactError> for ErrorBody {
    fn from(error: ArtifactError) -> Self {
        let text = pando_rt::error_chain::error_chain(&error);
        match error {
            ArtifactError::TooLarge { .. } => ErrorBody::new(ErrorCode::TooLarge, text)
                .hint("leave out what the app does not need to run, with a .gitignore"),
            ArtifactError::Digest { .. }
            | ArtifactError::Stalled { .. }
            | ArtifactError::Slow { .. }
            | ArtifactError::BrokeOff(_) => ErrorBody::new(ErrorCode::Invalid, text),
            ArtifactError::Full { .. } => ErrorBody::new(ErrorCode::NoSpace, text)
                .hint("make room on the control server; nothing was changed"),
            ArtifactError::Disk { .. } => ErrorBody::new(ErrorCode::Internal, text),
        }
    }
}

/// What an artifact is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A packed directory.
    Packed,
    /// The description of an image.
    Image,
    /// A packed layer of images.
    Layer,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Packed, Self::Image, Self::Layer];

    fn suffix(self) -> &'static str {
        match self {
            Self::Packed => ".tar.gz",
            Self::Image => ".image.json",
            Self::Layer => ".layer.zst",
        }
    }

    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Packed => "application/gzip",
            Self::Image => "application/json",
            Self::Layer => "application/zstd",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Packed => "the packed release",
            Self::Image => "the description of an image",
            Self::Layer => "a layer of an image",
        })
    }
}

/// One that is open for reading.
#[derive(Debug)]
pub struct Stored {
    pub file: File,
    pub length: u64,
    pub kind: Kind,
}

/// The directory that holds them. Cheap to make.
#[derive(Debug, Clone, Copy)]
pub struct Artifacts<'a> {
    directory: &'a Path,
    /// An upload that sends nothing for so long is given up.
    stall: Duration,
    /// How long an upload may take beside a second for each [`SLOWEST`] bytes.
    start: Duration,
}

impl<'a> Artifacts<'a> {
    #[must_use]
    pub fn new(directory: &'a Path) -> Self {
        Self { directory, stall: STALL, start: START }
    }

    /// Where it lies, or would.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.path_of(digest, Kind::Packed)
    }

    /// The same, of whichever kind.
    #[must_use]
    pub fn path_of(&self, digest: &Digest, kind: Kind) -> PathBuf {
        self.directory.join(format!("{digest}{}", kind.suffix()))
    }

    /// Its length, if it is here. It counts as used from now, so a deploy that follows finds it.
    pub async fn touch(&self, digest: &Digest) -> Option<(Kind, u64)> {
        let paths = Kind::ALL.map(|kind| (kind, self.path_of(digest, kind)));
        let touched = tokio::task::spawn_blocking(move || {
            paths.into_iter().find_map(|(kind, path)| {
                let file = std::fs::File::options().append(true).open(path).ok()?;
                file.set_modified(SystemTime::now()).ok()?;
                Some((kind, file.metadata().ok()?.len()))
            })
        });
        touched.await.ok().flatten()
    }

    /// Opens it for reading.
    pub async fn open(&self, digest: &Digest) -> Option<Stored> {
        for kind in Kind::ALL {
            if let Ok(file) = File::open(self.path_of(digest, kind)).await {
                let length = file.metadata().await.ok()?.len();
                return Some(Stored { file, length, kind });
            }
        }
        None
    }

    /// Takes an upload of at most `most` bytes.
    ///
    /// # Errors
    /// See [`ArtifactError`]. Nothing is left behind then.
    pub async fn receive<E: std::fmt::Display>(
        &self,
        digest: &Digest,
        most: u64,
        pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<ArtifactStored, ArtifactError> {
        if let Some((_, bytes)) = self.touch(digest).await {
            return Ok(ArtifactStored { digest: digest.clone(), bytes, existed: true });
        }
        tokio::fs::create_dir_all(self.directory).await.map_err(|error| self.disk(error))?;
        let beside = Beside(self.directory.join(format!("{UPLOADING}{}", Uuid::now_v7())));
        let (bytes, found) = self.write(&beside.0, most, pieces).await?;
        if found != digest.as_str() {
            return Err(ArtifactError::Digest { expected: digest.clone(), found });
        }
        self.finish(&beside.0, &self.path(digest)).await.map_err(|error| self.disk(error))?;
        Ok(ArtifactStored { digest: digest.clone(), bytes, existed: false })
    }

    async fn write<E: std::fmt::Display>(
        &self,
        path: &Path,
        most: u64,
        mut pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<(u64, String), ArtifactError> {
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .await
            .map_err(|error| self.disk(error))?;
        let (mut length, mut hash, began) = (0u64, Sha256::new(), Instant::now());
        loop {
            let piece = tokio::time::timeout(self.stall, pieces.next()).await;
            let Some(piece) = piece.map_err(|_| ArtifactError::Stalled { after: self.stall })? else { break };
            let piece = piece.map_err(|error| ArtifactError::BrokeOff(error.to_string()))?;
            length += piece.len() as u64;
            if length > most {
                return Err(ArtifactError::TooLarge { most });
            }
            let after = began.elapsed();
            if after > self.start + Duration::from_secs(length / SLOWEST) {
                return Err(ArtifactError::Slow { bytes: length, after });
            }
            hash.update(&piece);
            file.write_all(&piece).await.map_err(|error| self.disk(error))?;
        }
        file.sync_all().await.map_err(|error| self.disk(error))?;
        Ok((length, hex::encode(hash.finalize())))
    }

    async fn finish(&self, beside: &Path, path: &Path) -> io::Result<()> {
        tokio::fs::rename(beside, path).await?;
        File::open(self.directory).await?.sync_all().await
    }

    fn disk(&self, source: io::Error) -> ArtifactError {
        let path = self.directory.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                ArtifactError::Full { path }
            }
            _ => ArtifactError::Disk { path, source },
        }
    }

    /// Removes artifacts that are not `needed` and were not used for [`UNUSED_FOR`] before `now`, and uploads that were left
    /// behind as long ago; how many files.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn sweep(&self, needed: &BTreeSet<Digest>, now: SystemTime) -> io::Result<usize> {
        let mut removed = 0;
        for file in self.unneeded(needed)? {
            removed += usize::from(file.remove(UNUSED_FOR, now)?);
        }
        Ok(removed)
    }

    /// Files of ours that are not of an artifact that is `needed`, and uploads, whether or not they are under way. Blocking.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn unneeded(&self, needed: &BTreeSet<Digest>) -> io::Result<Vec<Unneeded>> {
        let needed = &needed.union(&Layers::new(self.directory).names_of(needed)).cloned().collect();
        let files = match std::fs::read_dir(self.directory) {
            Ok(files) => files,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for file in files {
            let file = file?;
            if is_disposable(&file.file_name().to_string_lossy(), needed) {
                found.extend(Unneeded::look(file.path())?);
            }
        }
        Ok(found)
    }
}

/// A file that no kept release needs.
#[derive(Debug, Clone)]
pub struct Unneeded {
    path: PathBuf,
    used: SystemTime,
    /// What it takes on the disk.
    pub bytes: u64,
}

impl Unneeded {
    /// `None`: it is gone.
    fn look(path: PathBuf) -> io::Result<Option<Self>> {
        match path.metadata() {
            Ok(found) => Ok(Some(Self { used: found.modified()?, bytes: found.blocks() * 512, path })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    #[must_use]
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// For how long nobody has used it.
    #[must_use]
    pub fn idle(&self, now: SystemTime) -> Duration {
        now.duration_since(self.used).unwrap_or_default()
    }

    /// Removes it, if by now nobody has used it for so long before `now`. False: somebody did, or it is gone. Blocking.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn remove(&self, idle_for: Duration, now: SystemTime) -> io::Result<bool> {
        match Self::look(self.path.clone())? {
            Some(found) if found.idle(now) >= idle_for => std::fs::remove_file(&self.path).map(|()| true),
            _ => Ok(false),
        }
    }
}

/// What files are called behind their digest; a part is never needed.
const OURS: [&str; 5] = [".tar.gz", ".image.json", ".layer.zst", ".layer.json", ".image"];
const PART: &str = ".layer.part";

/// Only what is recognised as ours is ever removed.
fn is_disposable(name: &str, needed: &BTreeSet<Digest>) -> bool {
    let digest_before = |suffix: &&str| name.strip_suffix(*suffix).and_then(|text| Digest::new(text).ok());
    let unneeded = OURS.iter().find_map(digest_before).is_some_and(|digest| !needed.contains(&digest));
    name.starts_with(UPLOADING) || unneeded || digest_before(&PART).is_some()
}

/// A file that is removed unless it was renamed.
struct Beside(PathBuf);

impl Drop for Beside {
    fn drop(&mut self) {
        // After the rename there is none; otherwise it is of no use to anybody.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;

    fn digest_of(bytes: &[u8]) -> Digest {
        Digest::new(hex::encode(Sha256::digest(bytes))).unwrap()
    }

    fn pieces(parts: &[&[u8]]) -> impl Stream<Item = Result<Bytes, io::Error>> + Unpin {
        stream::iter(parts.iter().map(|part| Ok(Bytes::copy_from_slice(part))).collect::<Vec<_>>())
    }

    fn names(directory: &Path) -> Vec<String> {
        let files = std::fs::read_dir(directory).unwrap();
        files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[tokio::test]
    async fn an_upload_is_kept_whole_under_its_digest() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(directory.path());
        let digest = digest_of(b"hello world");
        assert_eq!(artifacts.touch(&digest).await, None);
        let stored = artifacts.receive(&digest, 11, pieces(&[b"hello ", b"world"])).await.unwrap();
        assert_eq!((stored.bytes, stored.existed), (11, false));
        assert_eq!(std::fs::read(artifacts.path(&digest)).unwrap(), b"hello world");
        let again = artifacts.receive(&digest, 11, pieces(&[])).await.unwrap();
        assert_eq!((again.bytes, again.existed), (11, true));
        assert_eq!(names(directory.path()).len(), 1);
    }

    #[tokio::test]
    async fn a_bad_upload_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(directory.path());
        let digest = digest_of(b"hello");
        let wrong = artifacts.receive(&digest, 99, pieces(&[b"other"])).await.unwrap_err();
        assert!(matches!(wrong, ArtifactError::Digest { .. }), "{wrong}");
        let large = artifacts.receive(&digest, 4, pieces(&[b"hel", b"lo"])).await.unwrap_err();
        assert!(matches!(large, ArtifactError::TooLarge { most: 4 }), "{large}");
        let broken = stream::iter([Ok(Bytes::from("he")), Err(io::Error::other("gone"))]);
        let broken = artifacts.receive(&digest, 99, broken).await.unwrap_err();
        assert!(matches!(broken, ArtifactError::BrokeOff(_)), "{broken}");
        assert!(names(directory.path()).is_empty());
    }

    #[tokio::test]
    async fn an_upload_that_stands_still_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let silent = stream::pending::<Result<Bytes, io::Error>>();
        let artifacts = Artifacts { stall: Duration::from_millis(20), ..Artifacts::new(directory.path()) };
        let error = artifacts.receive(&digest_of(b""), 9, silent).await.unwrap_err();
        assert!(matches!(error, ArtifactError::Stalled { .. }), "{error}");
        assert!(names(directory.path()).is_empty());
    }

    #[tokio::test]
    async fn an_upload_that_drips_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let drip = stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from("x")));
        let artifacts = Artifacts { start: Duration::from_millis(20), ..Artifacts::new(directory.path()) };
        let error = artifacts.receive(&digest_of(b""), 4096, slowly(drip)).await.unwrap_err();
        assert!(matches!(error, ArtifactError::Slow { .. }), "{error}");
        assert!(names(directory.path()).is_empty());
    }

    fn slowly<T>(items: impl Stream<Item = T>) -> impl Stream<Item = T> + Unpin {
        Box::pin(items.then(|item| async {
            tokio::time::sleep(Duration::from_millis(1)).await;
            item
        }))
    }

    #[tokio::test]
    async fn only_old_and_unneeded_files_of_ours_are_swept() {
        let directory = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::new(directory.path());
        let (needed, unneeded) = (digest_of(b"a"), digest_of(b"b"));
        artifacts.receive(&needed, 9, pieces(&[b"a"])).await.unwrap();
        artifacts.receive(&unneeded, 9, pieces(&[b"b"])).await.unwrap();
        std::fs::write(directory.path().join(".upload-x"), "").unwrap();
        std::fs::write(directory.path().join("README"), "not ours").unwrap();
        let keep = BTreeSet::from([needed.clone()]);
        assert_eq!(artifacts.sweep(&keep, SystemTime::now()).unwrap(), 0);
        let later = SystemTime::now() + UNUSED_FOR + Duration::from_secs(1);
        assert_eq!(artifacts.sweep(&keep, later).unwrap(), 2);
        assert!(artifacts.touch(&needed).await.is_some());
        assert!(directory.path().join("README").exists());
    }

    #[test]
    fn a_full_disk_is_told_from_other_faults() {
        let artifacts = Artifacts::new(Path::new("/somewhere"));
        for (raw, code) in [(28, ErrorCode::NoSpace), (122, ErrorCode::NoSpace), (5, ErrorCode::Internal)] {
            let body = ErrorBody::from(artifacts.disk(io::Error::from_raw_os_error(raw)));
            assert_eq!(body.code, code, "{}", body.message);
            assert!(body.message.contains("/somewhere"));
        }
    }
}
