//! Where commands run, as the assignment and what was seen last have it.

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_api::v1::agents::ExecLike;
use pando_model::assignment::Assignment;
use pando_model::id::InstanceId;
use pando_model::name::{AppName, ReplicaName};
use pando_model::observed::InstanceState;
use pando_model::release::ReleaseNumber;
use pando_runtime::docker::{OneOff, Within};
use pando_runtime::process::Limits;
use pando_runtime::{ImagePlace, RunKey};
use tokio::sync::watch;

use super::{Ground, Place, Places};
use crate::reconcile::{Facts, Site};

/// The agent's own [`Places`].
pub(crate) struct Assigned {
    pub(crate) site: Site,
    pub(crate) assignment: watch::Receiver<Arc<Assignment>>,
    pub(crate) facts: watch::Receiver<Option<Arc<Facts>>>,
}

impl Assigned {
    /// Which start of the instance runs.
    fn attempt(&self, id: InstanceId) -> u32 {
        let facts = self.facts.borrow();
        let fact = facts.as_ref().and_then(|facts| facts.instances.get(&id));
        fact.map_or(0, |fact| fact.status().restarts)
    }

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
        let (id, chosen) = named.max_by_key(|(id, _)| (self.is_ready(**id), **id))?;
        let key = RunKey { id: id.as_uuid(), attempt: self.attempt(*id) };
        if chosen.container.is_some() {
            return Some(Place {
                ground: Ground::Container(Within::Run(key)),
                env: BTreeMap::new(),
                user: None,
            });
        }
        let directory = self.site.directory(&(app.clone(), chosen.release));
        let ground = Ground::Directory(directory, Limits::Beside(key, chosen.resources));
        Some(Place { ground, env: chosen.env.clone(), user: self.site.user(app) })
    }

    fn release(&self, app: &AppName, release: ReleaseNumber, like: Option<&ExecLike>) -> Option<Ground> {
        let key = (app.clone(), release);
        let assignment = Arc::clone(&self.assignment.borrow());
        let assigned = assignment.releases.iter().find(|one| one.app == *app && one.release == release);
        // A control plane of an earlier version doesn't say it.
        let ExecLike { user, volumes, resources } =
            like.cloned().unwrap_or_else(|| like_a_replica(&assignment, &key));
        if assigned.is_some_and(|assigned| assigned.image.is_some()) {
            let image = ImagePlace { volumes, ..ImagePlace::of(self.site.image(&key)) };
            let one_off = OneOff { app: app.clone(), image, user, resources };
            return Some(Ground::Container(Within::Image(Box::new(one_off))));
        }
        // It gets this name only when it is complete.
        let directory = Some(self.site.directory(&key)).filter(|directory| directory.is_dir())?;
        Some(Ground::Directory(directory, Limits::Alone(resources)))
    }
}

/// What a replica of the release has here; nothing, where there is none.
fn like_a_replica(assignment: &Assignment, (app, release): &(AppName, ReleaseNumber)) -> ExecLike {
    let replica = assignment.instances.values().find(|one| one.app == *app && one.release == *release);
    let container = replica.and_then(|one| one.container.as_ref());
    ExecLike {
        user: container.and_then(|container| container.user.clone()),
        volumes: container.map(|container| container.volumes.clone()).unwrap_or_default(),
        resources: replica.map(|one| one.resources).unwrap_or_default(),
    }
}
