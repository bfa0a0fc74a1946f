//! Commands that others start on this machine, beside a run or on their own: in which cgroups, so that the app's limits hold for them
//! too and nothing of them stays behind.
//!
//! Who starts a command asks for its groups first, has the new process enter them ([`crate::cgroup::enter`]) before it becomes the
//! command, and closes them at its end. That a command has groups of its own is on disk (`STATE_DIR/commands/ID.json`) before they are
//! made: what a crash leaves of it is ended by the next start of this program. Where no cgroups can be had there are none, as
//! for runs, and the same warning says so.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use pando_model::resources::Resources;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::registry::Registry;
use super::{blocking, find};
use crate::cgroup::RunGroup;
use crate::dir::{read_json, write_json};
use crate::live::Live;
use crate::run::RunKey;

/// What a crash left of a command has so long between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(1);

/// Whose limits hold for a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limits {
    /// Those of a run, within its own: what both use together is limited. While it has none, or does not run, these.
    Beside(RunKey, Resources),
    /// These, for the command alone.
    Alone(Resources),
}

/// Cgroups for commands of one server. Clones are the same.
#[derive(Debug, Clone)]
pub struct Commands {
    registry: Arc<Registry>,
}

/// The cgroups of one command, until they are closed. Dropped before, what is inside is killed.
#[derive(Debug)]
pub struct CommandGroups {
    groups: Vec<RunGroup>,
    kills_before: u64,
    /// `None`: they are a run's.
    own: Option<Own>,
}

#[derive(Debug)]
struct Own {
    record: PathBuf,
    _live: Live,
}

/// What is on disk of a command.
#[derive(Debug, Serialize, Deserialize)]
struct Record {
    groups: Vec<RunGroup>,
}

impl Commands {
    pub(super) fn new(registry: Arc<Registry>) -> Self {
        Self { registry }
    }

    /// For a command that is about to start. What can't be limited is said in the runtime's warnings.
    pub async fn groups(&self, limits: Limits) -> CommandGroups {
        match limits {
            Limits::Alone(resources) => self.alone(resources).await,
            Limits::Beside(key, resources) => match self.beside(key).await {
                Some(groups) => CommandGroups { kills_before: kills(&groups), groups, own: None },
                None => self.alone(resources).await,
            },
        }
    }

    /// Those of a run that runs and has any.
    async fn beside(&self, key: RunKey) -> Option<Vec<RunGroup>> {
        find::held(&self.registry, key).await.ok().flatten().filter(|held| held.exit.is_none())?;
        let dir = self.registry.book.dir(key);
        let launch = blocking(move || dir.launch()).await.ok().flatten()?;
        Some(launch.groups).filter(|groups| !groups.is_empty())
    }

    async fn alone(&self, resources: Resources) -> CommandGroups {
        self.registry.warn_of_limits(&resources);
        let registry = Arc::clone(&self.registry);
        let made = blocking(move || make(&registry, &resources)).await;
        made.unwrap_or_else(|error| {
            let groups = self.registry.unlimited(&error);
            CommandGroups { groups, kills_before: 0, own: None }
        })
    }
}

fn make(registry: &Registry, resources: &Resources) -> io::Result<CommandGroups> {
    let live = registry.commands.begin();
    let name = format!("command-{}", live.id());
    let record = directory(registry).join(format!("{}.json", live.id()));
    let named = registry.cgroups.all(&name);
    if named.is_empty() {
        return Ok(CommandGroups { groups: named, kills_before: 0, own: None });
    }
    // On record first: whatever happens now, somebody finds them.
    write_json(&record, &Record { groups: named })?;
    match registry.cgroups.make_known(&name, resources) {
        Ok(groups) => Ok(CommandGroups { groups, kills_before: 0, own: Some(Own { record, _live: live }) }),
        Err(error) => {
            let _ = std::fs::remove_file(record);
            Err(error)
        }
    }
}

fn directory(registry: &Registry) -> PathBuf {
    registry.settings.state_dir.join("commands")
}

fn kills(groups: &[RunGroup]) -> u64 {
    groups.iter().map(RunGroup::memory_kills).sum()
}

impl CommandGroups {
    /// What the command's process is to enter, all of them.
    pub fn directories(&self) -> impl Iterator<Item = &Path> {
        self.groups.iter().map(RunGroup::directory)
    }

    /// Whether the kernel has ended a process in them for want of memory since the command began. To be asked before
    /// [`CommandGroups::close`].
    #[must_use]
    pub fn out_of_memory(&self) -> bool {
        kills(&self.groups) > self.kills_before
    }

    /// The processes of the command, of whatever descent; none where its groups are a run's, for there are others inside.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let own = self.own.iter().flat_map(|_| &self.groups);
        own.flat_map(RunGroup::processes).map(|process| process.pid).collect()
    }

    /// Kills all of it, as far as the groups are its own.
    pub fn kill(&self) {
        for group in self.own.iter().flat_map(|_| &self.groups) {
            group.kill();
        }
    }

    /// Ends what is left of it and removes its groups. Those of a run stay as they are.
    pub async fn close(mut self) {
        let (Some(own), groups) = (self.own.take(), std::mem::take(&mut self.groups)) else { return };
        let closed = blocking(move || remove(&groups, &own.record)).await;
        if let Err(error) = closed {
            tracing::warn!(target: "pando", "something of a command is left until the next start: {error}");
        }
    }
}

impl Drop for CommandGroups {
    fn drop(&mut self) {
        // Nothing can be awaited here; what is not gone at once is removed by the next start of this program.
        self.kill();
        if let Some(own) = &self.own
            && self.groups.iter().all(|group| group.remove().is_ok())
        {
            let _ = std::fs::remove_file(&own.record);
        }
    }
}

fn remove(groups: &[RunGroup], record: &Path) -> io::Result<()> {
    // Each of them: one that can't be removed keeps none of the others.
    let stuck: Vec<_> = groups.iter().filter(|group| !group.clear()).map(RunGroup::directory).collect();
    match stuck.first() {
        None => std::fs::remove_file(record),
        Some(directory) => {
            let text = format!("a process in `{}` does not end", directory.display());
            Err(io::Error::new(io::ErrorKind::TimedOut, text))
        }
    }
}

/// Ends and removes what an earlier run of this program left of commands. Those that live now are left alone.
pub(super) async fn sweep(registry: &Arc<Registry>) {
    let (registry, directory) = (Arc::clone(registry), directory(registry));
    let swept = blocking(move || {
        let left = leftovers(&registry, &directory)?;
        terminate(left.iter().flat_map(|(_, groups)| groups));
        left.iter().try_for_each(|(record, groups)| remove(groups, record))
    });
    if let Err(error) = swept.await {
        tracing::warn!(target: "pando", "something that a command left is still there: {error}");
    }
}

fn leftovers(registry: &Registry, directory: &Path) -> io::Result<Vec<(PathBuf, Vec<RunGroup>)>> {
    let mut left = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        let id = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| Uuid::parse_str(stem).ok());
        if id.is_some_and(|id| !registry.commands.has(id)) {
            // One that was not written whole had no groups yet.
            let record: Option<Record> = read_json(&path)?;
            left.push((path, record.map(|record| record.groups).unwrap_or_default()));
        }
    }
    Ok(left)
}

/// SIGTERM to all inside, and time to end in order.
fn terminate<'a>(groups: impl Iterator<Item = &'a RunGroup> + Clone) {
    let until = Instant::now() + GRACE;
    for process in groups.clone().flat_map(RunGroup::processes) {
        let _ = process.signal(Signal::TERM);
    }
    while groups.clone().any(|group| !group.processes().is_empty()) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
}
