//! Directories of releases that nobody asked for. Everything here blocks.

use std::collections::BTreeSet;

use super::{Thing, What, count};
use crate::artifacts::ArtifactError;
use crate::artifacts::disk::{self, Places};
use crate::reconcile::ReleaseKey;

/// What lies there of releases that are not among `held`, whole or in part.
pub(super) fn find(places: &Places, held: &BTreeSet<ReleaseKey>) -> Result<Vec<Thing>, ArtifactError> {
    let found = disk::scan(places)?.into_iter().map(|one| one.release);
    let things = found.filter(|key| !held.contains(key)).filter_map(|key| {
        let paths = places.all_of(&key);
        // With an image alone, it is told among images.
        paths.iter().any(|path| path.exists()).then(|| Thing {
            bytes: paths.iter().map(|path| count::tree(path)).sum(),
            name: format!("{} {}", key.0, key.1),
            why: "it is no release that this server keeps",
            what: What::Release(key),
        })
    });
    Ok(things.collect())
}
