//! Where commands run, as the assignment and what was seen last have it.

use std::path::PathBuf;
use std::sync::Arc;

use pando_model::assignment::Assignment;
use pando_model::id::InstanceId;
use pando_model::name::{AppName, ReplicaName};
use pando_model::observed::InstanceState;
use pando_model::release::ReleaseNumber;
use tokio::sync::watch;

use super::{Place, Places};
use crate::reconcile::{Facts, Site};

/// The agent's own [`Places`].
pub(crate) struct Assigned {
    pub(crate) site: Site,
    pub(crate) assignment: watch::Receiver<Arc<Assignment>>,
    pub(crate) facts: watch::Receiver<Option<Arc<Facts>>>,
}

impl Assigned {
    fn is_ready(&self, id: InstanceId) -> bool {
        let facts = self.facts.borrow();
        let fact = facts.as_ref().and_then(|facts| facts.instances.get(&id));
        fact.is_some_and(|fact| fact.status().state == InstanceState::Ready)
    }
}

impl Places for Assigned {
    /// Of an old and a new instance of the name the newest that is ready, else the newest.
    fn replica(&self, app: &AppName, replica: &ReplicaName) -> Option<Place> {
        let assignment = Arc::clone(&self.assignment.borrow());
        let named = assignment.instances.iter().filter(|(_, one)| one.app == *app && one.replica == *replica);
        let (_, chosen) = named.max_by_key(|(id, _)| (self.is_ready(**id), **id))?;
        let directory = self.site.directory(&(app.clone(), chosen.release));
        Some(Place { directory, env: chosen.env.clone(), user: self.site.user(app) })
    }

    fn release(&self, app: &AppName, release: ReleaseNumber) -> Option<PathBuf> {
        // It gets this name only when it is complete.
        Some(self.site.directory(&(app.clone(), release))).filter(|directory| directory.is_dir())
    }
}
