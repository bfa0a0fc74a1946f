//! Layers of images on this machine's disk, beside the packed releases.
//!
//! ```text
//! PACKED.layer.zst     a packed layer under the digest of its bytes, as servers fetch it
//! DIFF_ID.layer.json   the layer of that tar: which file it is; written last
//! DIFF_ID.layer.part   as much of one as has come
//! DIGEST.image.json    the description of an image, as a release names it
//! ID.image             the digest of the description of the image with that configuration
//! ```
//!
//! A layer is stored once, whoever sends it. One that breaks off is kept as far as
//! whole frames came, and goes on from there, after a restart too. What lies here
//! was unpacked and had the digest that it goes by.

mod part;
mod turns;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use pando_api::v1::images::LayerState;
use pando_api::{ErrorBody, ErrorCode};
use pando_image::hash::digest_of;
use pando_image::image::{Image, ImageError, Layer, MOST_DESCRIPTION};
use pando_image::space::{Disk, NoRoom};
use pando_model::release::Digest;

use part::Part;
pub use turns::{Turn, Turns};

/// How long an upload may stand still.
const STALL: Duration = Duration::from_secs(30);

/// How many bytes come between two looks at the disk, which holds the store as well.
const LOOK: u64 = 64 << 20;

#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error("{have} bytes of this layer are here, so it goes on there and not at {from}")]
    Elsewhere { from: u64, have: u64 },
    #[error(
        "what was sent has the digest {found}, not {expected}: it was changed on its way, or while it was read"
    )]
    Digest { expected: Digest, found: Digest },
    #[error("what was sent is no packed layer: {0}")]
    Frames(#[from] pando_image::frames::FrameError),
    #[error("nothing was sent for {} s", after.as_secs())]
    Stalled { after: Duration },
    #[error("the upload broke off: {0}")]
    BrokeOff(String),
    #[error("somebody else sends this layer")]
    TakenOver,
    #[error("the image names the layer {0}, which is not here")]
    Lacks(Digest),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error("the disk with `{}` is full", path.display())]
    Full { path: PathBuf },
    #[error("can't keep the layer in `{}`", path.display())]
    Disk { path: PathBuf, source: io::Error },
}

impl From<LayerError> for ErrorBody {
    fn from(error: LayerError) -> Self {
        let text = pando_rt::error_chain::error_chain(&error);
        let code = match error {
            LayerError::Elsewhere { .. } => ErrorCode::Conflict,
            LayerError::TakenOver => ErrorCode::Busy,
            LayerError::Digest { .. }
            | LayerError::Frames(_)
            | LayerError::Stalled { .. }
            | LayerError::BrokeOff(_)
            | LayerError::Lacks(_)
            | LayerError::Image(_) => ErrorCode::Invalid,
            LayerError::Full { .. } | LayerError::NoRoom(_) => ErrorCode::NoSpace,
            LayerError::Disk { .. } => ErrorCode::Internal,
        };
        let body = ErrorBody::new(code, text);
        if code == ErrorCode::NoSpace { body.hint("make room on the control server") } else { body }
    }
}

/// The directory that holds them. Cheap to make.
#[derive(Debug, Clone)]
pub struct Layers {
    directory: PathBuf,
    stall: Duration,
}

impl Layers {
    #[must_use]
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), stall: STALL }
    }

    fn packed(&self, digest: &Digest) -> PathBuf {
        self.directory.join(format!("{digest}.layer.zst"))
    }

    fn record(&self, diff_id: &Digest) -> PathBuf {
        self.directory.join(format!("{diff_id}.layer.json"))
    }

    fn part(&self, diff_id: &Digest) -> PathBuf {
        self.directory.join(format!("{diff_id}.layer.part"))
    }

    fn description(&self, digest: &Digest) -> PathBuf {
        self.directory.join(format!("{digest}.image.json"))
    }

    fn link(&self, id: &Digest) -> PathBuf {
        self.directory.join(format!("{id}.image"))
    }

    /// The layer, if all of it is here. It counts as used from now. Blocking.
    fn here(&self, diff_id: &Digest) -> Option<Layer> {
        let record = self.record(diff_id);
        let layer: Layer = serde_json::from_slice(&std::fs::read(&record).ok()?).ok()?;
        let file = touch(&self.packed(&layer.packed)).ok()?;
        touch(&record).ok()?;
        (file.len() == layer.packed_bytes && layer.diff_id == *diff_id).then_some(layer)
    }

    /// How much of a layer is here. Blocking, as long as it takes to read what came of it.
    ///
    /// # Errors
    /// Whatever the disk answers.
    pub fn state(&self, diff_id: &Digest) -> Result<LayerState, LayerError> {
        if let Some(layer) = self.here(diff_id) {
            return Ok(LayerState::Here(layer));
        }
        let path = self.part(diff_id);
        if !path.exists() {
            return Ok(LayerState::Part { bytes: 0 });
        }
        let part = Part::look(&path).map_err(|error| self.disk(error))?;
        touch(&path).map_err(|error| self.disk(error))?;
        Ok(LayerState::Part { bytes: part.raw })
    }

    /// Takes an upload that goes on at byte `from` of the layer, as long as the turn is its own.
    ///
    /// # Errors
    /// See [`LayerError`]. What came in whole frames stays, but of a layer that is not what it claims, or when the disk is full.
    pub async fn receive<E: std::fmt::Display>(
        &self,
        turn: &Turn,
        from: u64,
        mut pieces: impl Stream<Item = Result<Bytes, E>> + Unpin,
    ) -> Result<Layer, LayerError> {
        let diff_id = turn.diff_id().clone();
        let (this, of) = (self.clone(), diff_id.clone());
        let opened = blocking(move || this.open(&of)).await?;
        let mut part = match opened {
            Opened::Here(layer) => return Ok(layer),
            Opened::Part(part) => part,
        };
        let have = part.whole().raw;
        if have != from {
            return Err(LayerError::Elsewhere { from, have });
        }
        let mut unlooked = 0;
        loop {
            let piece = tokio::time::timeout(self.stall, pieces.next()).await;
            let Some(piece) = piece.map_err(|_| LayerError::Stalled { after: self.stall })? else { break };
            let piece = piece.map_err(|error| LayerError::BrokeOff(error.to_string()))?;
            if !turn.moved() {
                return Err(LayerError::TakenOver);
            }
            self.write(&mut part, &piece).await?;
            unlooked += piece.len() as u64;
            if unlooked >= LOOK {
                unlooked = 0;
                self.check_room()?;
            }
        }
        let (this, of) = (self.clone(), diff_id);
        blocking(move || this.finish(&of, &part)).await
    }

    fn open(&self, diff_id: &Digest) -> Result<Opened, LayerError> {
        if let Some(layer) = self.here(diff_id) {
            return Ok(Opened::Here(layer));
        }
        std::fs::create_dir_all(&self.directory).map_err(|error| self.disk(error))?;
        self.check_room()?;
        Ok(Opened::Part(Box::new(Part::open(&self.part(diff_id)).map_err(|error| self.disk(error))?)))
    }

    /// What came so far stays: it goes on once there is room.
    fn check_room(&self) -> Result<(), LayerError> {
        let disk = Disk::of(&self.directory).map_err(|error| self.disk(error))?;
        Ok(disk.check(&self.directory, 1)?)
    }

    /// What is no layer, or does not fit, is of no use to anybody who would go on.
    async fn write(&self, part: &mut Part, piece: &Bytes) -> Result<(), LayerError> {
        let written = match part.feed(piece) {
            Ok(()) => part.write(piece).await.map_err(|error| self.disk(error)),
            Err(error) => Err(error.into()),
        };
        if written.is_err() {
            // The first error is the one to tell; the sweep takes what is left.
            let _ = part.remove().await;
        }
        written
    }

    fn finish(&self, diff_id: &Digest, part: &Part) -> Result<Layer, LayerError> {
        if !part.is_whole() {
            return Err(LayerError::BrokeOff("in the middle of a frame".to_owned()));
        }
        let (mark, found, path) = (part.whole(), part.digest(), part.path().to_owned());
        if found != *diff_id {
            // Once more from the beginning may be right.
            let _ = std::fs::remove_file(&path);
            return Err(LayerError::Digest { expected: diff_id.clone(), found });
        }
        let failed = |error| self.disk(error);
        let packed = part.sync_and_hash().map_err(failed)?;
        let layer = Layer { diff_id: diff_id.clone(), bytes: mark.raw, packed, packed_bytes: mark.packed };
        std::fs::rename(&path, self.packed(&layer.packed)).map_err(failed)?;
        let record = serde_json::to_vec(&layer).map_err(|error| failed(error.into()))?;
        // It syncs the directory that holds both.
        pando_rt::fs::write_atomically(&self.record(diff_id), &record, 0o600).map_err(failed)?;
        Ok(layer)
    }

    /// Keeps the description of an image whose layers are all here. Blocking.
    ///
    /// # Errors
    /// When it is not what `digest` says, is not valid, or a layer is missing.
    pub fn describe(&self, digest: &Digest, description: &[u8]) -> Result<Image, LayerError> {
        let found = digest_of(description);
        if found != *digest {
            return Err(LayerError::Digest { expected: digest.clone(), found });
        }
        let image = Image::read(description)?;
        if let Some(layer) = image.layers().iter().find(|layer| !self.has(layer)) {
            return Err(LayerError::Lacks(layer.diff_id.clone()));
        }
        let failed = |error| self.disk(error);
        std::fs::create_dir_all(&self.directory).map_err(failed)?;
        pando_rt::fs::write_atomically(&self.description(digest), description, 0o600).map_err(failed)?;
        let link = self.link(&image.id());
        pando_rt::fs::write_atomically(&link, digest.as_str().as_bytes(), 0o600).map_err(failed)?;
        Ok(image)
    }

    fn has(&self, layer: &Layer) -> bool {
        self.here(&layer.diff_id).as_ref() == Some(layer)
    }

    /// The description of the image with that configuration, if all of it is here. It counts as used from now. Blocking.
    #[must_use]
    pub fn known(&self, id: &Digest) -> Option<Digest> {
        let digest = Digest::new(std::fs::read_to_string(self.link(id)).ok()?).ok()?;
        let image = self.read(&digest)?;
        let whole = image.id() == *id && image.layers().iter().all(|layer| self.has(layer));
        touch(&self.link(id)).ok()?;
        touch(&self.description(&digest)).ok()?;
        whole.then_some(digest)
    }

    /// The image of that description. Blocking.
    #[must_use]
    pub fn read(&self, digest: &Digest) -> Option<Image> {
        let path = self.description(digest);
        let small = std::fs::metadata(&path).ok()?.len() <= MOST_DESCRIPTION as u64;
        Image::read(&std::fs::read(path).ok().filter(|_| small)?).ok()
    }

    /// All digests that files of these images go by. Blocking.
    #[must_use]
    pub fn names_of(&self, descriptions: &BTreeSet<Digest>) -> BTreeSet<Digest> {
        let images = descriptions.iter().filter_map(|digest| self.read(digest));
        let names = images.flat_map(|image| {
            let layers =
                image.layers().iter().flat_map(|layer| [layer.diff_id.clone(), layer.packed.clone()]);
            layers.chain([image.id()]).collect::<Vec<_>>()
        });
        names.collect()
    }

    fn disk(&self, source: io::Error) -> LayerError {
        let path = self.directory.clone();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
                LayerError::Full { path }
            }
            _ => LayerError::Disk { path, source },
        }
    }
}

enum Opened {
    Here(Layer),
    Part(Box<Part>),
}

fn touch(path: &Path) -> io::Result<std::fs::Metadata> {
    let file = std::fs::File::options().append(true).open(path)?;
    file.set_modified(SystemTime::now())?;
    file.metadata()
}

/// Not on a thread that others wait for.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LayerError> + Send + 'static,
) -> Result<T, LayerError> {
    // It fails only by a panic, or when the program ends.
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(LayerError::BrokeOff(error.to_string())))
}

#[cfg(test)]
mod tests;
