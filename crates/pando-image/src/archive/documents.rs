//! The descriptions in an archive, and the way through them to the configuration that is wanted.

use std::collections::BTreeMap;

use pando_model::release::Digest;
use pando_model::resources::Bytes;
use serde::Deserialize;
use serde_json::Value;

use super::ArchiveError;
use crate::hash::digest_of;
use crate::image::{Config, bare_digest};

/// Of all of them together.
const MOST: usize = 32 << 20;

#[derive(Default)]
pub(super) struct Documents {
    by_digest: BTreeMap<Digest, Vec<u8>>,
    names: BTreeMap<String, Digest>,
    bytes: usize,
}

/// An entry of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    config: String,
}

impl Documents {
    pub(super) fn add(&mut self, name: String, bytes: Vec<u8>) -> Result<(), ArchiveError> {
        self.bytes += bytes.len();
        if self.bytes > MOST {
            return Err(ArchiveError::Documents(Bytes(MOST as u64)));
        }
        let digest = digest_of(&bytes);
        self.names.insert(name, digest.clone());
        self.by_digest.insert(digest, bytes);
        Ok(())
    }

    /// The configuration of the image that the engine calls `id` and that is made of these layers. Engines call an image by
    /// the digest of its configuration, or of its manifest or index.
    pub(super) fn config(&self, id: &Digest, diff_ids: &[Digest]) -> Option<String> {
        let found = self.config_at(id, diff_ids).or_else(|| {
            let mut below = Vec::new();
            self.collect(id, 0, &mut below);
            below.iter().find_map(|digest| self.config_at(digest, diff_ids))
        });
        found.or_else(|| self.listed().iter().find_map(|digest| self.config_at(digest, diff_ids)))
    }

    fn config_at(&self, digest: &Digest, diff_ids: &[Digest]) -> Option<String> {
        let bytes = self.by_digest.get(digest)?;
        let config = Config::read(bytes).ok()?;
        (config.diff_ids == diff_ids).then(|| String::from_utf8(bytes.clone()).ok()).flatten()
    }

    /// The configurations of a manifest, or of all manifests that an index names. Attestations have one too, without layers
    /// that anybody runs.
    fn collect(&self, digest: &Digest, depth: usize, found: &mut Vec<Digest>) {
        let document: Option<Value> =
            self.by_digest.get(digest).and_then(|bytes| serde_json::from_slice(bytes).ok());
        let Some(document) = document.filter(|_| depth < 4) else { return };
        found.extend(digest_in(&document["config"]));
        for manifest in document["manifests"].as_array().into_iter().flatten() {
            if let Some(digest) = digest_in(manifest) {
                self.collect(&digest, depth + 1, found);
            }
        }
    }

    /// What `manifest.json` names.
    fn listed(&self) -> Vec<Digest> {
        let bytes = self.names.get("manifest.json").and_then(|digest| self.by_digest.get(digest));
        let listed: Option<Vec<Listed>> = bytes.and_then(|bytes| serde_json::from_slice(bytes).ok());
        let listed = listed.unwrap_or_default();
        listed.iter().filter_map(|one| self.names.get(&one.config).cloned()).collect()
    }
}

fn digest_in(descriptor: &Value) -> Option<Digest> {
    bare_digest(descriptor["digest"].as_str()?).ok()
}
