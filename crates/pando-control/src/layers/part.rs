//! As much of a layer as has come.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use pando_image::frames::{FrameError, Frames, Mark};
use pando_image::hash::Hashing;
use pando_image::image::MOST_LAYER;
use pando_model::release::Digest;
use tokio::io::AsyncWriteExt;

pub(super) struct Part {
    path: PathBuf,
    file: tokio::fs::File,
    frames: Frames,
}

impl Part {
    /// How far the whole frames reach that lie in a file. Blocking.
    pub(super) fn look(path: &Path) -> io::Result<Mark> {
        Ok(read(&mut File::open(path)?)?.whole())
    }

    /// Opens or makes it, without what came of a frame that did not come whole. Blocking.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let frames = read(&mut file)?;
        file.set_len(frames.whole().packed)?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { path: path.to_owned(), file: tokio::fs::File::from_std(file), frames })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn whole(&self) -> Mark {
        self.frames.whole()
    }

    pub(super) fn is_whole(&self) -> bool {
        self.frames.is_whole()
    }

    pub(super) fn digest(&self) -> Digest {
        self.frames.digest()
    }

    pub(super) fn feed(&mut self, piece: &Bytes) -> Result<(), FrameError> {
        self.frames.feed(piece)
    }

    /// Flushed, so that a full disk is noticed with the piece that found it full.
    pub(super) async fn write(&mut self, piece: &Bytes) -> io::Result<()> {
        self.file.write_all(piece).await?;
        self.file.flush().await
    }

    pub(super) async fn remove(&mut self) -> io::Result<()> {
        tokio::fs::remove_file(&self.path).await
    }

    /// The digest of the packed layer, which is on disk then. Blocking.
    pub(super) fn sync_and_hash(&self) -> io::Result<Digest> {
        let file = File::open(&self.path)?;
        file.sync_all()?;
        let mut hashing = Hashing::new(file);
        io::copy(&mut hashing, &mut io::sink())?;
        Ok(hashing.finish().0)
    }
}

/// As far as it is whole; what is damaged ends it there.
fn read(file: &mut File) -> io::Result<Frames> {
    let mut frames = Frames::new(MOST_LAYER)?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 || frames.feed(&buffer[..count]).is_err() {
            frames.back_to_whole()?;
            return Ok(frames);
        }
    }
}
