//! Releases on this server's disk: fetched, unpacked or put into the container engine, sealed, removed.
//!
//! What is to be done when is decided in [`crate::reconcile`]; here each order
//! is carried out, one after another for each release, and answered by an event.
//!
//! ```text
//! releases/.fetched/DIGEST        a packed release, an image's description or one of its layers, whole and checked
//! releases/.fetched/DIGEST.part   as much of one as has come
//! releases/APP/vN.tmp             being unpacked or prepared
//! releases/APP/vN                 ready, once the next one is there too
//! releases/APP/vN.json            what it is made from; written last
//! releases/APP/vN.assets/         its assets, if it has some: see [`assets`]
//! releases/APP/vN.image           the engine has its image, or is about to get it; where it was pulled from
//! ```

mod assets;
mod claims;
mod disk;
mod fetch;
mod image;
mod images;
mod meter;
mod notes;
mod prune;
mod pull;
mod source;
mod unpack;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use pando_model::assignment::AssignedRelease;
use pando_model::release::Digest;
use pando_rt::error_chain::error_chain;
use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;
use pando_runtime::account::{self, AccountError};
use pando_runtime::docker::{Containers, CopyError, EngineError, PullError};
use tokio::sync::{Semaphore, mpsc};

use crate::account::user_of;
use crate::reconcile::{Event, Needs, OnDisk, ReleaseKey};

pub use source::{ArtifactSource, Pieces, Sent, SourceError, Whom};
pub(crate) use source::{Known, Sources};
pub use unpack::{Limits, UnpackError};

use claims::{Claims, SharedClaims, Working};
use disk::Places;
pub(crate) use images::is_same_disk;
use meter::Meter;
pub use prune::Pruner;

/// Where a packed release lies once it is whole, below `STATE_DIR/releases`. It stays as long as a release of it is assigned.
pub(crate) fn packed(directory: &Path, digest: &Digest) -> PathBuf {
    Places::new(directory.to_owned()).whole(digest)
}

/// Unpacking takes one core; a second at a time would be a core less for those who serve.
const UNPACKERS: usize = 1;

#[derive(Debug, thiserror::Error)]
pub(crate) enum ArtifactError {
    #[error(transparent)]
    User(#[from] AccountError),
    #[error("can't fetch the packed release: {0}")]
    Refused(String),
    #[error(
        "the packed release that the control plane sends for {0} is damaged: its content doesn't have this digest"
    )]
    Damaged(Digest),
    #[error("the packed release is larger than {0}")]
    TooLarge(pando_model::resources::Bytes),
    #[error("no space left on the disk for `{}`; free some, then deploy again", path.display())]
    Full { path: PathBuf },
    #[error("can't {what} `{}`", path.display())]
    Disk { what: &'static str, path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error("this server's engine has no image `{0}`, and `pull_policy: never` keeps it from being pulled")]
    NeverPulled(String),
    #[error("{refused}; and the control plane could not be asked for credentials: {away}")]
    Unasked { refused: Box<PullError>, away: SourceError },
    #[error(transparent)]
    Image(Box<images::ImageFailure>),
    #[error("can't {what}")]
    Engine { what: String, source: EngineError },
    #[error("its app is an image, and nothing runs in containers on this server")]
    NoContainers,
    #[error(transparent)]
    Assets(#[from] assets::AssetsError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("stopped before it was done")]
    Cancelled,
}

/// Carries out what is asked for releases. Cheap to clone.
pub(crate) struct Releases<S> {
    inner: Arc<Inner<S>>,
}

impl<S> Clone for Releases<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

struct Inner<S> {
    places: Places,
    users: bool,
    source: S,
    limits: Limits,
    containers: Option<Containers>,
    engine: PathBuf,
    tasks: Tasks,
    events: mpsc::Sender<Event>,
    unpackers: Semaphore,
    claims: SharedClaims,
    pruner: Pruner,
}

/// Where everything lies, whose it is to be, and where packed releases come from.
pub(crate) struct Setup<S> {
    /// `STATE_DIR/releases`.
    pub(crate) directory: PathBuf,
    pub(crate) users: bool,
    pub(crate) source: S,
    pub(crate) limits: Limits,
    /// `None`: nothing runs in containers here.
    pub(crate) containers: Option<Containers>,
    /// The container engine's socket. Nobody needs to listen there before an image is to be loaded.
    pub(crate) engine: PathBuf,
}

impl<S: ArtifactSource> Releases<S> {
    pub(crate) fn new(setup: Setup<S>, tasks: Tasks, events: mpsc::Sender<Event>) -> Self {
        let (places, claims) = (Places::new(setup.directory), Arc::new(Claims::default()));
        let pruner = Pruner::new(&places, setup.containers.clone(), Arc::clone(&claims), &tasks);
        let inner = Inner {
            places,
            users: setup.users,
            source: setup.source,
            limits: setup.limits,
            containers: setup.containers,
            engine: setup.engine,
            tasks,
            events,
            unpackers: Semaphore::new(UNPACKERS),
            claims,
            pruner,
        };
        Self { inner: Arc::new(inner) }
    }

    /// Makes the directories and answers what is there. Blocking.
    ///
    /// # Errors
    /// When the directories can't be made or read.
    pub(crate) fn scan(&self) -> Result<Vec<OnDisk>, ArtifactError> {
        disk::scan(&self.inner.places)
    }

    /// Does this after whatever was asked of the release before, and tells what became of it.
    pub(crate) fn order(&self, order: Order) {
        let stopped = self.inner.tasks.shutdown().child();
        let (working, earlier): (Working, _) = self.inner.claims.begin(order.release(), stopped.clone());
        let inner = Arc::clone(&self.inner);
        self.inner.tasks.spawn(async move {
            if let Some(earlier) = earlier {
                earlier.wait(matches!(order, Order::Remove(_))).await;
            }
            let event = inner.carry_out(order, &stopped).await;
            // Nobody listens any more when the agent is being stopped.
            let _ = inner.events.send(event).await;
            drop(working);
        });
    }

    /// From now on this is needed, and nothing of it is taken for a leftover. `None`: that is not known.
    pub(crate) fn hold(&self, needs: Option<Needs>) {
        self.inner.claims.set(needs);
    }

    /// Drops packed releases that nobody needs.
    pub(crate) fn sweep(&self) {
        let pruner = self.inner.pruner.clone();
        self.inner.tasks.spawn_until_shutdown(async move { pruner.sweep_packed().await });
    }

    /// What removes what nobody needs.
    pub(crate) fn pruner(&self) -> Pruner {
        self.inner.pruner.clone()
    }
}

/// What can be asked for a release. Each is answered by one event, fetching by more on its way.
#[derive(Debug)]
pub(crate) enum Order {
    /// Fetch and unpack.
    Ensure(AssignedRelease),
    /// Make an unpacked release final.
    Seal(AssignedRelease),
    /// Remove it; work on it ends first.
    Remove(ReleaseKey),
}

impl Order {
    fn release(&self) -> ReleaseKey {
        match self {
            Self::Ensure(release) | Self::Seal(release) => (release.app.clone(), release.release),
            Self::Remove(key) => key.clone(),
        }
    }
}

impl<S: ArtifactSource> Inner<S> {
    async fn carry_out(&self, order: Order, stopped: &Shutdown) -> Event {
        let (key, places) = (order.release(), self.places.clone());
        let (of, removing) = (key.clone(), matches!(order, Order::Remove(_)));
        let done = match order {
            Order::Ensure(release) if release.image.is_some() => {
                image::ensure(self, &release, &key, stopped).await.map(|()| Event::ReleaseReady(key.clone()))
            }
            Order::Ensure(release) => self.ensure(&release, &key, stopped).await,
            Order::Seal(release) => {
                let sealed = blocking(move || {
                    if let Some(path) = &release.asset_path {
                        assets::of_directory(&places, &of, path)?;
                    }
                    disk::seal(&places, &of, &release)
                });
                let sealed = sealed.await;
                sealed.map(|()| Event::ReleaseReady(key.clone()))
            }
            Order::Remove(_) => {
                let removed = async {
                    image::remove(self, &key).await?;
                    blocking(move || disk::remove(&places, &of)).await
                };
                removed.await.map(|()| Event::ReleaseRemoved(key.clone()))
            }
        };
        done.unwrap_or_else(|error| {
            let message = error_chain(&error);
            tracing::warn!("{} {}: {message}", key.0, key.1);
            if removing { Event::RemovalFailed(key) } else { Event::ReleaseFailed { release: key, message } }
        })
    }

    async fn ensure(
        &self,
        release: &AssignedRelease,
        key: &ReleaseKey,
        stopped: &Shutdown,
    ) -> Result<Event, ArtifactError> {
        let Some(artifact) = release.artifact.clone() else {
            return Err(ArtifactError::Refused("it has neither an artifact nor an image".to_owned()));
        };
        let (places, of, wanted) = (self.places.clone(), key.clone(), artifact.clone());
        if blocking(move || disk::clear_unless(&places, &of, &wanted)).await? {
            return Ok(Event::ReleaseReady(key.clone()));
        }
        let owner = match self.users {
            true => Some(account::ensure(&user_of(&release.app)).await?),
            false => None,
        };
        // One that is here needs no turn: the source may be away for days.
        if !fetch::is_here(&self.places, &artifact).await {
            let _one_at_a_time = self.claims.fetching.lock().await;
            let meter = Meter::new(&self.events, key, None);
            fetch::fetch(&self.source, &self.places, (&artifact, fetch::MAX_PACKED), &meter, stopped).await?;
        }
        let _ = self.events.send(Event::ReleaseFetched(key.clone())).await;
        self.unpack(&artifact, key, owner.map(|account| (account.uid, account.gid)), stopped).await?;
        Ok(Event::ReleaseUnpacked(key.clone()))
    }

    async fn unpack(
        &self,
        artifact: &Digest,
        key: &ReleaseKey,
        owner: Option<(u32, u32)>,
        stopped: &Shutdown,
    ) -> Result<(), ArtifactError> {
        // It can only be closed, and never is.
        let Ok(_permit) = self.unpackers.acquire().await else { return Err(ArtifactError::Cancelled) };
        let order = unpack::Order {
            archive: self.places.whole(artifact),
            into: self.places.staging(key),
            owner,
            limits: self.limits,
        };
        let cancelled = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&cancelled);
        let work = blocking(move || disk::unpack(&order, &flag));
        tokio::pin!(work);
        tokio::select! {
            done = &mut work => done,
            () = stopped.wait() => {
                cancelled.store(true, Ordering::Relaxed);
                // It looks at the flag between two entries; its directory must not be touched before it has ended.
                work.await
            }
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, ArtifactError> {
    // It fails only by a panic, or when the program ends.
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(ArtifactError::Cancelled))
}

#[cfg(test)]
mod tests;
