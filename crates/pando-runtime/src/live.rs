//! Which commands have a container, or cgroups, of their own just now.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct LiveCommands {
    ids: Arc<Mutex<BTreeSet<Uuid>>>,
}

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Live {
    of: LiveCommands,
    id: Uuid,
}

impl LiveCommands {
    /// One more, with an id of its own.
    pub(crate) fn begin(&self) -> Live {
        let id = Uuid::now_v7();
        self.lock().insert(id);
        Live { of: self.clone(), id }
    }

    pub(crate) fn has(&self, id: Uuid) -> bool {
        self.lock().contains(&id)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<Uuid>> {
        // Nothing under it can leave it half-changed.
        self.ids.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Live {
    pub(crate) fn id(&self) -> Uuid {
        self.id
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.of.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_lives_until_nobody_waits_for_it() {
        let commands = LiveCommands::default();
        let (one, other) = (commands.begin(), commands.begin());
        assert!(commands.has(one.id()) && commands.has(other.id()));
        let id = one.id();
        drop(one);
        assert!(!commands.has(id) && commands.has(other.id()));
    }
}
