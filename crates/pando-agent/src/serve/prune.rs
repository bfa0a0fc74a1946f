//! What nothing needs on this server, looked at and removed.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State as Held;
use pando_api::ErrorCode;
use pando_api::v1::prune::Pruning;

use super::reply::Refused;
use super::server::Served;
use crate::artifacts::Pruner;

/// An engine that hangs is asked no longer. Whoever asks waits a little longer.
const LOOK_WITHIN: Duration = Duration::from_secs(25);

/// Changes nothing.
pub(super) async fn show(Held(served): Held<Arc<Served>>) -> Result<Json<Pruning>, Refused> {
    let pruner = pruner(&served)?;
    let looked = tokio::time::timeout(LOOK_WITHIN, pruner.look()).await;
    let slow = |_| {
        let text = format!("it could not be found out within {} s", LOOK_WITHIN.as_secs());
        Refused::new(ErrorCode::Unavailable, text)
    };
    looked.map(Json).map_err(slow)
}

/// Removes what nothing needs by then. What was begun goes on if the caller leaves.
pub(super) async fn remove(Held(served): Held<Arc<Served>>) -> Result<Json<Pruning>, Refused> {
    Ok(Json(pruner(&served)?.prune().await))
}

fn pruner(served: &Served) -> Result<&Pruner, Refused> {
    let none = || Refused::new(ErrorCode::NotFound, "this server keeps no releases");
    served.state.pruner.as_ref().ok_or_else(none)
}
