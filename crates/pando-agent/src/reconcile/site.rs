//! What is fixed about this server, and how a run on it looks.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use pando_model::assignment::{AssignedInstance, AssignedRelease, AssignedTask, Assignment, TaskKind};
use pando_model::id::ServerId;
use pando_model::name::AppName;
use pando_model::resources::Resources;
use pando_runtime::{RunKey, RunSpec};

use super::ReleaseKey;
use crate::account;

/// The log's name of `prepare` runs, and how they are known again.
pub(crate) const PREPARE: &str = "prepare";

/// One server, as far as deciding needs it.
#[derive(Debug, Clone)]
pub struct Site {
    pub server: ServerId,
    /// Releases are unpacked in `APP/vN` below it.
    pub releases: PathBuf,
    /// Replicas listen on it.
    pub address: IpAddr,
    /// Everything of an app runs as `pando-APP` (cut to 32 characters), rather than as the caller.
    pub users: bool,
    /// There may be a proxy here that the agent speaks with.
    pub proxy: bool,
    /// It runs when the assignment says so, not always.
    pub keeps_entry: bool,
}

impl Site {
    /// Whether a proxy runs here, or is to, by this assignment.
    #[must_use]
    pub fn has_proxy(&self, assignment: &Assignment) -> bool {
        self.proxy && (!self.keeps_entry || assignment.entry.is_some())
    }

    /// Where a release lies when it is ready.
    #[must_use]
    pub fn directory(&self, (app, release): &ReleaseKey) -> PathBuf {
        self.releases.join(app.as_str()).join(release.to_string())
    }

    /// Where it lies until then.
    #[must_use]
    pub fn staging(&self, (app, release): &ReleaseKey) -> PathBuf {
        self.releases.join(app.as_str()).join(format!("{release}.tmp"))
    }

    /// The system user that an app's commands run as.
    #[must_use]
    pub fn user(&self, app: &AppName) -> Option<String> {
        self.users.then(|| account::user_of(app))
    }

    pub(crate) fn instance_run(&self, key: RunKey, instance: &AssignedInstance) -> RunSpec {
        RunSpec {
            key,
            app: instance.app.clone(),
            name: instance.replica.to_string(),
            command: instance.command.clone(),
            directory: self.directory(&(instance.app.clone(), instance.release)),
            env: instance.env.clone(),
            user: self.user(&instance.app),
            resources: instance.resources,
            port: Some(SocketAddr::new(self.address, instance.port)),
        }
    }

    pub(crate) fn task_run(&self, key: RunKey, task: &AssignedTask) -> RunSpec {
        let TaskKind::Release = task.kind;
        RunSpec {
            key,
            app: task.app.clone(),
            name: "release".to_owned(),
            command: task.command.clone(),
            directory: self.directory(&(task.app.clone(), task.release)),
            env: task.env.clone(),
            user: self.user(&task.app),
            resources: Resources::default(),
            port: None,
        }
    }

    pub(crate) fn prepare_run(&self, key: RunKey, release: &AssignedRelease, command: &str) -> RunSpec {
        RunSpec {
            key,
            app: release.app.clone(),
            name: PREPARE.to_owned(),
            command: command.to_owned(),
            directory: self.staging(&(release.app.clone(), release.release)),
            env: release.env.clone(),
            user: self.user(&release.app),
            resources: Resources::default(),
            port: None,
        }
    }
}
