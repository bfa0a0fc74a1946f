//! All images and containers of the engine, so that it can be told what of them is left over and how much room that takes.
//!
//! Sizes are the engine's own. A layer that several images have upon the same layers is one: whoever adds up counts it once.

use std::collections::HashMap;

use bollard::models::{ContainerSummary, ContainerSummaryStateEnum, ImageHistoryResponseItem, ImageSummary};
use bollard::query_parameters::{ListContainersOptions, ListImagesOptions, RemoveImageOptions};

use super::containers::Containers;
use super::engine::EngineError;
use super::name;
use crate::dir;
use crate::process::blocking;
use crate::run::RunKey;

/// What the engine has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Survey {
    pub images: Vec<ImageSeen>,
    pub containers: Vec<ContainerSeen>,
}

/// An image of the engine, whoever's it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSeen {
    /// `sha256:…`
    pub id: String,
    /// `REPOSITORY:TAG`, all of them.
    pub names: Vec<String>,
    /// `REPOSITORY@sha256:…`, as a registry called it.
    pub digests: Vec<String>,
    /// The digests of its layers' tars, the lowest first.
    pub layers: Vec<String>,
}

/// A container of the engine, whoever's it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerSeen {
    pub id: String,
    pub name: String,
    /// Of the image that it is made of.
    pub image: String,
    /// It is of this state directory, does not run, and nobody will ever ask for it again.
    pub left: bool,
    /// What was written in it. 0 of those that are not left over.
    pub bytes: u64,
}

impl Containers {
    /// Looks at everything. What is begun meanwhile may be missing.
    ///
    /// # Errors
    /// When the engine can't be asked.
    pub async fn survey(&self) -> Result<Survey, EngineError> {
        let options = ListImagesOptions::default();
        let listed =
            self.shared.engine.call(|docker| async move { docker.list_images(Some(options)).await }).await?;
        let mut images = Vec::new();
        for one in listed {
            images.extend(self.seen(one).await?);
        }
        // After the images: whoever makes a container now uses one that was there.
        Ok(Survey { images, containers: self.all_containers().await? })
    }

    /// `None`: it was removed meanwhile.
    async fn seen(&self, one: ImageSummary) -> Result<Option<ImageSeen>, EngineError> {
        let id = one.id.clone();
        let found = self.shared.engine.call(|docker| async move { docker.inspect_image(&id).await }).await;
        let found = match found {
            Err(error) if error.is_missing() => return Ok(None),
            found => found?,
        };
        let layers = found.root_fs.and_then(|root| root.layers).unwrap_or_default();
        let is_name = |name: &String| !name.contains("<none>");
        Ok(Some(ImageSeen {
            id: one.id,
            names: one.repo_tags.into_iter().filter(is_name).collect(),
            digests: one.repo_digests.into_iter().filter(is_name).collect(),
            layers,
        }))
    }

    async fn all_containers(&self) -> Result<Vec<ContainerSeen>, EngineError> {
        let options = ListContainersOptions { all: true, ..ListContainersOptions::default() };
        let listed =
            self.shared.engine.call(|docker| async move { docker.list_containers(Some(options)).await });
        let listed = listed.await?;
        // After the containers: a run is on disk before its container is made.
        let runs = self.shared.book.runs.clone();
        let known = blocking(move || dir::list(&runs)).await.map_err(|error| {
            EngineError::Unfit(format!("what runs here can't be read from the disk: {error}"))
        })?;
        let mut seen: Vec<ContainerSeen> = listed.into_iter().map(|one| self.judge(one, &known)).collect();
        if seen.iter().any(|one| one.left) {
            let sizes = self.written().await?;
            for one in seen.iter_mut().filter(|one| one.left) {
                one.bytes = sizes.get(&one.id).copied().unwrap_or(0);
            }
        }
        Ok(seen)
    }

    fn judge(&self, one: ContainerSummary, known: &[RunKey]) -> ContainerSeen {
        let labels = one.labels.unwrap_or_default();
        let ours = labels.get(name::OWNER).is_some_and(|owner| *owner == self.shared.owner);
        let run = name::run_of(Some(&labels), &self.shared.owner);
        let book = &self.shared.book;
        // One that was forgotten while the engine was away has its record until this program starts anew.
        let unknown = |key: RunKey| !known.contains(&key) || book.is_forgotten(key);
        let gone = |key: RunKey| unknown(key) && !book.keys().contains(&key);
        let command = labels.get(name::COMMAND).and_then(|id| id.parse().ok());
        let forgotten = run.is_some_and(gone) || command.is_some_and(|id| !self.shared.commands.has(id));
        let name = one.names.unwrap_or_default().first().cloned().unwrap_or_default();
        ContainerSeen {
            id: one.id.unwrap_or_default(),
            name: name.trim_start_matches('/').to_owned(),
            image: one.image_id.unwrap_or_default(),
            left: ours && forgotten && has_ended(one.state),
            bytes: 0,
        }
    }

    /// What was written in each of this state directory's containers. It makes the engine look through all of them.
    async fn written(&self) -> Result<HashMap<String, u64>, EngineError> {
        let label = format!("{}={}", name::OWNER, self.shared.owner);
        let options = ListContainersOptions {
            all: true,
            size: true,
            filters: Some(HashMap::from([("label".to_owned(), vec![label])])),
            ..ListContainersOptions::default()
        };
        let listed =
            self.shared.engine.call(|docker| async move { docker.list_containers(Some(options)).await });
        let size =
            |one: ContainerSummary| Some((one.id?, u64::try_from(one.size_rw.unwrap_or(0)).unwrap_or(0)));
        Ok(listed.await?.into_iter().filter_map(size).collect())
    }

    /// The bytes of an image's layers, the lowest first; of `layers` layers.
    ///
    /// # Errors
    /// When the image isn't there, or the engine can't be asked.
    pub async fn layer_sizes(&self, id: &str, layers: usize) -> Result<Vec<u64>, EngineError> {
        let named = id.to_owned();
        let told =
            self.shared.engine.call(|docker| async move { docker.image_history(&named).await }).await?;
        Ok(sizes(told, layers))
    }

    /// Removes a container that [`Containers::survey`] found to be left over, unless it runs by now.
    ///
    /// # Errors
    /// When it runs, or the engine can't be asked.
    pub async fn remove_left(&self, container: &ContainerSeen) -> Result<(), EngineError> {
        let id = container.id.clone();
        let options =
            bollard::query_parameters::RemoveContainerOptions { force: false, v: true, link: false };
        let removed = self
            .shared
            .engine
            .call(|docker| async move { docker.remove_container(&id, Some(options)).await });
        match removed.await {
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes an image without a name, unless a container is made of it or another image is built upon it.
    ///
    /// # Errors
    /// When it is in use or has a name by now, or the engine can't be asked.
    pub async fn remove_nameless(&self, id: &str) -> Result<(), EngineError> {
        if !self.image_names(id).await?.unwrap_or_default().is_empty() {
            return Err(EngineError::Unfit(format!("the image `{id}` has a name by now")));
        }
        let named = id.to_owned();
        let options = RemoveImageOptions { force: false, noprune: false, platforms: None };
        let removed = self
            .shared
            .engine
            .call(|docker| async move { docker.remove_image(&named, Some(options), None).await });
        match removed.await {
            Err(error) if !error.is_missing() => Err(error),
            _ => Ok(()),
        }
    }

    /// What an image is called, digests of registries included. `None`: there is none.
    ///
    /// # Errors
    /// When the engine can't be asked.
    pub async fn image_names(&self, id: &str) -> Result<Option<Vec<String>>, EngineError> {
        let named = id.to_owned();
        match self.shared.engine.call(|docker| async move { docker.inspect_image(&named).await }).await {
            Err(error) if error.is_missing() => Ok(None),
            found => found.map(|found| {
                let tags = found.repo_tags.unwrap_or_default();
                Some(tags.into_iter().chain(found.repo_digests.unwrap_or_default()).collect())
            }),
        }
    }
}

impl Containers {
    /// Something of this state directory was begun in a container, or there is an engine.
    #[must_use]
    pub fn is_in_use(&self) -> bool {
        self.shared.engine.socket().exists() || !self.shared.book.keys().is_empty()
    }
}

fn has_ended(state: Option<ContainerSummaryStateEnum>) -> bool {
    use ContainerSummaryStateEnum::{CREATED, DEAD, EXITED};
    matches!(state, Some(CREATED | EXITED | DEAD))
}

/// An engine tells the sizes of steps, of which some made no layer, and doesn't say which. One with a size did; of the others those whose
/// words are of a kind that does. The sum is right in any case.
fn sizes(mut told: Vec<ImageHistoryResponseItem>, layers: usize) -> Vec<u64> {
    // The newest comes first.
    told.reverse();
    let bytes = |step: &ImageHistoryResponseItem| u64::try_from(step.size).unwrap_or(0);
    let by_words: Vec<u64> =
        told.iter().filter(|step| step.size > 0 || makes_layer(&step.created_by)).map(bytes).collect();
    if by_words.len() == layers {
        return by_words;
    }
    let mut sizes: Vec<u64> = told.iter().map(bytes).filter(|bytes| *bytes > 0).collect();
    let beyond: u64 = sizes.drain(layers.min(sizes.len())..).sum();
    let missing = layers.saturating_sub(sizes.len());
    sizes.splice(0..0, std::iter::repeat_n(0, missing));
    if let Some(last) = sizes.last_mut() {
        *last += beyond;
    }
    sizes
}

/// As builders of both kinds put it: `/bin/sh -c #(nop) COPY …`, `COPY …`, `/bin/sh -c make`, `RUN /bin/sh -c make`.
fn makes_layer(step: &str) -> bool {
    let words = step.trim_start_matches("/bin/sh -c ").trim_start_matches("#(nop)").trim_start();
    let was_run = step.starts_with("/bin/sh -c ") && !step.contains("#(nop)");
    was_run || ["RUN ", "COPY ", "ADD ", "WORKDIR "].iter().any(|word| words.starts_with(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(told: &[(&str, i64)]) -> Vec<ImageHistoryResponseItem> {
        let step = |(words, size): &(&str, i64)| ImageHistoryResponseItem {
            created_by: (*words).to_owned(),
            size: *size,
            ..ImageHistoryResponseItem::default()
        };
        told.iter().rev().map(step).collect()
    }

    #[test]
    fn each_layer_has_the_size_of_the_step_that_made_it() {
        let told = steps(&[
            ("/bin/sh -c #(nop) ADD file:1 in / ", 70),
            ("/bin/sh -c #(nop)  CMD [\"bash\"]", 0),
            ("/bin/sh -c mkdir /app", 0),
            ("WORKDIR /app", 0),
            ("ENV A=1", 0),
            ("COPY . . # buildkit", 5),
        ]);
        assert_eq!(sizes(told, 4), [70, 0, 0, 5]);
        // Words that say nothing: the sum stays right.
        assert_eq!(sizes(steps(&[("", 9), ("", 0), ("", 3)]), 3), [0, 9, 3]);
        assert_eq!(sizes(steps(&[("", 9), ("", 4), ("", 3)]), 2), [9, 7]);
        assert_eq!(sizes(Vec::new(), 2), [0, 0]);
        assert_eq!(sizes(Vec::new(), 0), [0; 0]);
    }

    #[test]
    fn what_has_not_ended_is_never_left_over() {
        for state in ["running", "paused", "restarting", "removing", ""] {
            let state: ContainerSummaryStateEnum = serde_json::from_value(state.into()).unwrap();
            assert!(!has_ended(Some(state)), "{state}");
        }
        assert!(!has_ended(None));
        assert!(has_ended(Some(ContainerSummaryStateEnum::EXITED)));
    }
}
