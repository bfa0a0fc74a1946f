//! The agent's own API: what the control plane asks of one server.
//!
//! Log lines (`GET /v1/logs`), commands beside replicas and in releases (`POST
//! /v1/exec`), what the machine is and how much room it has (`GET /v1/host`), what of it nothing needs (`GET` and `POST /v1/prune`), packed releases for other servers (`GET /v1/artifacts/DIGEST`), what
//! servers tell each other while the control plane is away (`/v1/peer/…`), and a
//! sign of life (`GET /healthz`). Who of the people may do what is decided by the
//! control plane before it asks; here it is known by its certificate, or by a token,
//! see [`Admission`]. Which replicas there are is asked of [`Places`].

mod artifacts;
mod assigned;
mod door;
mod exec;
mod gate;
mod host;
mod logs;
mod prune;
mod reply;
mod server;
mod shared;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use pando_api::ErrorBody;
use pando_api::v1::agents::{ExecLike, RelayedReport};
use pando_model::id::{ServerId, Version};
use pando_model::name::{AppName, ReplicaName};
use pando_model::release::ReleaseNumber;
use pando_rt::shutdown::Shutdown;
use pando_runtime::docker::{Containers, Within};
use pando_runtime::logs::LogStore;
use pando_runtime::process::{Commands, Limits};
use pando_trust::{SignedBytes, TrustError};
use tokio::net::TcpListener;

use crate::artifacts::Pruner;
use crate::leader::Leader;

pub(crate) use assigned::Assigned;
pub use door::Admission;

/// What the API serves from.
pub struct ServeState {
    pub admission: Admission,
    pub logs: LogStore,
    pub places: Arc<dyn Places>,
    pub neighbours: Arc<dyn Neighbours>,
    /// How a command gets a session of its own.
    pub leader: Leader,
    /// Where a command's environment lacks `PATH`, `HOME`, `USER`, `LANG` or `TZ`.
    pub default_env: BTreeMap<String, String>,
    /// Whether apps have system users: then a one-off becomes its app's, which must be there. Beside a replica,
    /// [`Place::user`] says it.
    pub users: bool,
    /// The limits of commands. `None`: there are none, as where no cgroups can be had.
    pub commands: Option<Commands>,
    /// `None`: nothing runs in containers here.
    pub containers: Option<Containers>,
    /// Where releases lie.
    pub releases: PathBuf,
    /// The container engine's socket.
    pub engine: PathBuf,
    /// `None`: releases come from somewhere else, and go there.
    pub pruner: Option<Pruner>,
}

impl fmt::Debug for ServeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServeState")
            .field("logs", &self.logs)
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}

/// Where commands run. It is called between requests and must not block for long.
pub trait Places: Send + Sync {
    /// Of a replica that this server runs or is starting. Of several instances of the name, the one that a person means.
    fn replica(&self, app: &AppName, replica: &ReplicaName) -> Option<Place>;

    /// Where commands of a release run that this server has; in a container, as `like` says.
    fn release(&self, app: &AppName, release: ReleaseNumber, like: Option<&ExecLike>) -> Option<Ground>;
}

/// What this server does for others that can't reach the control plane. Called between requests; must not block.
pub trait Neighbours: Send + Sync {
    /// As it was signed, when it is newer than `have`.
    fn newest_table(&self, have: Version) -> Option<SignedBytes>;

    /// Takes a report that `server` handed in, to be handed on.
    ///
    /// # Errors
    /// What the server is told.
    fn relay(&self, server: ServerId, report: RelayedReport) -> Result<(), ErrorBody>;
}

/// What a command runs in.
#[derive(Debug, Clone)]
pub enum Ground {
    Directory(PathBuf, Limits),
    Container(Within),
}

/// Where and as whom a replica runs.
#[derive(Clone)]
pub struct Place {
    pub ground: Ground,
    /// The replica's whole environment.
    pub env: BTreeMap<String, String>,
    /// A system user that is there. `None`: as the agent itself, or as the container's own.
    pub user: Option<String>,
}

impl fmt::Debug for Place {
    /// Without the environment's values: they hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&String> = self.env.keys().collect();
        f.debug_struct("Place")
            .field("ground", &self.ground)
            .field("env", &names)
            .field("user", &self.user)
            .finish()
    }
}

/// Serves the API until `shutdown` begins; then ends streams, kills the commands it runs, and returns within some seconds.
///
/// # Errors
/// When TLS can't be set up; nothing was served then.
pub async fn serve(
    listener: TcpListener,
    state: Arc<ServeState>,
    shutdown: Shutdown,
) -> Result<(), TrustError> {
    server::serve(listener, state, shutdown).await
}
