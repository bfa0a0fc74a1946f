//! Reads an image out of the engine.

use std::io;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

use super::transfer::{self, Piece};
use super::{Engine, EngineError};
use crate::archive::{self, ArchiveError, Spooled, Wanted};

/// How long an engine may send nothing in the middle of an image.
const STALL: Duration = Duration::from_secs(120);

#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Archive(#[from] ArchiveError),
}

/// Has the engine save the image and hands out its layers that are wanted, each once, as they are found; answers its configuration.
/// At most two wait in `layers` while those before are being sent.
///
/// # Errors
/// See [`SaveError`]. [`ArchiveError::Stopped`]: nobody takes layers any more.
pub async fn save(
    engine: &Engine,
    wanted: Wanted,
    layers: mpsc::Sender<Spooled>,
) -> Result<String, SaveError> {
    // By its id: a name may be given to another image in the middle.
    let id = format!("sha256:{}", wanted.id);
    let (sender, reader) = transfer::reader();
    let reading = tokio::task::spawn_blocking(move || {
        archive::read(reader, &wanted, |layer| layers.blocking_send(layer).is_ok())
    });
    let docker = engine.patient();
    let fed = feed(engine, docker.export_image(&id), sender).await;
    // It fails only by a panic, or when the program ends.
    let read = reading.await.unwrap_or(Err(ArchiveError::Stopped));
    // What the engine says explains better than that its archive is cut.
    match (fed, read) {
        (Err(error), Err(_)) => Err(error.into()),
        (_, read) => Ok(read?),
    }
}

/// Returns when the engine is at its end, or nobody reads any more.
async fn feed(
    engine: &Engine,
    pieces: impl Stream<Item = Result<bytes::Bytes, bollard::errors::Error>>,
    sender: mpsc::Sender<Piece>,
) -> Result<(), EngineError> {
    let mut pieces = std::pin::pin!(pieces);
    let mut begun = false;
    loop {
        // Until it begins, the request has its own deadline.
        let next = match begun {
            true => tokio::time::timeout(STALL, pieces.next()).await,
            false => Ok(pieces.next().await),
        };
        let failure = match next {
            Ok(None) => return Ok(()),
            Ok(Some(Ok(piece))) => {
                begun = true;
                if sender.send(Ok(piece)).await.is_err() {
                    return Ok(());
                }
                continue;
            }
            Ok(Some(Err(error))) => engine.failed("save the image", error),
            Err(_) => EngineError::Slow { after: STALL },
        };
        // The reader must not take the break for the archive's end.
        let _ = sender.send(Err(io::Error::other("the engine broke off"))).await;
        return Err(failure);
    }
}
