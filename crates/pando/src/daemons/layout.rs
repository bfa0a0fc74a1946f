//! Where things lie under the state directory.

use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// The paths of one server's state.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    root: PathBuf,
}

/// How commands on this machine reach the control plane; readable by its owner alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ContextFile {
    pub(crate) url: String,
    pub(crate) token: String,
}

impl Layout {
    /// Makes the directory, and its path absolute.
    pub(crate) fn make(root: &Path) -> anyhow::Result<Self> {
        // Replicas of other users walk through it to their release; what is secret has a directory of its own mode.
        make_dir(root, 0o711)?;
        let root = root.canonicalize().with_context(|| format!("can't resolve `{}`", root.display()))?;
        let layout = Self { root };
        for dir in [layout.store_dir(), layout.artifacts(), layout.agent()] {
            make_dir(&dir, 0o700)?;
        }
        make_dir(&layout.proxy_dir(), 0o700)?;
        Ok(layout)
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    fn store_dir(&self) -> PathBuf {
        self.root.join("store")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.store_dir().join("pando.db")
    }

    /// The key that the store's secrets are sealed with; apart from the store, so that a copy of that has no secrets.
    pub(crate) fn vault(&self) -> PathBuf {
        self.root.join("secrets.key")
    }

    /// Packed releases, as they were uploaded.
    pub(crate) fn artifacts(&self) -> PathBuf {
        self.root.join("artifacts")
    }

    /// The agent's ledger.
    pub(crate) fn agent(&self) -> PathBuf {
        self.root.join("ledger")
    }

    /// Held by the daemon while it runs.
    pub(crate) fn lock(&self) -> PathBuf {
        self.root.join("daemon.lock")
    }

    /// Who this server is.
    pub(crate) fn identity(&self) -> PathBuf {
        self.root.join("server.json")
    }

    /// This server's key and certificate.
    pub(crate) fn trust(&self) -> PathBuf {
        self.agent().join("identity.json")
    }

    pub(crate) fn context(&self) -> PathBuf {
        self.root.join("context.json")
    }

    pub(crate) fn proxy_dir(&self) -> PathBuf {
        self.root.join("proxy")
    }

    pub(crate) fn proxy_socket(&self) -> PathBuf {
        self.proxy_dir().join("proxy.sock")
    }

    pub(crate) fn proxy_table(&self) -> PathBuf {
        self.proxy_dir().join("table.json")
    }

    /// A keeper's own directory.
    pub(crate) fn keeper(&self, name: &str) -> PathBuf {
        self.root.join("keep").join(name)
    }

    /// The daemon's and the load balancer's own output.
    pub(crate) fn own_logs(&self) -> PathBuf {
        self.root.join("log")
    }
}

pub(crate) fn make_dir(dir: &Path, mode: u32) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(mode).create(dir);
    made.with_context(|| format!("can't make the directory `{}`", dir.display()))?;
    fs::set_permissions(dir, Permissions::from_mode(mode))
        .with_context(|| format!("can't set the mode of `{}`", dir.display()))
}
