//! The engine of containers, over its Unix socket.
//!
//! It may be stopped, restarted, upgraded, slow or not there at all: a connection is made when somebody needs one, given up when it
//! fails, and every call has a deadline. What it refuses and that it can't be reached are different errors.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::models::SystemVersion;
use bollard::{API_DEFAULT_VERSION, Docker};

/// Where an engine listens unless somebody says otherwise.
pub const DEFAULT_SOCKET: &str = "/var/run/docker.sock";

/// For one answer. An engine that starts containers on a busy disk takes some seconds; one that takes longer hangs.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// The oldest API that is used: Docker 19.03 has it.
const OLDEST_API: (usize, usize) = (1, 40);

/// Why the engine did not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Nobody knows what became of the request.
    #[error("the container engine can't be reached at `{}`: {why}", socket.display())]
    Away { socket: PathBuf, why: String },
    /// It answered, and says no; nothing was done.
    #[error("{message}")]
    Refused { status: u16, message: String },
    /// It is not one that Pando runs containers on.
    #[error("{0}")]
    Unfit(String),
}

impl EngineError {
    /// It has no such container, image or the like.
    #[must_use]
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { status: 404, .. })
    }

    /// What is there contradicts the request, such as a name in use or a container that does not run.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused { status: 409, .. })
    }

    /// Nobody knows whether it was done.
    pub(super) fn is_uncertain(&self) -> bool {
        matches!(self, Self::Away { .. })
    }
}

/// The engine of this machine. Clones share a connection. Nothing is connected before it is used.
#[derive(Debug, Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    socket: PathBuf,
    connected: Mutex<Option<Connected>>,
    /// Why it could not be reached when it was last tried. `None`: it could, or nobody tried.
    away: Mutex<Option<String>>,
}

#[derive(Debug, Clone)]
pub(super) struct Connected {
    pub(super) docker: Docker,
    /// As Go names it, such as `amd64`.
    pub(super) architecture: String,
}

impl Engine {
    /// The engine that listens on `socket`.
    #[must_use]
    pub fn at(socket: impl Into<PathBuf>) -> Self {
        let inner = Inner { socket: socket.into(), connected: Mutex::default(), away: Mutex::default() };
        Self { inner: Arc::new(inner) }
    }

    #[must_use]
    pub fn socket(&self) -> &Path {
        &self.inner.socket
    }

    /// Why the engine could not be reached when that was last tried.
    #[must_use]
    pub fn away(&self) -> Option<String> {
        lock(&self.inner.away).clone()
    }

    /// One request with one answer.
    ///
    /// # Errors
    /// See [`EngineError`]. When no answer came in time, or the connection broke, nobody knows what became of the request.
    pub(super) async fn call<T, F>(&self, request: impl FnOnce(Docker) -> F) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, bollard::errors::Error>>,
    {
        self.call_within(PATIENCE, request).await
    }

    /// The same with another deadline.
    pub(super) async fn call_within<T, F>(
        &self,
        patience: Duration,
        request: impl FnOnce(Docker) -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, bollard::errors::Error>>,
    {
        // The client has a clock of its own; ours is the one that counts.
        let asked = async {
            let docker = self.connected().await?.docker.with_timeout(patience + PATIENCE);
            request(docker).await.map_err(|error| self.judge(&error))
        };
        match tokio::time::timeout(patience, asked).await {
            Ok(answer) => answer,
            Err(_) => Err(self.is_away(format!("it gave no answer within {} s", patience.as_secs()))),
        }
    }

    /// Whether it says anything within `patience`.
    pub(super) async fn answers_within(&self, patience: Duration) -> bool {
        self.call_within(patience, |docker| async move { docker.ping().await }).await.is_ok()
    }

    /// What a request, or a stream that it opened, failed with.
    pub(super) fn judge(&self, error: &bollard::errors::Error) -> EngineError {
        match error {
            bollard::errors::Error::DockerResponseServerError { status_code, message } => {
                EngineError::Refused { status: *status_code, message: message.trim().to_owned() }
            }
            bollard::errors::Error::DockerStreamError { error } => {
                EngineError::Refused { status: 500, message: error.trim().to_owned() }
            }
            other => self.is_away(cause(other)),
        }
    }

    fn is_away(&self, why: String) -> EngineError {
        *lock(&self.inner.connected) = None;
        *lock(&self.inner.away) = Some(why.clone());
        EngineError::Away { socket: self.inner.socket.clone(), why }
    }

    /// The connection, made when there is none: what answers at the socket is looked at first.
    pub(super) async fn connected(&self) -> Result<Connected, EngineError> {
        let known = lock(&self.inner.connected).clone();
        if let Some(known) = known {
            return Ok(known);
        }
        let connected = self.connect().await?;
        *lock(&self.inner.away) = None;
        Ok(lock(&self.inner.connected).insert(connected).clone())
    }

    async fn connect(&self) -> Result<Connected, EngineError> {
        let path = self.inner.socket.display().to_string();
        let docker = Docker::connect_with_unix(&path, PATIENCE.as_secs(), API_DEFAULT_VERSION)
            .map_err(|_| self.is_away(no_socket(&self.inner.socket)))?;
        let negotiate = async {
            let version = docker.version().await?;
            Ok::<_, bollard::errors::Error>((docker.clone().negotiate_version().await?, version))
        };
        let (docker, version) = match tokio::time::timeout(PATIENCE, negotiate).await {
            Ok(answer) => answer.map_err(|error| self.judge(&self.explain_connection(error)))?,
            Err(_) => {
                return Err(self.is_away(format!("it gave no answer within {} s", PATIENCE.as_secs())));
            }
        };
        check(&version, &docker).map_err(EngineError::Unfit)?;
        Ok(Connected { docker, architecture: version.arch.unwrap_or_default() })
    }

    /// The client library says "client error (Connect)"; the kernel says why.
    fn explain_connection(&self, error: bollard::errors::Error) -> bollard::errors::Error {
        match std::os::unix::net::UnixStream::connect(&self.inner.socket) {
            Err(why) if why.kind() == std::io::ErrorKind::PermissionDenied => {
                let why =
                    format!("{why}; its users are root and the group that owns the socket, mostly `docker`");
                std::io::Error::new(std::io::ErrorKind::PermissionDenied, why).into()
            }
            Err(why) => why.into(),
            Ok(_) => error,
        }
    }
}

/// What is at the bottom of it: above that, the client's libraries tell of themselves.
fn cause(error: &bollard::errors::Error) -> String {
    let mut deepest: &dyn std::error::Error = match error {
        bollard::errors::Error::IOError { err } => err,
        other => other,
    };
    while let Some(source) = deepest.source() {
        deepest = source;
    }
    match deepest.downcast_ref::<std::io::Error>().map(std::io::Error::kind) {
        Some(std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) => {
            format!("{deepest}; is it running?")
        }
        _ => deepest.to_string(),
    }
}

fn no_socket(socket: &Path) -> String {
    match std::fs::metadata(socket) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => error.to_string(),
        _ => "there is no such socket; is a container engine installed and running?".to_owned(),
    }
}

/// Whether it is an engine whose promises are known. The error is a sentence.
fn check(version: &SystemVersion, docker: &Docker) -> Result<(), String> {
    let components = version.components.iter().flatten();
    if components.map(|component| component.name.as_str()).any(|name| name.starts_with("Podman")) {
        return Err("what answers is Podman: its socket speaks Docker's words, and Pando's promises were not tried on it; run \
                    Docker's engine on this server instead"
            .to_owned());
    }
    if version.os.as_deref().is_some_and(|os| os != "linux") {
        return Err(format!(
            "its containers are of `{}`, not of Linux",
            version.os.as_deref().unwrap_or("?")
        ));
    }
    let spoken = docker.client_version();
    if (spoken.major_version, spoken.minor_version) < OLDEST_API {
        let (major, minor) = OLDEST_API;
        return Err(format!(
            "it speaks version {}.{} of its API, and Pando needs {major}.{minor}: Docker 19.03 or later",
            spoken.major_version, spoken.minor_version
        ));
    }
    Ok(())
}

/// Nothing under these locks can leave them half-changed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(json: &str) -> SystemVersion {
        serde_json::from_str(json).unwrap()
    }

    fn spoken(minor_version: usize) -> Docker {
        let socket = tempfile::NamedTempFile::new().unwrap();
        let version = bollard::ClientVersion { major_version: 1, minor_version };
        Docker::connect_with_unix(&socket.path().display().to_string(), 1, &version).unwrap()
    }

    #[test]
    fn an_engine_is_judged_by_what_it_says_of_itself() {
        let docker = r#"{"Components": [{"Name": "Engine", "Version": "20.10.24"}], "Os": "linux", "ApiVersion": "1.41"}"#;
        assert_eq!(check(&answered(docker), &spoken(41)), Ok(()));
        let old = check(&answered(docker), &spoken(39)).unwrap_err();
        assert!(old.contains("1.39") && old.contains("needs 1.40"), "{old}");
        // As podman 4.3.1 of Debian 12 answers.
        let podman = r#"{"Platform": {"Name": "linux/amd64/debian-12"}, "Components": [
            {"Name": "Podman Engine", "Version": "4.3.1", "Details": {"APIVersion": "4.3.1", "MinAPIVersion": "4.0.0"}},
            {"Name": "Conmon", "Version": "conmon version 2.1.6, commit: unknown"}], "Version": "4.3.1",
            "ApiVersion": "1.41", "MinAPIVersion": "1.24", "Os": "linux", "Arch": "amd64"}"#;
        let podman = check(&answered(podman), &spoken(41)).unwrap_err();
        assert!(podman.contains("Podman"), "{podman}");
        let windows = check(&answered(r#"{"Os": "windows"}"#), &spoken(41)).unwrap_err();
        assert!(windows.contains("`windows`"), "{windows}");
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_away() {
        let root = tempfile::tempdir().unwrap();
        let engine = Engine::at(root.path().join("none.sock"));
        assert_eq!(engine.away(), None);
        let error = engine.connected().await.unwrap_err();
        assert!(
            error.is_uncertain() && error.to_string().contains("is a container engine installed"),
            "{error}"
        );
        assert!(engine.away().is_some());
        let dead = root.path().join("dead.sock");
        drop(std::os::unix::net::UnixListener::bind(&dead).unwrap());
        let error = Engine::at(dead).connected().await.unwrap_err();
        let said = error.to_string();
        assert!(said.contains("Connection refused (os error 111); is it running?"), "{said}");
        assert!(!said.contains("hyper"), "{said}");
    }
}
