//! Removes what nobody needs of what Pando put on this server: leftovers of crashes, of removals that failed, of apps that are gone.
//!
//! What releases no longer assigned leave behind is removed when they go (see [`super::Releases`]); here is looked for what nobody
//! remembers. **What stays:** everything of a release that is assigned, or that something here runs or works on; images that a
//! container is made of; and whatever does not carry this state directory's mark. Before each deed it is asked again, so that what
//! a deployment wants meanwhile stays.

mod count;
mod engine;
mod packed;
mod releases;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pando_api::v1::prune::{PruneKind, PruneThing, Pruning, VolumeLeft};
use pando_model::resources::Bytes;
use pando_rt::error_chain::error_chain;
use pando_rt::tasks::Tasks;
use pando_runtime::docker::{ContainerSeen, Containers, ImageSeen};
use tokio::time::{Instant, timeout};

use super::claims::SharedClaims;
use super::disk::Places;
use super::{ArtifactError, blocking};
use crate::news::News;
use crate::reconcile::{Needs, ReleaseKey};

/// After so long nothing more is begun: who asked wants an answer. What is left is found by the next who asks.
const PRUNE_FOR: Duration = Duration::from_secs(40);

/// How long a fetch that is under way is waited for, before the packed releases are left alone this time.
const FETCH_WITHIN: Duration = Duration::from_secs(5);

/// Finds and removes what nobody needs on this server. Clones are the same.
#[derive(Clone, Debug)]
pub struct Pruner {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    places: Places,
    containers: Option<Containers>,
    claims: SharedClaims,
    tasks: Tasks,
    news: News,
    /// One at a time prunes.
    turn: tokio::sync::Mutex<()>,
}

/// Something that nobody needs.
#[derive(Debug, Clone)]
struct Thing {
    what: What,
    name: String,
    bytes: u64,
    why: &'static str,
}

#[derive(Debug, Clone)]
enum What {
    Packed(std::path::PathBuf),
    Release(ReleaseKey),
    /// A name of that release's.
    Image(ReleaseKey, ImageSeen),
    /// An image that we brought and that lost its name.
    Nameless(ImageSeen),
    Container(ContainerSeen),
}

impl What {
    fn kind(&self) -> PruneKind {
        match self {
            Self::Packed(_) => PruneKind::Packed,
            Self::Release(_) => PruneKind::Release,
            Self::Image(..) | Self::Nameless(_) => PruneKind::Image,
            Self::Container(_) => PruneKind::Container,
        }
    }
}

/// What a look found, and what could not be looked at.
#[derive(Debug, Default)]
struct Found {
    things: Vec<Thing>,
    trouble: Vec<String>,
    /// They are told of, and stay.
    volumes: Vec<VolumeLeft>,
    /// All images of the engine, for counting what images share.
    images: Vec<ImageSeen>,
    /// Of the layers of images, the lowest first, as far as they were asked for.
    sizes: BTreeMap<String, Vec<u64>>,
}

impl Pruner {
    pub(super) fn new(
        places: &Places,
        containers: Option<Containers>,
        claims: SharedClaims,
        tasks: &Tasks,
    ) -> Self {
        let (places, tasks) = (places.clone(), tasks.clone());
        let (news, turn) = (News::default(), tokio::sync::Mutex::new(()));
        let inner = Inner { places, containers, claims, tasks, news, turn };
        Self { inner: Arc::new(inner) }
    }

    /// What could go now. Nothing is changed.
    pub async fn look(&self) -> Pruning {
        let mut found = self.inner.find().await;
        let things = self.inner.told(&mut found).await;
        Pruning { volumes: found.volumes, ..Pruning::of(things, found.trouble) }
    }

    /// Removes what nobody needs now, and tells what went. It goes on when the caller gives up waiting.
    pub async fn prune(&self) -> Pruning {
        let inner = Arc::clone(&self.inner);
        let (sender, answer) = tokio::sync::oneshot::channel();
        self.inner.tasks.spawn(async move {
            // Nobody may wait for it any more.
            let _ = sender.send(inner.prune().await);
        });
        let ending = || Pruning { trouble: vec!["the agent is ending".to_owned()], ..Pruning::default() };
        answer.await.unwrap_or_else(|_| ending())
    }

    /// As [`Pruner::prune`], by itself; `why` and what came of it is logged, if anything did.
    pub(crate) async fn make_room(&self, why: &str) -> Pruning {
        let pruned = self.prune().await;
        if pruned.count > 0 {
            let freed = Bytes(pruned.bytes);
            let text =
                format!("{freed} freed by removing {} that nothing needed: {why}", things(pruned.count));
            tracing::info!("{text}");
            self.inner.news.tell(text);
        }
        for trouble in &pruned.trouble {
            tracing::warn!("{trouble}");
        }
        pruned
    }

    /// What it did by itself and the control plane has not heard of.
    pub(crate) fn news(&self) -> News {
        self.inner.news.clone()
    }

    /// Packed releases and layers that no kept release needs go.
    pub(super) async fn sweep_packed(&self) {
        // Not below a fetch, and by then perhaps for a newer list.
        let _one_at_a_time = self.inner.claims.fetching.lock().await;
        let (_, trouble) = self.inner.remove_packed().await;
        trouble.iter().for_each(|trouble| tracing::warn!("{trouble}"));
    }
}

/// `3 things`
fn things(count: u64) -> String {
    if count == 1 { "1 thing".to_owned() } else { format!("{count} things") }
}

impl Inner {
    async fn find(&self) -> Found {
        let mut found = Found::default();
        let Some((Needs { releases: held, artifacts }, _)) = self.claims.needs() else {
            let text = "this server has not heard yet what it is to keep, so nothing of it goes; ask again in a moment";
            return Found { trouble: vec![text.to_owned()], ..found };
        };
        let places = self.places.clone();
        found.take(blocking(move || packed::find(&places, &artifacts)).await);
        let (places, of) = (self.places.clone(), held.clone());
        found.take(blocking(move || releases::find(&places, &of)).await);
        if let Some(containers) = &self.containers {
            engine::find(containers, &self.places, &held, &mut found).await;
        }
        found
    }

    /// The things as people are told of them, with what goes with each.
    async fn told(&self, found: &mut Found) -> Vec<PruneThing> {
        if let Some(containers) = &self.containers {
            count::images(containers, found).await;
        }
        let told = |thing: &Thing| PruneThing {
            kind: thing.what.kind(),
            name: thing.name.clone(),
            bytes: thing.bytes,
            why: thing.why.to_owned(),
        };
        found.things.iter().map(told).collect()
    }

    async fn prune(&self) -> Pruning {
        let _one_at_a_time = self.turn.lock().await;
        let until = Instant::now() + PRUNE_FOR;
        let mut found = self.find().await;
        // Sizes are to be had as long as there is something that has them.
        self.told(&mut found).await;
        let wanted = std::mem::take(&mut found.things);
        let packed = wanted.iter().any(|thing| matches!(thing.what, What::Packed(_)));
        for thing in wanted.into_iter().filter(|thing| !matches!(thing.what, What::Packed(_))) {
            if Instant::now() >= until {
                let text = format!(
                    "not all of it could be removed within {} s; ask again for the rest",
                    PRUNE_FOR.as_secs()
                );
                found.trouble.push(text);
                break;
            }
            match self.remove(&thing).await {
                Ok(true) => found.things.push(thing),
                Ok(false) => {}
                Err(error) => found.trouble.push(format!("{}: {}", thing.name, error_chain(&error))),
            }
        }
        if packed {
            self.prune_packed(&mut found).await;
        }
        let things = self.told(&mut found).await;
        Pruning::of(things, found.trouble)
    }

    /// False: somebody needs it by now.
    async fn remove(&self, thing: &Thing) -> Result<bool, ArtifactError> {
        match (&thing.what, &self.containers) {
            (What::Release(key), _) => {
                let Some(_working) = self.claims.begin_unless_claimed(key) else { return Ok(false) };
                let (places, key) = (self.places.clone(), key.clone());
                blocking(move || super::disk::remove(&places, &key)).await.map(|()| true)
            }
            (What::Image(key, _), Some(containers)) => {
                let Some(_working) = self.claims.begin_unless_claimed(key) else { return Ok(false) };
                engine::remove_name(containers, &self.places, key, &thing.name).await
            }
            (What::Nameless(image), Some(containers)) => {
                engine::remove_nameless(containers, &self.places, image).await
            }
            (What::Container(container), Some(containers)) => {
                engine::remove_container(containers, container).await
            }
            _ => Ok(false),
        }
    }

    async fn prune_packed(&self, found: &mut Found) {
        let Ok(_one_at_a_time) = timeout(FETCH_WITHIN, self.claims.fetching.lock()).await else {
            let text = "packed releases stay for now: one is being fetched; ask again when that is done";
            found.trouble.push(text.to_owned());
            return;
        };
        let (things, trouble) = self.remove_packed().await;
        found.things.extend(things);
        found.trouble.extend(trouble);
    }

    /// To be called while nobody fetches.
    async fn remove_packed(&self) -> (Vec<Thing>, Vec<String>) {
        let (places, claims) = (self.places.clone(), Arc::clone(&self.claims));
        let removed = blocking(move || packed::remove(&places, &claims)).await;
        removed.unwrap_or_else(|error| (Vec::new(), vec![error_chain(&error)]))
    }
}

impl Found {
    fn take(&mut self, found: Result<Vec<Thing>, ArtifactError>) {
        match found {
            Ok(things) => self.things.extend(things),
            Err(error) => self.trouble.push(error_chain(&error)),
        }
    }
}

#[cfg(test)]
mod tests;
