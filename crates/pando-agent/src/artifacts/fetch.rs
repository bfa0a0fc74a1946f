//! Fetches one packed release into a file, going on after breaks, and trusts it only by its digest.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use pando_model::release::Digest;
use pando_model::resources;
use pando_rt::backoff::Backoff;
use pando_rt::shutdown::Shutdown;
use sha2::{Digest as _, Sha256};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::disk::{Places, disk_error};
use super::meter::Meter;
use super::{ArtifactError, ArtifactSource, Sent, SourceError, Whom};

/// Far more than source code and what it depends on take; less than fills most disks.
pub(super) const MAX_PACKED: u64 = 8_000_000_000;

const TRY_AGAIN: Backoff = Backoff { first: Duration::from_millis(50), most: Duration::from_secs(1) };

/// After so long without a byte another source is asked: this one may be gone without a word.
const QUIET: Duration = Duration::from_secs(5);

/// Whether it was fetched before.
pub(super) async fn is_here(places: &Places, digest: &Digest) -> bool {
    tokio::fs::try_exists(places.whole(digest)).await.unwrap_or(false)
}

/// Returns when it is there, whole, of at most `most` bytes. While the source is away it is asked again and again.
pub(super) async fn fetch(
    source: &impl ArtifactSource,
    places: &Places,
    (digest, most): (&Digest, u64),
    meter: &Meter<'_>,
    stopped: &Shutdown,
) -> Result<(), ArtifactError> {
    // Another release of the same content may have had its turn meanwhile.
    if is_here(places, digest).await {
        return Ok(());
    }
    let part = places.part(digest);
    tokio::select! {
        // What has come so far stays, for the next time.
        () = stopped.wait() => return Err(ArtifactError::Cancelled),
        fetched = fetch_part(source, Part::open(&part, most, meter).await?, digest) => fetched?,
    }
    let failed = |source| disk_error("rename", &part, source);
    tokio::fs::rename(&part, places.whole(digest)).await.map_err(failed)
}

async fn fetch_part(
    source: &impl ArtifactSource,
    mut part: Part<'_>,
    digest: &Digest,
) -> Result<(), ArtifactError> {
    let (mut tries, mut damaged) = (0, false);
    loop {
        let before = part.length;
        let whom = if damaged { Whom::ControlAlone } else { Whom::Anybody };
        match part.go_on(source, digest, whom).await? {
            Ok(()) if part.is(digest) => return part.finish().await,
            // What an earlier agent left may have been damaged by a crash, or what another server has; what the control plane
            // sends afresh may not.
            Ok(()) if damaged => {
                part.clear().await?;
                return Err(ArtifactError::Damaged(digest.clone()));
            }
            Ok(()) => {
                damaged = true;
                part.clear().await?;
            }
            Err(SourceError::Refused(why)) => return Err(ArtifactError::Refused(why)),
            Err(SourceError::Restart(_)) => part.clear().await?,
            Err(SourceError::Away(why)) => {
                tries = if part.length > before { 0 } else { tries + 1 };
                tracing::debug!("fetching {digest:?}: {why}; trying again");
                tokio::time::sleep(TRY_AGAIN.nth(tries)).await;
            }
        }
    }
}

/// As much as has come, and the digest of it.
struct Part<'a> {
    path: PathBuf,
    file: File,
    most: u64,
    length: u64,
    hash: Sha256,
    meter: &'a Meter<'a>,
}

impl<'a> Part<'a> {
    async fn open(path: &Path, most: u64, meter: &'a Meter<'a>) -> Result<Self, ArtifactError> {
        let failed = |source| disk_error("open", path, source);
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(path).await.map_err(failed)?;
        let (mut hash, mut length) = (Sha256::new(), 0);
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let count = file.read(&mut buffer).await.map_err(failed)?;
            if count == 0 {
                meter.add(length);
                return Ok(Self { path: path.to_owned(), file, most, length, hash, meter });
            }
            hash.update(&buffer[..count]);
            length += count as u64;
        }
    }

    /// Takes what comes until the source is at its end or breaks off.
    async fn go_on(
        &mut self,
        source: &impl ArtifactSource,
        digest: &Digest,
        whom: Whom,
    ) -> Result<Result<(), SourceError>, ArtifactError> {
        let Sent { left, mut pieces } = match source.fetch(digest, self.length, whom).await {
            Ok(sent) => sent,
            Err(error) => return Ok(Err(error)),
        };
        self.meter.expect(left);
        loop {
            match tokio::time::timeout(QUIET, pieces.next()).await {
                Ok(Some(Ok(piece))) => self.take(&piece).await?,
                Ok(Some(Err(error))) => return Ok(Err(error)),
                Ok(None) => return Ok(Ok(())),
                Err(_) => return Ok(Err(SourceError::Away(format!("nothing came for {QUIET:?}")))),
            }
        }
    }

    async fn take(&mut self, piece: &Bytes) -> Result<(), ArtifactError> {
        if self.length + piece.len() as u64 > self.most {
            self.clear().await?;
            return Err(ArtifactError::TooLarge(resources::Bytes(self.most)));
        }
        self.hash.update(piece);
        self.length += piece.len() as u64;
        self.meter.add(piece.len() as u64);
        match self.write(piece).await {
            Ok(()) => Ok(()),
            Err(error) => {
                // A disk that is full stays so as long as this lies on it.
                let _ = self.clear().await;
                Err(disk_error("write", &self.path, error))
            }
        }
    }

    /// Flushed, so that a full disk is noticed with the piece that found it full.
    async fn write(&mut self, piece: &Bytes) -> io::Result<()> {
        self.file.write_all(piece).await?;
        self.file.flush().await
    }

    fn is(&self, digest: &Digest) -> bool {
        hex::encode(self.hash.clone().finalize()) == digest.as_str()
    }

    async fn clear(&mut self) -> Result<(), ArtifactError> {
        self.meter.take_back(self.length);
        *self = match tokio::fs::remove_file(&self.path).await {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(disk_error("remove", &self.path, error));
            }
            _ => Self::open(&self.path, self.most, self.meter).await?,
        };
        Ok(())
    }

    async fn finish(self) -> Result<(), ArtifactError> {
        self.file.sync_all().await.map_err(|source| disk_error("write", &self.path, source))
    }
}
