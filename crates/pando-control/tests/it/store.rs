//! Every store keeps the same promises; the one on disk a few more.

mod contract;
mod crash;
mod disk;
mod histories;

use std::sync::Arc;

use pando_control::store::{Store, memory, sqlite};

/// A fresh store, and what must live as long as it.
pub(crate) struct Fresh {
    pub(crate) store: Arc<dyn Store>,
    _directory: Option<tempfile::TempDir>,
}

pub(crate) fn in_memory() -> Fresh {
    Fresh { store: Arc::new(memory::open().unwrap()), _directory: None }
}

pub(crate) fn in_local_memory() -> Fresh {
    Fresh { store: Arc::new(memory::Local::default()), _directory: None }
}

pub(crate) fn on_disk() -> Fresh {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(sqlite::open(&directory.path().join("store.db")).unwrap());
    Fresh { store, _directory: Some(directory) }
}
