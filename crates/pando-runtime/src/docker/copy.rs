//! Files of an image, taken out of it without running anything.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bollard::query_parameters::DownloadFromContainerOptions;
use futures_util::StreamExt;
use pando_model::name::AppName;
use pando_model::resources::Bytes;
use tokio::io::AsyncWriteExt;

use super::commands::{Asked, OneOff};
use super::containers::Containers;
use super::engine::{Engine, EngineError};
use super::images;
use crate::run::ImagePlace;

/// An engine that sends nothing for so long hangs.
const SILENCE: Duration = Duration::from_secs(60);

/// Why files could not be taken out.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error("there is no directory `{0}` in the image")]
    Missing(String),
    #[error("`{path}` in the image holds more than {most}")]
    TooLarge { path: String, most: Bytes },
    #[error("can't write `{}`", into.display())]
    Disk { into: PathBuf, source: io::Error },
}

impl Containers {
    /// Writes what a directory of an image holds to a new file `into`: a tar, not larger than `most`, with names relative to that
    /// directory. A container is made for that, which never runs, and is gone when this returns; one that a crash left goes
    /// with the next start of this program.
    ///
    /// # Errors
    /// See [`CopyError`]. The file may be there in part.
    pub async fn copy_out(
        &self,
        app: &AppName,
        image: &str,
        path: &str,
        into: &Path,
        most: Bytes,
    ) -> Result<(), CopyError> {
        let engine = &self.shared.engine;
        images::can_run(engine, &self.shared.pins, image).await?;
        // Some command has to be named where the image has none.
        let asked = Asked { command: vec!["/".to_owned()], env: Vec::new(), terminal: None };
        // Until it is gone again: nobody takes it for a leftover.
        let live = self.shared.commands.begin();
        let container = self.make(live.id(), &OneOff::of(app.clone(), ImagePlace::of(image)), &asked).await?;
        let copied = copy(engine, &container, path, into, most).await;
        let removed = self.shared.remove(&container).await;
        copied?;
        Ok(removed?)
    }
}

async fn copy(
    engine: &Engine,
    container: &str,
    path: &str,
    into: &Path,
    most: Bytes,
) -> Result<(), CopyError> {
    let disk = |source| CopyError::Disk { into: into.to_owned(), source };
    let mut file = tokio::fs::File::create_new(into).await.map_err(disk)?;
    let docker = engine.connected().await?.docker.with_timeout(SILENCE);
    // The dot at the end asks for what is in it, and for nothing if it is a file.
    let options = DownloadFromContainerOptions { path: format!("{path}/.") };
    let mut pieces = docker.download_from_container(container, Some(options));
    let mut left = most.0;
    loop {
        let piece = match tokio::time::timeout(SILENCE, pieces.next()).await {
            Ok(None) => return file.flush().await.map_err(disk),
            Ok(Some(Ok(piece))) => piece,
            Ok(Some(Err(error))) => return Err(judge(engine.judge(&error), path)),
            Err(_) => {
                let message = format!("nothing came of `{path}` for {} s", SILENCE.as_secs());
                return Err(EngineError::Unfit(message).into());
            }
        };
        let rest = left.checked_sub(piece.len() as u64);
        left = rest.ok_or_else(|| CopyError::TooLarge { path: path.to_owned(), most })?;
        file.write_all(&piece).await.map_err(disk)?;
    }
}

fn judge(error: EngineError, path: &str) -> CopyError {
    let no_directory = |message: &str| message.contains("not a directory");
    match &error {
        EngineError::Refused { message, .. } if error.is_missing() || no_directory(message) => {
            CopyError::Missing(path.to_owned())
        }
        _ => error.into(),
    }
}
