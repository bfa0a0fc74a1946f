//! What a server is to run: a whole target, never a step.
//!
//! An agent makes its server match the newest assignment that it has seen. An
//! instance that is not in it is stopped; a task that is in it is started at
//! most once, whatever dies.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::app::{HealthCheck, PullPolicy, VolumeSpec};
use crate::asset::AssetPath;
use crate::firewall::{Cidr, FirewallRules, Sources};
use crate::id::{InstanceId, ServerId, TaskId, Version};
use crate::name::{AppName, ProcessName, ReplicaName, ServerName};
use crate::release::{Digest, ReleaseNumber};
use crate::resources::Resources;
use crate::time::Millis;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    pub version: Version,
    pub server: ServerId,
    /// Shared with the assignments before: of what runs, nothing changes.
    pub instances: BTreeMap<InstanceId, Arc<AssignedInstance>>,
    pub tasks: BTreeMap<TaskId, AssignedTask>,
    /// Every release that must be unpacked here, or stay so. Others may be removed.
    pub releases: Vec<Arc<AssignedRelease>>,
    /// `None`: no load balancer is to run here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entry: Option<Entry>,
    /// The other servers of the cluster: who else may speak to the agent, and whom it may ask.
    #[serde(default)]
    pub peers: Vec<Peer>,
    /// What others must be able to reach here. `None`: nothing is known of it, and the firewall is not Pando's to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall: Option<FirewallRules>,
}

/// How a server takes requests from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Replicas on the same server get them while one can serve.
    pub prefer_local: bool,
}

/// Another server of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    pub server: ServerId,
    pub name: ServerName,
    /// Of its agent's API.
    pub agent_address: SocketAddr,
}

impl Assignment {
    #[must_use]
    pub fn empty(server: ServerId) -> Self {
        Self {
            version: Version::default(),
            server,
            instances: BTreeMap::new(),
            tasks: BTreeMap::new(),
            releases: Vec::new(),
            entry: None,
            peers: Vec::new(),
            firewall: None,
        }
    }

    /// Equal but for the version.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        let Self { version: _, server, instances, tasks, releases, entry, peers, firewall } = self;
        *server == other.server
            && *instances == other.instances
            && *tasks == other.tasks
            && *releases == other.releases
            && *entry == other.entry
            && *peers == other.peers
            && *firewall == other.firewall
    }
}

/// Makes what is equal in assignments the same in memory, one after the other as they are read. What servers are told has much in
/// common: a thousand that list each other are a million addresses, each time that all are read.
#[derive(Debug, Default)]
pub struct Sharing {
    ranges: BTreeSet<Arc<BTreeSet<Cidr>>>,
    releases: BTreeMap<(AppName, ReleaseNumber), Arc<AssignedRelease>>,
}

impl Sharing {
    /// The assignment, made of what those before it had where that is equal.
    #[must_use]
    pub fn share(&mut self, mut assignment: Assignment) -> Assignment {
        for rule in assignment.firewall.iter_mut().flat_map(|firewall| &mut firewall.rules) {
            let Sources::Of(own) = &mut rule.from else { continue };
            match self.ranges.get(own) {
                Some(known) => *own = Arc::clone(known),
                None => drop(self.ranges.insert(Arc::clone(own))),
            }
        }
        for own in &mut assignment.releases {
            let known =
                self.releases.entry((own.app.clone(), own.release)).or_insert_with(|| Arc::clone(own));
            if known == own {
                *own = Arc::clone(known);
            }
        }
        assignment
    }
}

/// A release that a server needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedRelease {
    pub app: AppName,
    pub release: ReleaseNumber,
    /// What it is unpacked from. `None`: it is an image that comes from elsewhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Digest>,
    /// What its containers are made of. `None`: it runs as plain processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ReleaseImage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<String>,
    /// Its files are given to the other releases of the app that are here, and theirs to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset_path: Option<AssetPath>,
    /// The app's own variables, for `prepare`.
    pub env: BTreeMap<String, String>,
}

/// The image of a release, as the file names it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseImage {
    pub reference: String,
    pub pull_policy: PullPolicy,
}

/// How a container of a release's image is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// What it listens on inside. `None`: nothing that others reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeSpec>,
    /// `None`: whom the image names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Where it sees the files of all releases, read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asset_path: Option<AssetPath>,
}

/// A replica to run: everything that its start needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedInstance {
    pub app: AppName,
    pub process: ProcessName,
    pub replica: ReplicaName,
    pub release: ReleaseNumber,
    /// Empty in a container: the image's own.
    pub command: String,
    /// `None`: a plain process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// On the server's private address.
    pub port: u16,
    /// Complete: the app's, the process's and Pando's own variables.
    pub env: BTreeMap<String, String>,
    pub health: HealthCheck,
    pub stop_timeout: Millis,
    pub resources: Resources,
}

/// A command that runs to its end, started at most once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedTask {
    pub app: AppName,
    pub release: ReleaseNumber,
    pub kind: TaskKind,
    pub command: String,
    /// `None`: a plain process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    pub env: BTreeMap<String, String>,
    /// After this it is stopped, and has failed.
    pub timeout: Millis,
    #[serde(default)]
    pub resources: Resources,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// The deployment's release command.
    Release,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::FirewallRule;

    fn told(env: &str) -> Assignment {
        let from = Sources::Of(Arc::new(["10.0.0.1".parse().unwrap()].into()));
        let rule = FirewallRule { ports: (22, 22), protocol: Default::default(), from, why: String::new() };
        let release = AssignedRelease {
            app: AppName::new("hits").unwrap(),
            release: ReleaseNumber(1),
            artifact: Some(Digest::new("a".repeat(64)).unwrap()),
            image: None,
            prepare: None,
            asset_path: None,
            env: [("KEY".to_owned(), env.to_owned())].into(),
        };
        let firewall = Some(FirewallRules { rules: vec![rule], ..FirewallRules::default() });
        let server = ServerId::from_uuid(uuid::Uuid::nil());
        Assignment { firewall, releases: vec![Arc::new(release)], ..Assignment::empty(server) }
    }

    #[test]
    fn what_is_equal_is_shared_and_nothing_else_changes() {
        let mut sharing = Sharing::default();
        let [one, other, third] = ["same", "same", "different"].map(|env| sharing.share(told(env)));
        assert_eq!((&one, &other, &third), (&told("same"), &told("same"), &told("different")));
        let ranges = |told: &Assignment| match &told.firewall.as_ref().unwrap().rules[0].from {
            Sources::Of(ranges) => Arc::as_ptr(ranges),
            Sources::Anywhere => unreachable!("it was of one address"),
        };
        assert!(ranges(&one) == ranges(&other) && ranges(&one) == ranges(&third));
        assert!(Arc::ptr_eq(&one.releases[0], &other.releases[0]));
        assert!(!Arc::ptr_eq(&one.releases[0], &third.releases[0]));
    }
}
