//! Packed releases, descriptions and layers that no kept release needs, whole or in part. Everything here blocks.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use pando_model::release::Digest;
use pando_rt::error_chain::error_chain;

use super::{Thing, What, count};
use crate::artifacts::claims::Claims;
use crate::artifacts::disk::{Places, disk_error, names_in, there};
use crate::artifacts::{ArtifactError, images};

/// What lies there although it is neither among `wanted` nor a layer of an image that is.
pub(super) fn find(places: &Places, wanted: &BTreeSet<Digest>) -> Result<Vec<Thing>, ArtifactError> {
    let directory = places.fetched();
    // Listed first: what comes after that is of who comes after that.
    let names = names_in(&directory)?;
    let wanted = images::with_layers(places, wanted.clone());
    let mut things = Vec::new();
    for name in names {
        if let Some(why) = why(places, &name, &wanted) {
            let path = directory.join(&name);
            things.push(Thing { bytes: count::file(&path), what: What::Packed(path), name, why });
        }
    }
    Ok(things)
}

/// Why nobody needs it. `None`: somebody does, or it is nothing of ours.
fn why(places: &Places, name: &str, wanted: &BTreeSet<Digest>) -> Option<&'static str> {
    let part = name.strip_suffix(".part");
    let digest = Digest::new(part.unwrap_or(name)).ok()?;
    match part {
        _ if !wanted.contains(&digest) => Some("no kept release needs it"),
        Some(_) if places.whole(&digest).exists() => Some("all of it came meanwhile"),
        _ => None,
    }
}

/// Removes them, as long as nobody wants more than when it was looked; what went, and what could not.
pub(super) fn remove(places: &Places, claims: &Claims) -> Result<(Vec<Thing>, Vec<String>), ArtifactError> {
    let (mut gone, mut trouble) = (Vec::new(), Vec::new());
    'look: loop {
        let Some((needs, generation)) = claims.needs() else { return Ok((gone, trouble)) };
        for thing in find(places, &needs.artifacts)? {
            let What::Packed(path) = &thing.what else { continue };
            match claims.if_still(generation, || remove_file(path)) {
                Some(Ok(())) => gone.push(thing),
                Some(Err(error)) => trouble.push(error_chain(&error)),
                None => continue 'look,
            }
        }
        trouble.dedup();
        return Ok((gone, trouble));
    }
}

fn remove_file(path: &PathBuf) -> Result<(), ArtifactError> {
    there(fs::remove_file(path)).map_err(|source| disk_error("remove", path, source))
}
