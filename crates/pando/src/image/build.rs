//! Builds an image by the `docker` command of this machine.
//!
//! Whoever has an engine to build with has that command, and builds with it what
//! they build by hand: with BuildKit where it is there, `.dockerignore`, caches,
//! secrets and registries as they are set up. What it says goes to stderr as it
//! comes, the failing step included.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Stdio;

use pando_api::v1::images::ImageServer;
use pando_config::Build;
use pando_image::engine::Engine;
use pando_image::image::Platform;
use tokio::process::Command;

use super::{ImageTrouble, context};

/// What the builder is called, of the engine at `socket`.
#[derive(Debug)]
pub(crate) struct Building<'a> {
    pub(crate) build: &'a Build,
    pub(crate) engine: &'a Engine,
    pub(crate) socket: &'a Path,
    /// The image's name in the engine, so that its layers are kept for the next build.
    pub(crate) tag: &'a str,
}

impl Building<'_> {
    /// Builds it for these servers; the image's id. Dropped, it ends the builder.
    ///
    /// # Errors
    /// When they are of several platforms, or it can't be built.
    pub(crate) async fn run(&self, servers: &[ImageServer]) -> Result<String, ImageTrouble> {
        let build = self.build.clone();
        let checked = tokio::task::spawn_blocking(move || context::check(&build)).await;
        checked.map_err(|error| ImageTrouble::Builder(error.into()))??;
        let native = self.engine.about().await?.platform;
        let platform = platform_of(servers)?.unwrap_or(native.clone());
        let id = tempfile::NamedTempFile::new().map_err(ImageTrouble::Builder)?;
        let mut command = self.command(id.path());
        // Only a builder that is asked for another needs to know of platforms.
        if platform != native {
            command.arg("--platform").arg(platform.to_string());
        }
        let status = command.arg(&self.build.context).status().await;
        let status = status.map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => ImageTrouble::NoBuilder,
            _ => ImageTrouble::Builder(error),
        })?;
        if !status.success() {
            let dockerfile = self.build.dockerfile.display().to_string();
            return Err(ImageTrouble::NotBuilt { dockerfile, status });
        }
        let id = tokio::fs::read_to_string(id.path()).await.map_err(ImageTrouble::Builder)?;
        Ok(id.trim().to_owned())
    }

    fn command(&self, id: &Path) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(format!("unix://{}", self.socket.display())).arg("build");
        command.arg("--tag").arg(self.tag).arg("--iidfile").arg(id);
        command.arg("--file").arg(&self.build.dockerfile);
        if let Some(target) = &self.build.target {
            command.arg("--target").arg(target);
        }
        for (name, value) in &self.build.args {
            command.arg("--build-arg").arg(format!("{name}={value}"));
        }
        // Data alone goes to stdout.
        let talk = io::stderr().as_fd().try_clone_to_owned().map_or_else(|_| Stdio::null(), Stdio::from);
        command.stdin(Stdio::null()).stdout(talk).kill_on_drop(true);
        command
    }
}

/// What all servers that answered have in common; `None`: none did.
fn platform_of(servers: &[ImageServer]) -> Result<Option<Platform>, ImageTrouble> {
    let mut told = servers.iter().filter_map(|server| Some((server, server.platform.as_ref()?)));
    let Some((first, platform)) = told.next() else { return Ok(None) };
    match told.find(|(_, other)| !platform.runs_on(other)) {
        None => Ok(Some(platform.clone())),
        Some((other, another)) => Err(ImageTrouble::Platforms(format!(
            "{} is {platform} and {} is {another}",
            first.name, other.name
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str, machine: Option<&str>) -> ImageServer {
        ImageServer {
            name: name.parse().unwrap(),
            platform: machine.map(Platform::of_machine),
            trouble: None,
        }
    }

    #[test]
    fn it_is_built_for_the_platform_that_all_servers_share() {
        let of = |servers: &[ImageServer]| platform_of(servers).map_err(|error| error.to_string());
        assert_eq!(of(&[]), Ok(None));
        assert_eq!(of(&[server("a", None)]), Ok(None));
        let arm = Some(Platform::of_machine("aarch64"));
        assert_eq!(
            of(&[server("a", None), server("b", Some("aarch64")), server("c", Some("aarch64"))]),
            Ok(arm)
        );
        let mixed = of(&[server("a", Some("aarch64")), server("b", Some("x86_64"))]).unwrap_err();
        assert!(mixed.contains("a is linux/arm64 and b is linux/amd64"), "{mixed}");
    }
}
