//! The plain description of an image: its configuration, byte for byte, and its layers in order.
//!
//! It is what a release names: the SHA-256 of [`Image::encode`] is the release's
//! artifact. Whoever reads one has checked it: the layers are those that the
//! configuration names, and nothing is larger than it may be.

use std::collections::BTreeMap;

use pando_model::release::Digest;
use pando_model::resources::Bytes;
use serde::{Deserialize, Serialize};

use crate::hash::digest_of;

pub use pando_model::image::{Layer, Platform};

/// As many as there may be in an image; engines stop at 127.
pub const MOST_LAYERS: usize = 256;

/// Of a layer, unpacked.
pub const MOST_LAYER: u64 = 64_000_000_000;

/// Of a configuration. They have a few kilobytes.
pub const MOST_CONFIG: usize = 1 << 20;

/// Of a description: a configuration, escaped, and its layers.
pub const MOST_DESCRIPTION: usize = 4 << 20;

const FORM: u32 = 1;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    #[error("this is not the description of an image: {0}")]
    Form(String),
    #[error("the image's configuration is not understood: {0}")]
    Config(String),
    #[error("the image's layers are not those that its configuration names")]
    Layers,
    #[error("the image has {count} layers; {MOST_LAYERS} are the most")]
    TooMany { count: usize },
    #[error("the {what} has {}; {} are the most", Bytes(*bytes), Bytes(*most))]
    TooLarge { what: &'static str, bytes: u64, most: u64 },
}

/// See the module. Made by [`Image::new`] or [`Image::read`], hence valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    config: String,
    platform: Platform,
    layers: Vec<Layer>,
}

/// As it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    pando_image: u32,
    config: String,
    layers: Vec<Layer>,
}

impl Image {
    /// # Errors
    /// When the layers are not those of the configuration, or something is too large; see [`ImageError`].
    pub fn new(config: String, layers: Vec<Layer>) -> Result<Self, ImageError> {
        let read = Config::read(config.as_bytes())?;
        bounded("configuration", config.len() as u64, MOST_CONFIG as u64)?;
        if layers.len() > MOST_LAYERS {
            return Err(ImageError::TooMany { count: layers.len() });
        }
        if !layers.iter().map(|layer| &layer.diff_id).eq(&read.diff_ids) {
            return Err(ImageError::Layers);
        }
        let mut known: BTreeMap<&Digest, &Layer> = BTreeMap::new();
        for layer in &layers {
            bounded("layer", layer.bytes.max(layer.packed_bytes), MOST_LAYER)?;
            // One that is there twice is the same both times.
            if *known.entry(&layer.diff_id).or_insert(layer) != layer {
                return Err(ImageError::Layers);
            }
        }
        Ok(Self { config, platform: read.platform, layers })
    }

    /// # Errors
    /// When it is none, or not a valid one.
    pub fn read(bytes: &[u8]) -> Result<Self, ImageError> {
        bounded("description of an image", bytes.len() as u64, MOST_DESCRIPTION as u64)?;
        let written: Written =
            serde_json::from_slice(bytes).map_err(|error| ImageError::Form(error.to_string()))?;
        if written.pando_image != FORM {
            let text = format!("its form is {}, and {FORM} is known", written.pando_image);
            return Err(ImageError::Form(text));
        }
        Self::new(written.config, written.layers)
    }

    /// The same bytes for the same image, always.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let written = Written { pando_image: FORM, config: self.config.clone(), layers: self.layers.clone() };
        // Strings and numbers can always be written.
        serde_json::to_vec(&written).unwrap_or_default()
    }

    /// What engines call the image by: the SHA-256 of its configuration.
    #[must_use]
    pub fn id(&self) -> Digest {
        digest_of(self.config.as_bytes())
    }

    #[must_use]
    pub fn config(&self) -> &str {
        &self.config
    }

    #[must_use]
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// In order, the lowest first; one may be there twice.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// Each layer once, in order.
    #[must_use]
    pub fn distinct_layers(&self) -> Vec<&Layer> {
        let mut seen = std::collections::BTreeSet::new();
        self.layers.iter().filter(|layer| seen.insert(&layer.diff_id)).collect()
    }
}

fn bounded(what: &'static str, bytes: u64, most: u64) -> Result<(), ImageError> {
    if bytes > most { Err(ImageError::TooLarge { what, bytes, most }) } else { Ok(()) }
}

/// What of a configuration matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    pub platform: Platform,
    pub diff_ids: Vec<Digest>,
}

#[derive(Deserialize)]
struct RawConfig {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    rootfs: RawRoot,
}

#[derive(Deserialize)]
struct RawRoot {
    #[serde(default)]
    diff_ids: Option<Vec<String>>,
}

impl Config {
    /// # Errors
    /// When it is not the configuration of an image that is made of layers.
    pub fn read(bytes: &[u8]) -> Result<Self, ImageError> {
        let wrong = |text: String| ImageError::Config(text);
        let raw: RawConfig = serde_json::from_slice(bytes).map_err(|error| wrong(error.to_string()))?;
        if raw.os.is_empty() || raw.architecture.is_empty() {
            return Err(wrong("it doesn't say for which system and processor it is".to_owned()));
        }
        let ids = raw.rootfs.diff_ids.unwrap_or_default();
        let diff_ids: Result<_, String> = ids.iter().map(|id| bare_digest(id)).collect();
        let platform = Platform {
            os: raw.os,
            architecture: raw.architecture,
            variant: raw.variant.filter(|variant| !variant.is_empty()),
        };
        Ok(Self { platform, diff_ids: diff_ids.map_err(wrong)? })
    }
}

/// The digest of `sha256:…`.
///
/// # Errors
/// When it is of another kind or form.
pub fn bare_digest(text: &str) -> Result<Digest, String> {
    let hex = text.strip_prefix("sha256:").ok_or_else(|| format!("`{text}` is not a SHA-256 digest"))?;
    Digest::new(hex)
}

#[cfg(test)]
mod tests;
