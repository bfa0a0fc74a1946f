//! How the processes of a release behave.

use std::collections::BTreeMap;

use pando_agent::reconcile::ReleaseKey;
use pando_model::name::AppName;
use pando_model::release::ReleaseNumber;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Behaviour {
    pub(crate) kind: Kind,
    /// From its start until it listens, in milliseconds.
    pub(crate) boot: u64,
    /// From SIGTERM to its end.
    pub(crate) stop: u64,
    /// How its release command ends; `None`: it hangs.
    pub(crate) command: Option<i32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Good,
    /// Its check answers 503 for ever.
    NeverReady,
    /// Ends soon after each start.
    Crashes,
    /// Serves, then ends so long after it began to.
    CrashesLater(u64),
    /// Serves, while its check fails now and then.
    Moody,
    /// Fills the disk when it is unpacked.
    TooLarge,
}

impl Behaviour {
    pub(crate) const GOOD: Self = Self { kind: Kind::Good, boot: 300, stop: 100, command: Some(0) };
}

/// Every release that was ever made.
#[derive(Debug, Default)]
pub(crate) struct Apps {
    releases: BTreeMap<ReleaseKey, Behaviour>,
    /// What comes up stays up.
    healed: bool,
}

impl Apps {
    pub(crate) fn set(&mut self, app: &AppName, release: ReleaseNumber, behaviour: Behaviour) {
        self.releases.insert((app.clone(), release), behaviour);
    }

    pub(crate) fn behaviour(&self, app: &AppName, release: ReleaseNumber) -> Behaviour {
        let known = self.releases.get(&(app.clone(), release)).copied();
        let behaviour = known.unwrap_or(Behaviour::GOOD);
        let falters = matches!(behaviour.kind, Kind::CrashesLater(_) | Kind::Moody);
        if falters && self.healed { Behaviour { kind: Kind::Good, ..behaviour } } else { behaviour }
    }

    pub(crate) fn is_too_large(&self, key: &ReleaseKey) -> bool {
        self.releases.get(key).is_some_and(|behaviour| behaviour.kind == Kind::TooLarge)
    }

    /// From now on new processes of what comes up behave.
    pub(crate) fn heal(&mut self) {
        self.healed = true;
    }
}
