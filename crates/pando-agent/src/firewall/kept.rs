//! What the agent must still know of the firewall after a crash or a reboot: which rules have proved themselves, and which
//! were refused.
//!
//! Rules that have proved themselves come back at once after a reboot, also while the control plane is away.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use pando_model::firewall::FirewallRules;
use pando_rt::fs::{read_if_there, write_atomically};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    #[serde(default)]
    pub(crate) proved: Option<Proved>,
    #[serde(default)]
    pub(crate) refused: Option<Refused>,
}

/// Rules with which the control plane could be reached afresh.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Proved {
    pub(crate) rules: FirewallRules,
    /// What nft was given.
    pub(crate) text: String,
    /// How nft lists it: what differs was changed by somebody else.
    pub(crate) listing: String,
}

/// Rules that would have kept somebody out who was here. They stay refused when that person leaves, until they are changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Refused {
    pub(crate) rules: FirewallRules,
    pub(crate) problems: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("can't keep what is known of the firewall in `{}`", path.display())]
pub(crate) struct KeptError {
    path: PathBuf,
    source: io::Error,
}

impl Kept {
    /// Blocking. A file that can't be read is as good as none: what is in force is looked up anyway, and rules prove themselves again.
    ///
    /// # Errors
    /// When the directory can't be made.
    pub(crate) fn load(directory: &Path) -> Result<Self, KeptError> {
        let failed = |source| KeptError { path: directory.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
        let bytes = read_if_there(&file(directory)).map_err(failed)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    /// Blocking.
    ///
    /// # Errors
    /// What the disk answers; what was kept before is still there.
    pub(crate) fn save(&self, directory: &Path) -> Result<(), KeptError> {
        let path = file(directory);
        let written = serde_json::to_vec(self).map_err(io::Error::from);
        let written = written.and_then(|bytes| write_atomically(&path, &bytes, 0o600));
        written.map_err(|source| KeptError { path, source })
    }
}

fn file(directory: &Path) -> PathBuf {
    directory.join("firewall.json")
}
