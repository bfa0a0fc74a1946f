//! Releases that are images: the engine has them under a name of the release's own, so that what was deployed stays what runs,
//! whatever becomes of the name in the file. An image comes layer by layer if it was sent (see [`super::images`]), else the engine
//! pulls it.

use pando_model::assignment::{AssignedRelease, ReleaseImage};
use pando_model::release::Digest;
use pando_rt::shutdown::Shutdown;
use pando_runtime::docker::{Containers, EngineError, ImageFacts};

use super::images::Bringing;
use super::notes::{self, Identity, Note};
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
    let is_of = noted(inner, key).await?.is_some_and(|note| note.is_of(release));
    if is_of && own(inner, containers, key).await?.is_some() {
        pull::tidy(inner, containers, key).await?;
    } else {
        have(inner, release, key, (containers, image, &name), stopped).await?;
    }
    if let Some(facts) = own(inner, containers, key).await? {
        pin(inner, containers, (key, &name), &facts).await?;
    }
    match &release.asset_path {
        Some(path) => assets::ensure(&inner.places, containers, key, &name, path).await,
        None => Ok(()),
    }
}

/// The release's image, under its name, if the engine has it. Whatever else has that name is not believed to be it: what was put on
/// record when the release came decides.
pub(super) async fn own<S>(
    inner: &Inner<S>,
    containers: &Containers,
    key: &ReleaseKey,
) -> Result<Option<ImageFacts>, ArtifactError> {
    let name = image_name(containers.mark(), key);
    let Some(note) = noted(inner, key).await? else { return Ok(None) };
    let found = find(containers, &name).await?;
    let Some(known) = note.image else { return Ok(found) };
    if found.as_ref().is_some_and(|found| found.id == known.id) {
        return Ok(found);
    }
    if let Some(own) = find(containers, &known.id).await? {
        containers.name(&own.id, &name).await.map_err(|source| failed(&name, source))?;
        tracing::warn!("{} {}: `{name}` was no longer the name of its image, and is again", key.0, key.1);
        return Ok(Some(own));
    }
    if found.as_ref().is_some_and(|found| !known.is_like(found)) {
        let (app, release) = key;
        tracing::warn!(
            "{app} {release}: another image is called `{name}`, and its own is gone: it is brought again"
        );
    }
    // Where the engine keeps its images otherwise than before, they have other ids. One that was sent is known by its description.
    Ok(found.filter(|found| note.artifact.is_none() && known.is_like(found)))
}

/// From now on nothing else is started as this release. Which image that is, is on record.
async fn pin<S>(
    inner: &Inner<S>,
    containers: &Containers,
    (key, name): (&ReleaseKey, &str),
    facts: &ImageFacts,
) -> Result<(), ArtifactError> {
    let before = noted(inner, key).await?.unwrap_or_default();
    let image = Some(Identity::of(facts));
    if before.image != image {
        note(inner, key, Note { image, ..before }).await?;
    }
    containers.pin(name, &facts.id);
    Ok(())
}

/// What is on record of the release's image.
pub(super) async fn noted<S>(inner: &Inner<S>, key: &ReleaseKey) -> Result<Option<Note>, ArtifactError> {
    let (places, of) = (inner.places.clone(), key.clone());
    blocking(move || Ok(notes::read(&places, &of))).await
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
        let before = noted(inner, key).await?.unwrap_or_default();
        note(inner, key, before).await?;
        let is_new = bring(inner, artifact, name, key, stopped).await?;
        return note_brought(inner, containers, (key, name), artifact, is_new).await;
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
    (key, name): (&ReleaseKey, &str),
    artifact: &Digest,
    is_new: bool,
) -> Result<(), ArtifactError> {
    let Some(facts) = find(containers, name).await? else { return Ok(()) };
    let brought = if is_new { Some(facts.id.clone()) } else { pull::brought(inner, &facts.id).await? };
    let (artifact, image) = (Some(artifact.clone()), Some(Identity::of(&facts)));
    note(inner, key, Note { brought, artifact, image, ..Note::default() }).await
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
    let Some(note) = noted(inner, key).await? else { return Ok(()) };
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
