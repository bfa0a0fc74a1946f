//! Releases that are images: the engine has them under a name of the release's own, so that what was deployed stays what runs,
//! whatever becomes of the name in the file. An image comes layer by layer if it was sent (see [`super::images`]), else the engine
//! pulls it.

use pando_model::assignment::{AssignedRelease, ReleaseImage};
use pando_model::release::Digest;
use pando_rt::shutdown::Shutdown;
use pando_runtime::docker::{Containers, EngineError, ImageFacts};

use super::images::Bringing;
use super::notes::{self, Note};
use super::pull::{self, Pulling};
use super::{ArtifactError, ArtifactSource, Inner, assets, blocking};
use crate::reconcile::{ReleaseKey, image_name};

/// Makes sure that the engine has it, and that its assets are here: once they are, nobody is asked again.
pub(super) async fn ensure<S: ArtifactSource>(
    inner: &Inner<S>,
    release: &AssignedRelease,
    key: &ReleaseKey,
    stopped: &Shutdown,
) -> Result<(), ArtifactError> {
    let (Some(image), Some(containers)) = (&release.image, &inner.containers) else {
        return Err(ArtifactError::NoContainers);
    };
    let name = image_name(containers.mark(), key);
    if find(containers, &name).await?.is_some() {
        pull::tidy(inner, containers, key).await?;
    } else {
        have(inner, release, key, (containers, image, &name), stopped).await?;
    }
    match &release.asset_path {
        Some(path) => assets::ensure(&inner.places, containers, key, &name, path).await,
        None => Ok(()),
    }
}

/// Has it brought or pulled.
async fn have<S: ArtifactSource>(
    inner: &Inner<S>,
    release: &AssignedRelease,
    key: &ReleaseKey,
    (containers, image, name): (&Containers, &ReleaseImage, &str),
    stopped: &Shutdown,
) -> Result<(), ArtifactError> {
    if let Some(artifact) = &release.artifact {
        // Before the engine has it: what is not on record is never removed.
        note(inner, key, Note::default()).await?;
        let is_new = bring(inner, artifact, name, key, stopped).await?;
        return note_brought(inner, containers, name, key, is_new).await;
    }
    Pulling { inner, containers, key, name, stopped }.bring(image).await
}

/// Puts on record that the engine has the release's image, or is about to get it.
pub(super) async fn note<S>(inner: &Inner<S>, key: &ReleaseKey, note: Note) -> Result<(), ArtifactError> {
    let (places, of) = (inner.places.clone(), key.clone());
    blocking(move || notes::write(&places, &of, &note)).await
}

/// Puts on record which image it is, if we brought it: for this release, or for another before.
async fn note_brought<S>(
    inner: &Inner<S>,
    containers: &Containers,
    name: &str,
    key: &ReleaseKey,
    is_new: bool,
) -> Result<(), ArtifactError> {
    let Some(facts) = find(containers, name).await? else { return Ok(()) };
    let brought = if is_new { Some(facts.id) } else { pull::brought(inner, &facts.id).await? };
    note(inner, key, Note { brought, ..Note::default() }).await
}

/// Of an image that was sent to the control plane. False: the engine had it already.
async fn bring<S: ArtifactSource>(
    inner: &Inner<S>,
    description: &Digest,
    name: &str,
    key: &ReleaseKey,
    stopped: &Shutdown,
) -> Result<bool, ArtifactError> {
    let bringing = Bringing {
        source: &inner.source,
        places: &inner.places,
        turn: &inner.claims.fetching,
        pruner: &inner.pruner,
        engine: &inner.engine,
        tag: name,
        unpackers: &inner.unpackers,
        events: &inner.events,
        release: key,
        stopped,
    };
    bringing.bring(description).await
}

/// What the engine has under that name.
pub(super) async fn find(containers: &Containers, name: &str) -> Result<Option<ImageFacts>, ArtifactError> {
    match containers.image(name).await {
        Ok(facts) => Ok(Some(facts)),
        Err(error) if error.is_missing() => Ok(None),
        Err(source) => Err(failed(name, source)),
    }
}

/// Takes the release's name from the image; what has no other is removed by the engine.
pub(super) async fn remove<S>(inner: &Inner<S>, key: &ReleaseKey) -> Result<(), ArtifactError> {
    let (places, of) = (inner.places.clone(), key.clone());
    let Some(note) = blocking(move || Ok(notes::read(&places, &of))).await? else { return Ok(()) };
    if let Some(containers) = &inner.containers {
        pull::tidy(inner, containers, key).await?;
        let name = image_name(containers.mark(), key);
        let what = || format!("remove the image `{name}`");
        containers.unname(&name).await.map_err(|source| ArtifactError::Engine { what: what(), source })?;
        if let Some(id) = note.brought {
            remember_nameless(inner, containers, id).await?;
        }
    }
    let (places, of) = (inner.places.clone(), key.clone());
    blocking(move || notes::remove(&places, &of)).await
}

/// An image that somebody took the name from while a container was made of it stays in the engine; nothing but this tells that it is
/// ours.
async fn remember_nameless<S>(
    inner: &Inner<S>,
    containers: &Containers,
    id: String,
) -> Result<(), ArtifactError> {
    let names = containers.image_names(&id).await.map_err(|source| failed(&id, source))?;
    if names.is_none_or(|names| !names.is_empty()) {
        return Ok(());
    }
    let places = inner.places.clone();
    blocking(move || notes::add_nameless(&places, &id)).await
}

pub(super) fn failed(name: &str, source: EngineError) -> ArtifactError {
    ArtifactError::Engine { what: format!("use the image `{name}`"), source }
}
