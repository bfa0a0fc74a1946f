//! How an agent begins: what an earlier one left is found, and the parts get what they share.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pando_model::assignment::Assignment;
use pando_model::id::ServerId;
use pando_rt::error_chain::error_chain;
use pando_rt::shutdown::Shutdown;
use pando_rt::tasks::Tasks;
use pando_runtime::Runtime;
use pando_runtime::logs::LogStore;
use pando_trust::VerifyingKey;
use tokio::sync::{mpsc, watch};

use super::parts::{Newest, Parts};
use super::{AgentError, Settings};
use crate::artifacts::{ArtifactError, Known, Limits, Releases, Setup, Sources};
use crate::control::contact::Contact;
use crate::control::published::{Held, Published};
use crate::control::relays::Relays;
use crate::ledger::{self, Ledger};
use crate::moment::Moments;
use crate::peers::Peers;
use crate::proxy::Link;
use crate::reconcile::{Event, OnDisk};
use crate::trust::Membership;

/// Events that wait for the loop. It takes microseconds for one; whoever brings more than this waits.
const EVENTS: usize = 1024;

/// See [`super::Agent::run`].
pub(super) async fn run<R: Runtime>(
    settings: Settings,
    runtime: Arc<R>,
    logs: LogStore,
    shutdown: Shutdown,
) -> Result<(), AgentError> {
    let client = settings.trust.control(&settings.control_url)?;
    let key = settings.trust.membership().map(Membership::signing_key);
    let ends = runtime.events().ok_or(AgentError::RuntimeInUse)?;
    let tasks = Tasks::new(&shutdown);
    let (sender, events) = mpsc::channel(EVENTS);
    let assignment = watch::Sender::new(Arc::new(Assignment::empty(settings.server)));
    let peers = Peers::new(assignment.subscribe(), settings.trust.clone());
    let setup = Setup {
        directory: settings.state_dir.join("releases"),
        users: settings.users,
        source: Sources {
            control: client.clone(),
            server: settings.server,
            peers: peers.clone(),
            known: Known::default(),
        },
        limits: Limits::default(),
        containers: settings.containers.clone(),
        engine: settings.engine.clone(),
    };
    let releases = Releases::new(setup, tasks.clone(), sender.clone());
    let found = find(ledger_directory(&settings), settings.server, key, releases.clone()).await?;
    let held = runtime.adopt().await?;
    let first = Event::Adopted { held, releases: found.releases };
    assignment.send_replace(Arc::new(found.ledger.assignment.clone()));
    let moments = Moments::start();
    let parts = Parts {
        runtime,
        logs,
        client,
        releases,
        tasks,
        sender,
        moments,
        peers,
        contact: Contact::new(moments),
        published: Published { key, held: watch::Sender::new(found.held) },
        relays: Relays::new(),
        newest: Newest::new(assignment),
        settings,
    };
    parts.run(found.ledger, first, events, ends, shutdown).await;
    Ok(())
}

/// What an earlier agent left on disk.
struct Found {
    ledger: Ledger,
    held: Held,
    releases: Vec<OnDisk>,
}

async fn find(
    directory: PathBuf,
    server: ServerId,
    key: Option<VerifyingKey>,
    releases: Releases<Sources>,
) -> Result<Found, AgentError> {
    let found = tokio::task::spawn_blocking(move || {
        make_private(&directory)?;
        if let Some(key) = &key
            && ledger::set_aside_if_foreign(&directory, server, key)?
        {
            tracing::warn!("the ledger in `{}` was of another cluster: set aside", directory.display());
        }
        let ledger = ledger::load(&directory, server)?;
        let unusable = |error: ArtifactError| AgentError::Releases(error_chain(&error));
        let releases = releases.scan().map_err(unusable)?;
        Ok(Found { ledger, held: Link::kept(&directory, key.as_ref()), releases })
    });
    found.await.unwrap_or_else(|error| Err(AgentError::Releases(error.to_string())))
}

pub(super) fn ledger_directory(settings: &Settings) -> PathBuf {
    settings.state_dir.join("ledger")
}

fn make_private(path: &Path) -> Result<(), AgentError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|source| AgentError::Directory { path: path.to_owned(), source })
}
