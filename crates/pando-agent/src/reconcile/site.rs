//! What is fixed about this server, and how a run on it looks.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use pando_model::app::VolumeSpec;
use pando_model::assignment::{
    AssignedInstance, AssignedRelease, AssignedTask, Assignment, Container, TaskKind,
};
use pando_model::id::ServerId;
use pando_model::name::AppName;
use pando_model::resources::Resources;
use pando_model::time::Millis;
use pando_runtime::{ImagePlace, Place, RunKey, RunSpec};

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
    /// What tells this agent's names for images from those of others on the same engine.
    pub images: String,
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

    /// What the engine calls the image of a release, from when the release is ready until it is removed: whatever becomes of
    /// the name in the file, this stays what was deployed.
    #[must_use]
    pub fn image(&self, key: &ReleaseKey) -> String {
        image_name(&self.images, key)
    }

    fn place(&self, key: &ReleaseKey, container: Option<&Container>, stop_timeout: Millis) -> Place {
        let Some(container) = container else { return Place::Directory(self.directory(key)) };
        let assets = container.asset_path.as_ref().map(|path| VolumeSpec {
            source: self.assets(key).display().to_string(),
            target: path.as_str().to_owned(),
            read_only: true,
        });
        Place::Image(Box::new(ImagePlace {
            reference: self.image(key),
            container_port: container.port,
            volumes: container.volumes.iter().cloned().chain(assets).collect(),
            stop_timeout,
        }))
    }

    /// What replicas of an image see in place of its own assets, once the release is ready.
    #[must_use]
    pub fn assets(&self, (app, release): &ReleaseKey) -> PathBuf {
        self.releases.join(app.as_str()).join(format!("{release}.assets")).join("all")
    }

    /// In a container, the file or else the image says who runs.
    fn user_in(&self, app: &AppName, container: Option<&Container>) -> Option<String> {
        container.map_or_else(|| self.user(app), |container| container.user.clone())
    }

    pub(crate) fn instance_run(&self, key: RunKey, instance: &AssignedInstance) -> RunSpec {
        RunSpec {
            key,
            app: instance.app.clone(),
            name: instance.replica.to_string(),
            command: instance.command.clone(),
            place: self.place(
                &(instance.app.clone(), instance.release),
                instance.container.as_ref(),
                instance.stop_timeout,
            ),
            env: instance.env.clone(),
            user: self.user_in(&instance.app, instance.container.as_ref()),
            resources: instance.resources,
            port: listens(instance).then(|| SocketAddr::new(self.address, instance.port)),
        }
    }

    pub(crate) fn task_run(&self, key: RunKey, task: &AssignedTask) -> RunSpec {
        let TaskKind::Release = task.kind;
        RunSpec {
            key,
            app: task.app.clone(),
            name: "release".to_owned(),
            command: task.command.clone(),
            place: self.place(&(task.app.clone(), task.release), task.container.as_ref(), super::task::STOP),
            env: task.env.clone(),
            user: self.user_in(&task.app, task.container.as_ref()),
            resources: task.resources,
            port: None,
        }
    }

    pub(crate) fn prepare_run(&self, key: RunKey, release: &AssignedRelease, command: &str) -> RunSpec {
        RunSpec {
            key,
            app: release.app.clone(),
            name: PREPARE.to_owned(),
            command: command.to_owned(),
            place: Place::Directory(self.staging(&(release.app.clone(), release.release))),
            env: release.env.clone(),
            user: self.user(&release.app),
            resources: Resources::default(),
            port: None,
        }
    }
}

/// See [`Site::image`].
pub(crate) fn image_name(mark: &str, (app, release): &ReleaseKey) -> String {
    format!("pando/{app}:{release}-{mark}")
}

/// A container whose file names no port is reached by nobody; every plain process is given one.
fn listens(instance: &AssignedInstance) -> bool {
    instance.container.as_ref().is_none_or(|container| container.port.is_some())
}

#[cfg(test)]
mod tests {
    use pando_model::asset::AssetPath;

    use super::*;

    #[test]
    fn what_serves_assets_sees_those_of_its_release_read_only() {
        let site = Site {
            server: ServerId::from_uuid(uuid::Uuid::nil()),
            releases: "/state/releases".into(),
            address: "10.0.0.1".parse().unwrap(),
            users: true,
            proxy: true,
            keeps_entry: true,
            images: "12345678".to_owned(),
        };
        let asset_path = Some(AssetPath::new("/app/assets").unwrap());
        let container = Container { asset_path, ..Container::default() };
        let key = ("shop".parse().unwrap(), "v3".parse().unwrap());
        let Place::Image(image) = site.place(&key, Some(&container), Millis::ZERO) else {
            panic!("no image")
        };
        let source = "/state/releases/shop/v3.assets/all".to_owned();
        assert_eq!(image.volumes, [VolumeSpec { source, target: "/app/assets".to_owned(), read_only: true }]);
    }
}
