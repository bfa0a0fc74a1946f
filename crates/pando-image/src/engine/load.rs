//! Puts an image into the engine, and looks whether it is the right one.

use std::path::PathBuf;
use std::time::Duration;

use bollard::models::BuildInfo;
use bollard::query_parameters::ImportImageOptionsBuilder;
use futures_util::{Stream, StreamExt};
use pando_model::release::Digest;

use super::transfer;
use super::{Engine, EngineError, Inspected};
use crate::assemble::{AssembleError, Assembly};
use crate::image::{Image, Layer};

/// How long an engine may be silent while it unpacks a layer. A large one on a slow disk takes minutes.
const STALL: Duration = Duration::from_secs(1800);

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Assemble(#[from] AssembleError),
    #[error(
        "no space left on the disk of the container engine: {0}; free some, such as by `docker image prune`"
    )]
    Full(String),
    #[error("the container engine loaded another image than it was sent: {found} instead of {expected}")]
    Other { expected: Digest, found: String },
}

impl Engine {
    /// The image with all its layers, if the engine has it.
    ///
    /// # Errors
    /// See [`EngineError`].
    pub async fn find(&self, image: &Image, tag: &str) -> Result<Option<Inspected>, EngineError> {
        let by_id = self.inspect(&format!("sha256:{}", image.id())).await?;
        let found = match by_id {
            Some(found) => Some(found),
            // With containerd's store the id is not the configuration's; with Docker's own, another image has the name.
            None if self.about().await?.containerd_store => self.inspect(tag).await?,
            None => None,
        };
        Ok(found.filter(|found| is_of(found, image)))
    }

    /// Sends the image but for its `left_out` lowest layers, names it `tag`, and answers what the engine has then. `place`
    /// tells where a packed layer lies.
    ///
    /// # Errors
    /// See [`LoadError`]; what was sent of it is not in the engine then.
    pub async fn load(
        &self,
        image: &Image,
        tag: &str,
        left_out: usize,
        place: impl Fn(&Layer) -> PathBuf + Send + 'static,
    ) -> Result<Inspected, LoadError> {
        let (mut writer, mut pieces) = transfer::writer();
        let (of, name) = (image.clone(), tag.to_owned());
        let writing = tokio::task::spawn_blocking(move || {
            let assembly = Assembly { image: &of, tag: Some(&name), left_out };
            let written = assembly.write(&mut writer, place);
            if written.is_err() {
                writer.abort();
            }
            written
        });
        let body = futures_util::stream::poll_fn(move |context| pieces.poll_recv(context));
        let options = ImportImageOptionsBuilder::default().quiet(false).build();
        let docker = self.patient();
        let loaded = self.follow(docker.import_image_stream(options, body, None)).await;
        let written = writing.await.unwrap_or(Ok(()));
        match (loaded, written) {
            (_, Err(error @ (AssembleError::Damaged { .. } | AssembleError::Read { .. }))) => {
                Err(error.into())
            }
            (Err(error), _) => Err(error),
            (Ok(()), Err(error)) => Err(error.into()),
            (Ok(()), Ok(())) => self.verify(image, tag).await,
        }
    }

    async fn follow(
        &self,
        told: impl Stream<Item = Result<BuildInfo, bollard::errors::Error>>,
    ) -> Result<(), LoadError> {
        let mut told = std::pin::pin!(told);
        loop {
            let next = tokio::time::timeout(STALL, told.next()).await;
            match next.map_err(|_| EngineError::Slow { after: STALL })? {
                None => return Ok(()),
                Some(Ok(_)) => {}
                Some(Err(error)) => return Err(judge(self.failed("load the image", error))),
            }
        }
    }

    async fn verify(&self, image: &Image, tag: &str) -> Result<Inspected, LoadError> {
        if let Some(found) = self.find(image, tag).await? {
            return Ok(found);
        }
        let found = self.inspect(tag).await?.map_or("none".to_owned(), |found| found.id.to_string());
        Err(LoadError::Other { expected: image.id(), found })
    }
}

/// The same layers in the same order; and the same configuration, where the engine calls an image by it.
fn is_of(found: &Inspected, image: &Image) -> bool {
    found.diff_ids.iter().eq(image.layers().iter().map(|layer| &layer.diff_id))
        && found.platform.runs_on(image.platform())
}

fn judge(error: EngineError) -> LoadError {
    match error {
        EngineError::Refused { message, .. } if message.contains("no space left on device") => {
            LoadError::Full(message)
        }
        other => other.into(),
    }
}
