//! What there is on the engine beside runs: images, and what they are called.

use std::sync::Arc;

use super::engine::EngineError;
use super::images::{self, ImageFacts};
use super::pull::{self, Credentials, PullError};
use super::shared::Shared;

/// Images and commands of this machine's engine. Clones are the same.
#[derive(Debug, Clone)]
pub struct Containers {
    pub(super) shared: Arc<Shared>,
}

impl Containers {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// What an image of the engine says of itself.
    ///
    /// # Errors
    /// When there is none of that name, or the engine can't be asked.
    pub async fn image(&self, reference: &str) -> Result<ImageFacts, EngineError> {
        images::facts(&self.shared.engine, reference).await
    }

    /// Has the engine pull an image, be it there or not, and answers with what it is then.
    ///
    /// # Errors
    /// See [`PullError`].
    pub async fn pull(
        &self,
        reference: &str,
        credentials: Option<&Credentials>,
    ) -> Result<ImageFacts, PullError> {
        pull::pull(&self.shared.engine, reference, credentials).await?;
        Ok(self.image(reference).await?)
    }

    /// What tells this state directory's names from those of others on the same engine.
    #[must_use]
    pub fn mark(&self) -> &str {
        let owner = &self.shared.owner;
        &owner[owner.len().saturating_sub(8)..]
    }

    /// Whether the engine can't be asked now.
    pub async fn engine_is_away(&self) -> bool {
        let asked = self.shared.engine.call(|docker| async move { docker.ping().await });
        asked.await.is_err_and(|error| error.is_uncertain())
    }

    /// Takes every name from images that ends with this state directory's mark. What a container is made of keeps its name.
    ///
    /// # Errors
    /// When the engine can't be asked.
    pub async fn unname_all(&self) -> Result<(), EngineError> {
        let listed = self.shared.engine.call(|docker| async move {
            docker.list_images(None::<bollard::query_parameters::ListImagesOptions>).await
        });
        let end = format!("-{}", self.mark());
        let names = listed.await?.into_iter().flat_map(|image| image.repo_tags);
        for name in names.filter(|name| name.starts_with("pando/") && name.ends_with(&end)) {
            match self.unname(&name).await {
                Err(error) if !error.is_conflict() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Gives an image one more name, `REPOSITORY:TAG`.
    ///
    /// # Errors
    /// When the image isn't there, or the engine can't be asked.
    pub async fn name(&self, image: &str, name: &str) -> Result<(), EngineError> {
        images::name(&self.shared.engine, image, name).await
    }

    /// Takes a name from an image; the engine removes one that has no other. A name that nothing has is left so.
    ///
    /// # Errors
    /// When a container is made of it, or the engine can't be asked.
    pub async fn unname(&self, name: &str) -> Result<(), EngineError> {
        self.shared.pins.remove(name);
        images::unname(&self.shared.engine, name).await
    }
}
