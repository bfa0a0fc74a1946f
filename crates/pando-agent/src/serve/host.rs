//! What this machine is, and how much room it has for images.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State as Held;
use pando_api::ErrorCode;
use pando_api::v1::images::{DiskSpace, HostFacts};
use pando_image::engine::Engine;
use pando_image::image::Platform;
use pando_image::space::Disk;
use pando_rt::error_chain::error_chain;

use super::reply::Refused;
use super::server::Served;
use crate::artifacts::is_same_disk;

/// How long the engine may take. Whoever asks waits a little longer.
const WORD: Duration = Duration::from_secs(2);

pub(super) async fn show(Held(served): Held<Arc<Served>>) -> Result<Json<HostFacts>, Refused> {
    let about =
        tokio::time::timeout(WORD, async { Engine::connect(&served.state.engine).await?.about().await });
    let about =
        about.await.map_err(|_| format!("the container engine did not answer within {} s", WORD.as_secs()));
    let about = about.and_then(|about| about.map_err(|error| error_chain(&error)));
    let releases = served.state.releases.clone();
    let facts = tokio::task::spawn_blocking(move || {
        let state = space(&releases)?;
        let other = |root: &std::path::PathBuf| !is_same_disk(&releases, root);
        let root = about.as_ref().ok().and_then(|about| about.root.clone()).filter(other);
        Ok(HostFacts {
            platform: about.as_ref().map_or_else(|_| native(), |about| about.platform.clone()),
            state,
            engine: root.and_then(|root| space(&root).ok()),
            trouble: about.err(),
        })
    });
    let failed =
        |text: String| Refused::new(ErrorCode::Internal, format!("the disk can't be looked at: {text}"));
    let facts: Result<HostFacts, std::io::Error> = facts.await.map_err(|error| failed(error.to_string()))?;
    facts.map(Json).map_err(|error| failed(error.to_string()))
}

fn native() -> Platform {
    Platform::of_machine(&rustix::system::uname().machine().to_string_lossy())
}

fn space(path: &Path) -> std::io::Result<DiskSpace> {
    let disk = Disk::of(path)?;
    Ok(DiskSpace { path: path.display().to_string(), free_bytes: disk.free, total_bytes: disk.total })
}
