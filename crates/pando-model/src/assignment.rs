//! What a server is to run: a whole target, never a step.
//!
//! An agent makes its server match the newest assignment that it has seen. An
//! instance that is not in it is stopped; a task that is in it is started at
//! most once, whatever dies.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::app::HealthCheck;
use crate::id::{InstanceId, ServerId, TaskId, Version};
use crate::name::{AppName, ProcessName, ReplicaName};
use crate::release::{Digest, ReleaseNumber};
use crate::resources::Resources;
use crate::time::Millis;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    pub version: Version,
    pub server: ServerId,
    pub instances: BTreeMap<InstanceId, AssignedInstance>,
    pub tasks: BTreeMap<TaskId, AssignedTask>,
    /// Every release that must be unpacked here, or stay so. Others may be removed.
    pub releases: Vec<AssignedRelease>,
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
        }
    }

    /// Equal but for the version.
    #[must_use]
    pub fn same_content(&self, other: &Self) -> bool {
        self.server == other.server
            && self.instances == other.instances
            && self.tasks == other.tasks
            && self.releases == other.releases
    }
}

/// A release that a server needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AssignedRelease {
    pub app: AppName,
    pub release: ReleaseNumber,
    pub artifact: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prepare: Option<String>,
    /// The app's own variables, for `prepare`.
    pub env: BTreeMap<String, String>,
}

/// A replica to run: everything that its start needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AssignedInstance {
    pub app: AppName,
    pub process: ProcessName,
    pub replica: ReplicaName,
    pub release: ReleaseNumber,
    pub command: String,
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
    pub env: BTreeMap<String, String>,
    /// After this it is stopped, and has failed.
    pub timeout: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TaskKind {
    /// The deployment's release command.
    Release,
}
