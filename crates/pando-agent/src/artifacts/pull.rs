//! Images that the engine has already, or pulls from a registry.
//!
//! What a pull policy promises is kept here: `always` asks the registry whenever a release
//! arrives, `if_missing` only when neither the engine nor a release that is kept has an image of
//! that name, `never` not at all. The name that a pull leaves in the engine is taken away again,
//! unless the engine had it before: the release's own name is enough.

use pando_model::app::PullPolicy;
use pando_model::assignment::ReleaseImage;
use pando_model::registry::RegistryHost;
use pando_rt::shutdown::Shutdown;
use pando_runtime::docker::{Containers, ImageFacts, PullError};

use super::image::{failed, find, note, noted, own};
use super::notes::{self, Identity, Note};
use super::{ArtifactError, ArtifactSource, Inner, blocking};
use crate::reconcile::ReleaseKey;

/// Somebody else on the engine may take a name away between a pull and the look at what it brought.
const TRIES: usize = 3;

/// One image on its way under a release's name.
pub(super) struct Pulling<'a, S> {
    pub(super) inner: &'a Inner<S>,
    pub(super) containers: &'a Containers,
    pub(super) key: &'a ReleaseKey,
    /// The release's own.
    pub(super) name: &'a str,
    pub(super) stopped: &'a Shutdown,
}

impl<S: ArtifactSource> Pulling<'_, S> {
    pub(super) async fn bring(&self, image: &ReleaseImage) -> Result<(), ArtifactError> {
        let reference = &image.reference;
        let had = find(self.containers, reference).await?;
        let facts = match image.pull_policy {
            PullPolicy::Always => None,
            PullPolicy::IfMissing | PullPolicy::Never => self.here(reference, had.as_ref()).await?,
        };
        match facts {
            Some(facts) => {
                let brought = brought(self.inner, &facts.id).await?;
                let image = Some(Identity::of(&facts));
                note(self.inner, self.key, Note { brought, image, ..self.note(reference, false) }).await?;
                self.name_it(&facts).await
            }
            None if image.pull_policy == PullPolicy::Never => {
                Err(ArtifactError::NeverPulled(reference.clone()))
            }
            None => self.pull(reference, had.is_none()).await,
        }
    }

    /// From the engine, or from a release that was made of it.
    async fn here(
        &self,
        reference: &str,
        had: Option<&ImageFacts>,
    ) -> Result<Option<ImageFacts>, ArtifactError> {
        if let Some(had) = had {
            return Ok(Some(had.clone()));
        }
        let (places, from) = (self.inner.places.clone(), reference.to_owned());
        for key in blocking(move || notes::made_from(&places, &from)).await? {
            let kept = own(self.inner, self.containers, &key).await?;
            if kept.is_some() {
                return Ok(kept);
            }
        }
        Ok(None)
    }

    async fn pull(&self, reference: &str, is_new: bool) -> Result<(), ArtifactError> {
        // An earlier try may have pulled it and come no further.
        let before = noted(self.inner, self.key).await?;
        let again = |note: &Note| note.ours && note.reference.as_deref() == Some(reference);
        let ours = is_new || before.as_ref().is_some_and(again);
        // Before the engine has it: what is not on record is never removed.
        let image = before.and_then(|note| note.image_of(reference));
        note(self.inner, self.key, Note { image, ..self.note(reference, ours) }).await?;
        let facts = tokio::select! {
            facts = self.ask(reference) => facts?,
            // The engine goes on with layers that it began, and has them the next time.
            () = self.stopped.wait() => return Err(ArtifactError::Cancelled),
        };
        let brought = Some(facts.id.clone()).filter(|_| ours);
        let image = Some(Identity::of(&facts));
        note(self.inner, self.key, Note { brought, image, ..self.note(reference, ours) }).await?;
        self.name_it(&facts).await?;
        tidy(self.inner, self.containers, self.key).await
    }

    async fn ask(&self, reference: &str) -> Result<ImageFacts, ArtifactError> {
        let credentials = self.inner.source.credentials(&RegistryHost::of_image(reference)).await;
        let asking = credentials.as_ref().ok().and_then(Option::as_ref);
        for _ in 1..TRIES {
            match self.containers.pull(reference, asking).await {
                Err(PullError::Engine(error)) if error.is_missing() => {}
                Ok(facts) => return Ok(facts),
                Err(refused) => {
                    let refused = Box::new(refused);
                    return Err(match credentials {
                        Err(away) => ArtifactError::Unasked { refused, away },
                        Ok(_) => ArtifactError::Pull(*refused),
                    });
                }
            }
        }
        Ok(self.containers.pull(reference, asking).await?)
    }

    async fn name_it(&self, facts: &ImageFacts) -> Result<(), ArtifactError> {
        self.containers.name(&facts.id, self.name).await.map_err(|source| failed(self.name, source))
    }

    fn note(&self, reference: &str, ours: bool) -> Note {
        Note { reference: Some(reference.to_owned()), ours, ..Note::default() }
    }
}

/// Takes away the name that a pull for this release left in the engine.
pub(super) async fn tidy<S>(
    inner: &Inner<S>,
    containers: &Containers,
    key: &ReleaseKey,
) -> Result<(), ArtifactError> {
    let Some(known) = noted(inner, key).await? else { return Ok(()) };
    let (Some(reference), true) = (&known.reference, known.ours) else { return Ok(()) };
    containers.unname(reference).await.map_err(|source| failed(reference, source))?;
    note(inner, key, Note { ours: false, ..known }).await
}

/// The image's id, if a release that is on record has it because of us.
pub(super) async fn brought<S>(inner: &Inner<S>, id: &str) -> Result<Option<String>, ArtifactError> {
    let (places, of) = (inner.places.clone(), id.to_owned());
    let ours = blocking(move || notes::is_brought(&places, &of)).await?;
    Ok(ours.then(|| id.to_owned()))
}
