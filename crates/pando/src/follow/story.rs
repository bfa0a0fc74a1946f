//! What one view after the other tells: what is new in it, and whether anything was switched yet.

use std::collections::HashSet;

use pando_api::v1::apps::{ReplicaState, ReplicaStatus};
use pando_api::v1::deployments::DeploymentView;
use pando_api::v1::events::Event;
use pando_model::release::ReleaseNumber;
use uuid::Uuid;

/// A deployment as it was seen so far.
#[derive(Debug)]
pub(super) struct Story {
    /// What ran before it.
    pub(super) previous: Option<ReleaseNumber>,
    told: HashSet<Uuid>,
    switched: bool,
    waiting_on: Vec<String>,
}

impl Story {
    pub(super) fn new(previous: Option<ReleaseNumber>) -> Self {
        Self { previous, told: HashSet::new(), switched: false, waiting_on: Vec::new() }
    }

    /// The events that were not told before, oldest first.
    pub(super) fn news<'view>(&mut self, view: &'view DeploymentView) -> Vec<&'view Event> {
        let release = view.deployment.release;
        self.switched |= view.replicas.iter().any(|replica| is_switch(replica, release));
        let news = view.progress.iter().filter(|event| !self.told.contains(&event.id)).collect();
        // A view has all that it will ever tell again: older ones need not be kept in mind.
        self.told = view.progress.iter().map(|event| event.id).collect();
        news
    }

    /// Whether `view` waits for something else than the last time that this was asked.
    pub(super) fn waits_for_something_new(&mut self, view: &DeploymentView) -> bool {
        let other = self.waiting_on != view.waiting_on;
        self.waiting_on.clone_from(&view.waiting_on);
        other
    }

    /// A new replica served, or an old one was taken away, as far as was seen.
    pub(super) fn switched(&self) -> bool {
        self.switched
    }
}

fn is_switch(replica: &ReplicaStatus, release: ReleaseNumber) -> bool {
    if replica.release == release {
        matches!(replica.state, ReplicaState::Serving | ReplicaState::Draining)
    } else {
        matches!(replica.state, ReplicaState::Draining | ReplicaState::Stopping)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use pando_api::v1::apps::AppStatus;

    use super::*;

    /// A view of a deployment of v2, as the API writes it.
    pub(in super::super) fn view(replicas: &[(u64, &str)], events: &[u128]) -> DeploymentView {
        let replica = |(index, (release, state)): (usize, &(u64, &str))| {
            serde_json::json!({
                "replica": format!("web-{}", index + 1), "process": "web", "instance": Uuid::from_u128(index as u128),
                "release": release, "server": Uuid::from_u128(9), "server_name": "main", "port": 20001, "state": state,
                "since": "2026-01-01T00:00:00Z", "pid": null, "restarts": 0, "ready_for": null, "in_flight": 0,
                "problem": null, "last_exit": null,
            })
        };
        let event = |id: &u128| serde_json::json!({ "id": Uuid::from_u128(*id), "time": "2026-01-01T00:00:01Z", "level": "info", "text": format!("event {id}") });
        serde_json::from_value(serde_json::json!({
            "cursor": 1,
            "deployment": {
                "id": Uuid::from_u128(7), "app": "hits", "kind": "deploy", "release": 2, "created_at": "2026-01-01T00:00:00Z",
                "created_by": "ci", "phase": { "phase": "rolling" },
            },
            "queued_behind": [], "waiting_on": [],
            "progress": events.iter().map(event).collect::<Vec<_>>(),
            "replicas": replicas.iter().enumerate().map(replica).collect::<Vec<_>>(),
        }))
        .unwrap()
    }

    /// An app that runs `release`, in a state.
    pub(in super::super) fn status(release: Option<u64>, state: &str) -> AppStatus {
        serde_json::from_value(serde_json::json!({
            "name": "hits", "state": state, "release": release, "deployment": null, "queued": 0, "last": null,
            "wish": {}, "replicas": [], "waiting_on": ["web: 2 of 3 ready"], "domains": [], "urls": [],
            "processes": [{ "process": "web", "role": "web", "wanted": 3, "ready": 2, "existing": 3, "scaled": false }],
        }))
        .unwrap()
    }

    #[test]
    fn each_event_is_told_once_however_long_the_log_grows() {
        let mut story = Story::new(None);
        let told = |events: Vec<&Event>| events.iter().map(|event| event.text.clone()).collect::<Vec<_>>();
        assert_eq!(told(story.news(&view(&[], &[1, 2]))), ["event 1", "event 2"]);
        // The log is cut at its beginning.
        assert_eq!(told(story.news(&view(&[], &[2, 3]))), ["event 3"]);
        assert!(story.news(&view(&[], &[2, 3])).is_empty());
    }

    #[test]
    fn a_switch_is_seen_on_either_side() {
        for (replicas, switched) in [
            (&[(1, "serving"), (2, "starting")][..], false),
            (&[(1, "serving"), (2, "ready")], false),
            (&[(1, "serving"), (2, "serving")], true),
            (&[(1, "draining"), (2, "starting")], true),
            (&[(1, "stopping")], true),
            (&[(1, "serving"), (2, "stopping")], false),
        ] {
            let mut story = Story::new(Some(ReleaseNumber(1)));
            story.news(&view(replicas, &[]));
            assert_eq!(story.switched(), switched, "{replicas:?}");
        }
    }
}
