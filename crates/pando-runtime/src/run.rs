//! The promise of every runtime.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;

use pando_model::app::VolumeSpec;
use pando_model::name::AppName;
use pando_model::observed::ExitReport;
use pando_model::resources::Resources;
use pando_model::time::Millis;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;
use uuid::Uuid;

/// One run: an instance or a task, and which start of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunKey {
    /// The instance's or the task's id.
    pub id: Uuid,
    /// 0 for the first start, rising with each.
    pub attempt: u32,
}

/// Everything that a start needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunSpec {
    pub key: RunKey,
    pub app: AppName,
    /// Whose output it is, such as `web-2` or `release`; the log's name: ASCII letters, digits, `-`, `_` and `.`, not first.
    pub name: String,
    /// Run by `/bin/sh -c`. A line that is one plain program becomes that program, without a shell before it; in a container,
    /// so does one that is plain words, so that an image needs no shell. Empty, where it is an image: the image's own.
    pub command: String,
    #[serde(flatten)]
    pub place: Place,
    /// The whole environment, but for `PATH`, `HOME`, `USER`, `LANG` and `TZ`, which the runtime adds where missing; what an
    /// image sets holds where this says nothing.
    pub env: BTreeMap<String, String>,
    /// Whom to run as. In a directory: a system user, made when missing, and `None` is the caller. In an image: `USER`, `UID` or
    /// `UID:GID` of the image, and `None` is the one that the image names.
    pub user: Option<String>,
    pub resources: Resources,
    /// Where it is reached. Nothing else may listen on it when the run starts.
    pub port: Option<std::net::SocketAddr>,
}

impl RunSpec {
    /// What is run, for people: the command, or the image whose own it is.
    #[must_use]
    pub fn what(&self) -> &str {
        match &self.place {
            Place::Image(image) if self.command.is_empty() => &image.reference,
            _ => &self.command,
        }
    }

    /// Where it runs when that is a directory of this server.
    #[must_use]
    pub fn directory(&self) -> Option<&std::path::Path> {
        match &self.place {
            Place::Directory(directory) => Some(directory),
            Place::Image(_) => None,
        }
    }
}

/// What a run runs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A directory of this server, absolute: a plain process.
    Directory(PathBuf),
    /// A container of its own.
    Image(Box<ImagePlace>),
}

/// A container, as far as it isn't the same for every run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImagePlace {
    /// A reference or an id that the engine has. Nothing is pulled by a start.
    pub reference: String,
    /// What it listens on inside; published as [`RunSpec::port`] and nowhere else. `None`: the same number as there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_port: Option<u16>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<VolumeSpec>,
    /// How long it is given to end when the engine itself is stopped in order.
    pub stop_timeout: Millis,
}

impl ImagePlace {
    /// The image alone, with ten seconds to end in.
    #[must_use]
    pub fn of(reference: impl Into<String>) -> Self {
        let stop_timeout = Millis::from_secs(10);
        Self { reference: reference.into(), container_port: None, volumes: Vec::new(), stop_timeout }
    }
}

/// A run that the runtime holds: running, or ended and not yet forgotten.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Held {
    pub spec: RunSpec,
    pub pid: Option<u32>,
    /// `None` while it runs.
    pub exit: Option<ExitReport>,
    /// What its image declares by `VOLUME` and nothing is mounted at, in order: files there go with the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmounted: Vec<String>,
}

/// What a runtime tells without being asked.
#[derive(Debug, Clone, PartialEq)]
pub enum RunEvent {
    /// Nothing of it is left: the whole process group is gone. Told once a run.
    Ended { key: RunKey, exit: ExitReport },
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("port {0} is taken by another program")]
    PortTaken(std::net::SocketAddr),
    #[error("can't start `{command}`: {why}")]
    Refused { command: String, why: String },
    /// The engine lost the image of its release, or calls another one so.
    #[error("can't start `{command}`: {why}")]
    NoImage { command: String, why: String },
    #[error("can't start `{command}`")]
    Io { command: String, source: std::io::Error },
}

impl StartError {
    pub(crate) fn refused(spec: &RunSpec, why: impl Into<String>) -> Self {
        Self::Refused { command: spec.what().to_owned(), why: why.into() }
    }

    pub(crate) fn io(spec: &RunSpec) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let command = spec.what().to_owned();
        move |source| Self::Io { command, source }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error("can't {what}")]
    Io { what: String, source: std::io::Error },
}

/// Starts, stops and finds runs. Every implementation passes the same contract tests.
///
/// A run outlives the program that started it. Starting a key twice starts it once: the second call answers with the run
/// that exists, also after a restart of the program. A key that was forgotten, or whose id has had a later attempt, may not be
/// started again. A start that failed is none: it leaves nothing, and the key may be started again.
pub trait Runtime: Send + Sync + 'static {
    /// Starts a run and answers once it has a process. Its end, however soon, is told as an event, which may be read before this
    /// answers. Dropping the future doesn't take the start back.
    fn start(&self, spec: RunSpec) -> impl Future<Output = Result<Held, StartError>> + Send;

    /// SIGTERM to the whole group now (to a container's first process, or the signal that its image names as `STOPSIGNAL`),
    /// SIGKILL to all of it after `timeout`; goes on when this program ends. Returns at once; the end is
    /// told as an event. Asked again, the earlier SIGKILL counts. A run that has ended, or isn't known, is left as it is.
    fn stop(&self, key: RunKey, timeout: Millis) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Everything held, found on the machine itself: also what an earlier run of this program started. The ends of those
    /// that run are told as events from now on; what ended before has its exit here and no event. What was begun and never ran is
    /// removed. To be called once at the start; calling it again changes nothing.
    fn adopt(&self) -> impl Future<Output = Result<Vec<Held>, RuntimeError>> + Send;

    /// Removes what is kept of an ended run, its log aside. One that isn't there is left so; one that runs is an error.
    fn forget(&self, key: RunKey) -> impl Future<Output = Result<(), RuntimeError>> + Send;

    /// Where the ends of runs are told. The first call gets the receiver, later ones `None`.
    fn events(&self) -> Option<mpsc::Receiver<RunEvent>>;

    /// What this machine can't do for its runs, such as "no cgroups: memory limits are not enforced".
    fn warnings(&self) -> Vec<String>;
}
