//! Releases from images: layers are fetched as packed releases are, and put into this server's engine.
//!
//! The engine is asked first: for an image that it has nothing is fetched, and of the
//! others only the layers that no image of its has below them. What was fetched
//! stays beside the packed releases as long as a release needs it: for other servers,
//! for the next release, and in case that the engine loses its copy.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use futures_util::{StreamExt, TryStreamExt, stream};
use pando_image::assemble::AssembleError;
use pando_image::engine::{About, Engine, EngineError, LoadError};
use pando_image::hash::digest_of;
use pando_image::image::{Image, ImageError, Layer, MOST_DESCRIPTION, MOST_LAYER, Platform};
use pando_image::space::{Disk, NoRoom};
use pando_model::release::Digest;
use pando_rt::shutdown::Shutdown;
use tokio::sync::{Semaphore, mpsc};

use super::disk::{self, Places};
use super::meter::Meter;
use super::{ArtifactError, ArtifactSource, Pruner, fetch};
use crate::reconcile::{Event, ReleaseKey};

/// Layers that are fetched at once: one line is filled by few, and small layers wait for answers more than for bytes.
const AT_ONCE: usize = 3;

/// How often an image is loaded whose layers or description turn out to be damaged on this disk.
const LOADS: usize = 3;

/// An engine unpacks a layer beside the archive that it came in.
const WHILE_LOADING: u64 = 2;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ImageFailure {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    NoRoom(#[from] NoRoom),
    #[error("the image is for {image}, and this server is {server}; build it for {server}")]
    Platform { image: Platform, server: Platform },
    #[error("what the release names is not the description of an image")]
    Description(#[from] ImageError),
}

/// The image of that description, if it was fetched. Blocking.
pub(super) fn described(places: &Places, digest: &Digest) -> Option<Image> {
    let path = places.whole(digest);
    let small = std::fs::metadata(&path).ok()?.len() <= MOST_DESCRIPTION as u64;
    Image::read(&std::fs::read(path).ok().filter(|_| small)?).ok()
}

/// Those, and the layers of those that are images. Blocking.
pub(super) fn with_layers(places: &Places, wanted: BTreeSet<Digest>) -> BTreeSet<Digest> {
    let images = wanted.iter().filter_map(|digest| described(places, digest));
    let layers: Vec<Digest> = images
        .flat_map(|image| image.layers().iter().map(|layer| layer.packed.clone()).collect::<Vec<_>>())
        .collect();
    wanted.into_iter().chain(layers).collect()
}

/// One image on its way into the engine.
pub(super) struct Bringing<'a, S> {
    pub(super) source: &'a S,
    pub(super) places: &'a Places,
    /// One at a time fetches, so that what is begun is soon of use to others.
    pub(super) turn: &'a tokio::sync::Mutex<()>,
    /// Makes room where there is none.
    pub(super) pruner: &'a Pruner,
    pub(super) engine: &'a Path,
    /// What the engine is to call it.
    pub(super) tag: &'a str,
    /// One at a time is unpacked.
    pub(super) unpackers: &'a Semaphore,
    /// Who is told how far it is.
    pub(super) events: &'a mpsc::Sender<Event>,
    pub(super) release: &'a ReleaseKey,
    pub(super) stopped: &'a Shutdown,
}

impl<S: ArtifactSource> Bringing<'_, S> {
    /// Returns when the engine has the image of that description under its name. False: the engine had it already.
    pub(super) async fn bring(&self, description: &Digest) -> Result<bool, ArtifactError> {
        let image = self.description(description).await?;
        if self.is_there(&image).await? {
            return Ok(false);
        }
        let common = self.fetch(&image).await?;
        // Nobody listens any more when the agent is being stopped.
        let _ = self.events.send(Event::ReleaseFetched(self.release.clone())).await;
        // It can only be closed, and never is.
        let Ok(_permit) = self.unpackers.acquire().await else { return Err(ArtifactError::Cancelled) };
        self.load(&image, common).await.map(|()| true)
    }

    /// What the release names, read. One that was damaged on this disk is said, removed and fetched anew.
    async fn description(&self, digest: &Digest) -> Result<Image, ArtifactError> {
        let path = self.places.whole(digest);
        for _ in 0..LOADS {
            if !fetch::is_here(self.places, digest).await {
                let _turn = self.turn.lock().await;
                let (most, meter) = (MOST_DESCRIPTION as u64, self.meter(None));
                fetch::fetch(self.source, self.places, (digest, most), &meter, self.stopped).await?;
            }
            let read = disk::read_at_most(&path, MOST_DESCRIPTION as u64).await?;
            if digest_of(&read) == *digest {
                return Ok(Image::read(&read).map_err(ImageFailure::from)?);
            }
            tracing::warn!(
                "the description {digest} of an image on this server's disk is damaged: it is removed and fetched anew"
            );
            disk::remove_file(&path).await?;
        }
        Err(ArtifactError::Damaged(digest.clone()))
    }

    /// True: the engine has it, and calls it as the release is called.
    async fn is_there(&self, image: &Image) -> Result<bool, ArtifactError> {
        let engine = self.connect().await?;
        let found = engine.find(image, self.tag).await.map_err(ImageFailure::from)?;
        let Some(found) = found else { return Ok(false) };
        let id = format!("sha256:{}", found.id);
        engine.tag(&id, self.tag).await.map_err(ImageFailure::from)?;
        Ok(true)
    }

    async fn connect(&self) -> Result<Engine, ImageFailure> {
        Ok(Engine::connect(self.engine).await?)
    }

    /// Fetches what neither this disk nor the engine has; how many of the lowest layers the engine need not be sent.
    async fn fetch(&self, image: &Image) -> Result<usize, ArtifactError> {
        let engine = self.connect().await?;
        let about = engine.about().await.map_err(ImageFailure::from)?;
        if !image.platform().runs_on(&about.platform) {
            let (image, server) = (image.platform().clone(), about.platform);
            return Err(ImageFailure::Platform { image, server }.into());
        }
        let ids: Vec<Digest> = image.layers().iter().map(|layer| layer.diff_id.clone()).collect();
        let mut common = engine.layers_in_common(&ids).await.map_err(ImageFailure::from)?;
        if let Err(no_room) = self.check_room(image, common, &about).await {
            // Said once, by who prunes; what is still missing then is the error to tell.
            self.pruner.make_room(&no_room.to_string()).await;
            common = engine.layers_in_common(&ids).await.map_err(ImageFailure::from)?;
            self.check_room(image, common, &about).await?;
        }
        self.fetch_above(image, common).await?;
        Ok(common)
    }

    async fn fetch_above(&self, image: &Image, common: usize) -> Result<(), ArtifactError> {
        let missing = self.missing(image, common).await;
        if missing.is_empty() {
            return Ok(());
        }
        let _turn = self.turn.lock().await;
        let meter = &self.meter(Some(missing.iter().map(|layer| layer.packed_bytes).sum()));
        let fetched = stream::iter(missing).map(|layer| async move {
            fetch::fetch(self.source, self.places, (&layer.packed, MOST_LAYER), meter, self.stopped).await
        });
        fetched.buffer_unordered(AT_ONCE).try_collect().await
    }

    fn meter(&self, of: Option<u64>) -> Meter<'_> {
        Meter::new(self.events, self.release, of)
    }

    /// The layers above the `common` ones that are not on this disk, each once.
    async fn missing(&self, image: &Image, common: usize) -> Vec<Layer> {
        let below: BTreeSet<&Layer> = image.layers().iter().take(common).collect();
        let mut missing = Vec::new();
        for layer in image.distinct_layers().into_iter().filter(|layer| !below.contains(layer)) {
            if !fetch::is_here(self.places, &layer.packed).await {
                missing.push(layer.clone());
            }
        }
        missing
    }

    async fn check_room(&self, image: &Image, common: usize, about: &About) -> Result<(), ImageFailure> {
        let packed: u64 = self.missing(image, common).await.iter().map(|layer| layer.packed_bytes).sum();
        let above = image.layers().iter().skip(common).collect::<BTreeSet<_>>();
        let loading = above.iter().map(|layer| layer.bytes).sum::<u64>().saturating_mul(WHILE_LOADING);
        let state = self.places.root().to_owned();
        let engine = about.root.clone();
        let checked =
            tokio::task::spawn_blocking(move || check_disks(&state, engine.as_deref(), packed, loading));
        // It fails only by a panic, or when the program ends.
        Ok(checked.await.unwrap_or(Ok(()))?)
    }

    /// Into the engine. A layer that was damaged on this disk is said, removed and fetched anew.
    async fn load(&self, image: &Image, mut common: usize) -> Result<(), ArtifactError> {
        let engine = self.connect().await?;
        for tries in 1.. {
            let places = self.places.clone();
            let place = move |layer: &Layer| -> PathBuf { places.whole(&layer.packed) };
            let loaded = tokio::select! {
                loaded = engine.load(image, self.tag, common, place) => loaded,
                // The engine forgets what came of it when the connection closes.
                () = self.stopped.wait() => return Err(ArtifactError::Cancelled),
            };
            match loaded {
                Ok(_) => return Ok(()),
                Err(LoadError::Assemble(AssembleError::Damaged { layer })) if tries < LOADS => {
                    tracing::warn!(
                        "the layer {} on this server's disk is damaged: it is removed and fetched anew",
                        layer.diff_id
                    );
                    let path = self.places.whole(&layer.packed);
                    disk::remove_file(&path).await?;
                }
                // What it had in common may have been removed since it was asked.
                Err(LoadError::Engine(EngineError::Refused { message, .. }))
                    if common > 0 && tries < LOADS =>
                {
                    tracing::warn!(
                        "the engine refused to build upon its own layers: {message}; it is sent all of them"
                    );
                    common = 0;
                }
                Err(error) => return Err(ImageFailure::from(error).into()),
            }
            self.fetch_above(image, common).await?;
        }
        Err(ArtifactError::Cancelled)
    }
}

fn check_disks(state: &Path, engine: Option<&Path>, packed: u64, loading: u64) -> Result<(), NoRoom> {
    // A disk that can't be looked at, such as that of an engine elsewhere, says itself when it is full.
    let Ok(state_disk) = Disk::of(state) else { return Ok(()) };
    match engine
        .filter(|engine| !is_same_disk(state, engine))
        .and_then(|engine| Some((engine, Disk::of(engine).ok()?)))
    {
        Some((engine, disk)) => disk.check(engine, loading).and_then(|()| state_disk.check(state, packed)),
        None => state_disk.check(state, packed.saturating_add(loading)),
    }
}

/// Whether what fills the one fills the other.
pub(crate) fn is_same_disk(one: &Path, other: &Path) -> bool {
    let device = |path: &Path| rustix::fs::stat(path).map(|stat| stat.st_dev);
    device(one).ok().zip(device(other).ok()).is_some_and(|(one, other)| one == other)
}

impl From<ImageFailure> for ArtifactError {
    fn from(error: ImageFailure) -> Self {
        Self::Image(Box::new(error))
    }
}

#[cfg(test)]
mod tests;
