//! Directories of servers that an app's containers are to see.
//!
//! Whoever may deploy one app must not read with it what other apps, the cluster and the machine have on a server's disk. An
//! administrator lets an app have a directory by deploying it once; from then on whoever may deploy the app may name it.

use pando_api::auth::Scope;
use pando_api::{ErrorBody, ErrorCode};
use pando_model::app::{AppSpec, VolumeSpec};
use pando_model::desired::AppDesired;

use super::reply::Refused;
use crate::tokens::Caller;

/// `held`: the app as it is, whose kept releases tell what it was let have.
///
/// # Errors
/// A directory is named that nobody who may has let the app have, or that it had only for reading.
pub(super) fn check(caller: &Caller, held: Option<&AppDesired>, spec: &AppSpec) -> Result<(), Refused> {
    let refused = spec.volumes.iter().find(|volume| volume.source.starts_with('/') && !has(held, volume));
    let Some(volume) = refused.filter(|_| caller.scope != Scope::Admin) else { return Ok(()) };
    let text = format!(
        "`volumes`: `{}` is a directory of the servers, and no kept release of `{}` has it{}",
        volume.source,
        spec.name,
        if volume.read_only { "" } else { " for writing" },
    );
    let hint = "let somebody whose token has the scope `admin` deploy this once, or give the volume a name such as `data:/data`";
    Err(ErrorBody::new(ErrorCode::Forbidden, text).hint(hint).into())
}

fn has(held: Option<&AppDesired>, volume: &VolumeSpec) -> bool {
    let releases = held.into_iter().flat_map(|app| app.releases.values());
    let mut volumes = releases.flat_map(|release| &release.spec.volumes);
    volumes.any(|had| had.source == volume.source && (volume.read_only || !had.read_only))
}
