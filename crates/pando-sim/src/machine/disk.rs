//! What a machine remembers without power.

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_agent::ledger::Ledger;
use pando_agent::reconcile::{OnDisk, ReleaseKey};
use pando_model::id::ServerId;
use pando_model::release::Digest;
use pando_routing::{Secrets, Table};

#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) ledger: Ledger,
    /// The agent's copy of the newest table.
    pub(crate) table: Option<Arc<Table>>,
    /// And of certificates and keys, while it takes requests from outside.
    pub(crate) secrets: Option<Arc<Secrets>>,
    /// The proxy's own.
    pub(crate) proxy_table: Option<Arc<Table>>,
    /// Sealed ones with what they are made from.
    pub(crate) releases: BTreeMap<ReleaseKey, Option<Digest>>,
    /// Writes fail.
    pub(crate) full: bool,
}

impl Disk {
    pub(crate) fn new(server: ServerId) -> Self {
        Self {
            ledger: Ledger::empty(server),
            table: None,
            secrets: None,
            proxy_table: None,
            releases: BTreeMap::new(),
            full: false,
        }
    }

    /// What an agent finds at its start.
    pub(crate) fn found(&self) -> Vec<OnDisk> {
        let found = |(release, sealed): (&ReleaseKey, &Option<Digest>)| OnDisk {
            release: release.clone(),
            sealed: sealed.clone(),
        };
        self.releases.iter().map(found).collect()
    }
}
