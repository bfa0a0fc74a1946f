//! Which engine this machine's `docker` command speaks with.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use pando_image::engine::DEFAULT_SOCKET;
use pando_image::hash::digest_of;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::ImageTrouble;

/// No more of Docker's own files is read.
const MOST: u64 = 1 << 20;

/// Finds the socket of the engine that `docker` would use: `DOCKER_HOST`, the context that `DOCKER_CONTEXT` names or `docker context
/// use` chose, or the default place.
///
/// # Errors
/// [`ImageTrouble::Elsewhere`], [`ImageTrouble::Context`].
pub(crate) fn local_socket() -> Result<PathBuf, ImageTrouble> {
    socket(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
}

/// Docker's own settings, of which this is needed.
#[derive(Debug, Default, Deserialize)]
struct Config {
    #[serde(default, rename = "currentContext")]
    current_context: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Context {
    endpoints: Endpoints,
}

#[derive(Debug, Deserialize)]
struct Endpoints {
    docker: Endpoint,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Endpoint {
    #[serde(default)]
    host: String,
}

fn socket(variable: impl Fn(&str) -> Option<OsString>) -> Result<PathBuf, ImageTrouble> {
    if let Some(host) = variable("DOCKER_HOST") {
        return unix(&host.to_string_lossy(), || "`DOCKER_HOST` is".to_owned());
    }
    let home = variable("HOME").map(|home| PathBuf::from(home).join(".docker"));
    let Some(directory) = variable("DOCKER_CONFIG").map(PathBuf::from).or(home) else {
        return Ok(DEFAULT_SOCKET.into());
    };
    let chosen = match variable("DOCKER_CONTEXT") {
        Some(named) => named.to_string_lossy().into_owned(),
        None => read::<Config>(&directory.join("config.json"))?.unwrap_or_default().current_context,
    };
    if chosen.is_empty() || chosen == "default" {
        return Ok(DEFAULT_SOCKET.into());
    }
    let context = read::<Context>(&meta(&directory, &chosen))?;
    let context = context.ok_or_else(|| ImageTrouble::NoContextOfDocker(chosen.clone()))?;
    unix(&context.endpoints.docker.host, || format!("Docker's context `{chosen}` is"))
}

/// What Docker knows of the context of that name.
fn meta(directory: &Path, context: &str) -> PathBuf {
    let name = digest_of(context.as_bytes()).to_string();
    directory.join("contexts/meta").join(name).join("meta.json")
}

fn unix(host: &str, whose: impl Fn() -> String) -> Result<PathBuf, ImageTrouble> {
    let path = host.strip_prefix("unix://").filter(|path| path.starts_with('/'));
    let elsewhere = || ImageTrouble::Elsewhere { whose: whose(), host: host.to_owned() };
    path.map(PathBuf::from).ok_or_else(elsewhere)
}

/// `None`: there is no such file.
fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, ImageTrouble> {
    let unusable = |source: io::Error| ImageTrouble::Context { path: path.to_owned(), source };
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable(error)),
        Ok(found) if found.len() > MOST => {
            return Err(unusable(io::Error::new(io::ErrorKind::InvalidData, "it is larger than 1 MiB")));
        }
        Ok(_) => {}
    }
    let bytes = std::fs::read(path).map_err(unusable)?;
    serde_json::from_slice(&bytes).map(Some).map_err(|error| unusable(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(set: &[(&str, &Path)]) -> String {
        let found = socket(|name| {
            set.iter().find(|(of, _)| *of == name).map(|(_, value)| value.as_os_str().to_owned())
        });
        found.map_or_else(|error| error.to_string(), |path| path.display().to_string())
    }

    #[test]
    fn an_address_on_another_machine_is_named_not_ignored() {
        let host = |host: &str| at(&[("DOCKER_HOST", Path::new(host))]);
        assert_eq!(host("unix:///run/user/1000/docker.sock"), "/run/user/1000/docker.sock");
        assert_eq!(at(&[]), DEFAULT_SOCKET);
        insta::assert_snapshot!(host("ssh://me@build"), @"`DOCKER_HOST` is `ssh://me@build`, and an image is built and sent by an engine of this machine, at a Unix socket; set `DOCKER_HOST=unix:///var/run/docker.sock`, or where yours listens");
    }

    #[test]
    fn a_context_is_followed_as_docker_does() {
        let home = tempfile::tempdir().unwrap();
        let docker = home.path().join(".docker");
        let context = |name: &str, host: &str| {
            let file = meta(&docker, name);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            let text = format!(
                r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}","SkipTLSVerify":false}}}}}}"#
            );
            std::fs::write(file, text).unwrap();
        };
        context("rootless", "unix:///run/user/7/docker.sock");
        context("far", "tcp://10.0.0.1:2376");
        let hashed = "12b961af5feb3e9d39f93b2cefb9a1a944f18d02cca0cac2f04f5a982240605f/meta.json";
        assert!(meta(&docker, "rootless").ends_with(hashed), "as Docker calls its files");
        let home = ("HOME", home.path());
        assert_eq!(at(&[home]), DEFAULT_SOCKET, "nothing was chosen");
        std::fs::write(docker.join("config.json"), r#"{"auths":{},"currentContext":"rootless"}"#).unwrap();
        assert_eq!(at(&[home]), "/run/user/7/docker.sock");
        let named = |name| at(&[home, ("DOCKER_CONTEXT", Path::new(name))]);
        assert_eq!(named("default"), DEFAULT_SOCKET);
        assert!(
            named("far").starts_with("Docker's context `far` is `tcp://10.0.0.1:2376`, and"),
            "{}",
            named("far")
        );
        assert_eq!(
            named("gone"),
            "there is no context `gone` in Docker's settings; `docker context ls` lists those that there are"
        );
        assert_eq!(at(&[("DOCKER_CONFIG", &docker)]), "/run/user/7/docker.sock");
        std::fs::write(docker.join("config.json"), "{").unwrap();
        assert!(at(&[home]).starts_with("can't use Docker's settings in `"), "{}", at(&[home]));
    }
}
