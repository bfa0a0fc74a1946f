//! What to do so that this server matches its assignment: a pure state machine.
//!
//! [`step`] takes one event and answers with effects; [`crate::shell`] performs
//! them and feeds back what became of them. Nothing here reads a clock or a
//! disk or draws randomness, and every decision is made by looking at the whole
//! state, so that a lost or repeated event does no harm.
//!
//! An assignment comes into force when it is on disk, and a task is started
//! after the disk says that it was: see [`State::ledger`] and [`State::wanted`].

mod adopt;
mod boot;
mod facts;
mod health;
mod instance;
mod release;
mod site;
mod stray;
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use pando_model::app::HealthCheck;
use pando_model::assignment::{AssignedRelease, Assignment, Entry};
use pando_model::id::{Entropy, InstanceId, TaskId, Version};
use pando_model::name::AppName;
use pando_model::observed::{ExitReport, FailureReason, Fetched, ProxyStatus};
use pando_model::release::{Digest, ReleaseNumber};
use pando_model::time::{Millis, Timestamp};
use pando_runtime::{Held, Place, RunKey, RunSpec};

pub use boot::ASK_FOR;
pub use facts::{Facts, Heading};
pub use health::ImageRules;
pub use site::Site;
pub(crate) use site::image_name;

use crate::ledger::Ledger;

/// A release on this server.
pub type ReleaseKey = (AppName, ReleaseNumber);

/// How long the first report waits for what was adopted to prove itself, so that a restart of the agent doesn't make
/// serving replicas look unready.
pub const HOLD: Millis = Millis::from_secs(2);

/// How long after a failed write, stop or removal it is tried again.
const TRY_AGAIN: Millis = Millis::from_secs(1);

/// Everything that happens to an agent.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The first event: what an earlier run of the agent left.
    Adopted {
        held: Vec<Held>,
        releases: Vec<OnDisk>,
    },
    Assignment(Assignment),
    /// Somebody who knows what is newest answered; what was newer came before this, as an event of its own.
    TargetHeard,
    /// The control plane can't be asked, and another server answered. These endpoints left the table since we heard last: if they
    /// are instances of ours, they were most likely moved.
    PeersHeard {
        gone: BTreeSet<InstanceId>,
    },
    /// What was sent in the control plane's name can't be believed, and why. `None`: what came last can.
    Mistrusted(Option<String>),
    LedgerSaved,
    LedgerFailed(String),
    RunStarted(Held),
    StartFailed {
        key: RunKey,
        reason: FailureReason,
        message: String,
        /// The engine has the image of its release no more.
        image_lost: bool,
    },
    StopFailed(RunKey),
    RunEnded {
        key: RunKey,
        exit: ExitReport,
    },
    /// So much of it has come.
    ReleaseComes {
        release: ReleaseKey,
        fetched: Fetched,
    },
    /// It is whole, and is being unpacked.
    ReleaseFetched(ReleaseKey),
    /// It is unpacked, and still to be prepared or sealed.
    ReleaseUnpacked(ReleaseKey),
    ReleaseReady(ReleaseKey),
    ReleaseFailed {
        release: ReleaseKey,
        message: String,
    },
    ReleaseRemoved(ReleaseKey),
    RemovalFailed(ReleaseKey),
    /// What the image says of its own check, by which the run is asked. Comes before what that check says first.
    ImageCheck {
        key: RunKey,
        rules: ImageRules,
    },
    CheckPassed(RunKey),
    CheckFailed {
        key: RunKey,
        answer: String,
    },
    ProxyChanged(ProxyStatus),
    /// What became of [`Effect::Entry`]: whether a load balancer runs here now, or why that can't be brought about yet.
    EntryKept(Result<bool, String>),
    /// Time has passed.
    Tick,
}

/// A release found on disk at the start. `sealed`: it is complete, and made from this artifact.
#[derive(Debug, Clone, PartialEq)]
pub struct OnDisk {
    pub release: ReleaseKey,
    pub sealed: Option<Digest>,
}

/// What the shell is to do. Each is answered by an event, but for those that say otherwise.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    SaveLedger(Box<Ledger>),
    Start(Box<RunSpec>),
    /// Answered when it ends, or when it can't be stopped.
    Stop {
        key: RunKey,
        timeout: Millis,
    },
    /// Not answered.
    Forget(RunKey),
    /// Fetch and unpack.
    EnsureRelease(AssignedRelease),
    /// Make an unpacked (and prepared) release final.
    SealRelease(AssignedRelease),
    /// Whole or in part; work on it ends first.
    RemoveRelease(ReleaseKey),
    /// Answered again and again, until stopped.
    StartCheck(Box<CheckSpec>),
    /// Not answered.
    StopCheck(RunKey),
    /// What is true has changed. Not answered.
    Report(Box<Facts>),
    /// An assignment came into force. Not answered.
    InForce(Box<Assignment>),
    /// Requests from outside are to be taken so, or not at all. Answered, where that is ours to bring about, until it is.
    Entry(Option<Entry>),
    /// A [`Event::Tick`] is wanted then, instead of whenever it was before. `None`: none.
    WakeAt(Option<Timestamp>),
}

/// How to check one run.
#[derive(Debug, Clone, PartialEq)]
pub struct CheckSpec {
    pub key: RunKey,
    pub health: HealthCheck,
    pub address: SocketAddr,
    /// For commands.
    pub place: Place,
    pub env: BTreeMap<String, String>,
    pub user: Option<String>,
}

/// What of a server's disk and engine is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Releases that are here or are to be, in whole or in part, because somebody asked for them or something runs in them.
    pub releases: BTreeSet<ReleaseKey>,
    /// What to keep packed, but for the layers of images among it.
    pub artifacts: BTreeSet<Digest>,
}

/// Everything that the agent knows.
#[derive(Debug, Clone)]
pub struct State {
    site: Site,
    entropy: Entropy,
    adopted: bool,
    /// `None`: what is newest is known, or was asked for in vain.
    asking: Option<boot::Asking>,
    /// On disk and in force.
    ledger: Ledger,
    /// What is to be on disk next.
    wanted: Ledger,
    /// What is being written.
    saving: Option<Ledger>,
    save_error: Option<String>,
    save_at: Timestamp,
    instances: BTreeMap<InstanceId, instance::Instance>,
    tasks: BTreeMap<TaskId, task::Task>,
    releases: BTreeMap<ReleaseKey, release::Slot>,
    strays: BTreeMap<RunKey, stray::Stray>,
    proxy: Option<ProxyStatus>,
    /// A load balancer runs here, or is to.
    has_proxy: bool,
    /// What was last said of it.
    entry: Option<Option<Entry>>,
    entry_error: Option<String>,
    mistrust: Option<String>,
    /// Not started as long as the control plane can't be asked.
    gone: BTreeSet<InstanceId>,
    /// The control plane was heard: that is over once its word is in force.
    doubt_ends: bool,
    /// Until then the first report waits.
    hold: Option<Timestamp>,
    told: Option<Facts>,
    wake: Option<Timestamp>,
}

impl State {
    /// An agent that has just started, with what its ledger says. `seed` makes the ids of its own runs.
    #[must_use]
    pub fn new(site: Site, ledger: Ledger, seed: u64) -> Self {
        Self {
            has_proxy: site.has_proxy(&ledger.assignment),
            site,
            entropy: Entropy::from_seed(seed),
            adopted: false,
            asking: None,
            wanted: ledger.clone(),
            ledger,
            saving: None,
            save_error: None,
            save_at: Timestamp::from_millis(i64::MIN),
            instances: BTreeMap::new(),
            tasks: BTreeMap::new(),
            releases: BTreeMap::new(),
            strays: BTreeMap::new(),
            proxy: None,
            entry: None,
            entry_error: None,
            mistrust: None,
            gone: BTreeSet::new(),
            doubt_ends: false,
            hold: None,
            told: None,
            wake: None,
        }
    }

    /// What is on disk and in force.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// What nobody may take for a leftover. `None`: what this server is to have is not known yet.
    #[must_use]
    pub fn needs(&self) -> Option<Needs> {
        let heard = self.ledger.assignment.version > Version::default();
        (self.adopted && self.asking.is_none() && heard).then(|| release::needs(self))
    }

    /// What is true now.
    #[must_use]
    pub fn facts(&self) -> Facts {
        facts::of(self)
    }
}

/// Takes one event in and answers with what to do, in order.
pub fn step(state: &mut State, event: Event, now: Timestamp) -> Vec<Effect> {
    let mut effects = Vec::new();
    apply(state, event, now, &mut effects);
    boot::settle(state, now, &mut effects);
    if state.adopted {
        release::ensure(state, now, &mut effects);
        instance::settle(state, now, &mut effects);
        task::settle(state, now, &mut effects);
        stray::settle(state, now, &mut effects);
        release::clear(state, now, &mut effects);
    }
    save(state, now, &mut effects);
    tell(state, now, &mut effects);
    wake(state, now, &mut effects);
    effects
}

fn apply(state: &mut State, event: Event, now: Timestamp, effects: &mut Vec<Effect>) {
    match event {
        Event::Adopted { held, releases } => adopt::adopt(state, held, releases, now, effects),
        Event::Assignment(assignment) => accept(state, assignment),
        Event::TargetHeard => boot::heard(state),
        Event::PeersHeard { gone } => boot::peers_heard(state, gone),
        Event::Mistrusted(why) => state.mistrust = why,
        Event::LedgerSaved => come_into_force(state, effects),
        Event::LedgerFailed(why) => save_failed(state, why, now),
        Event::RunStarted(held) => started(state, &held, now, effects),
        Event::StartFailed { key, reason, message, image_lost } => {
            if image_lost {
                release::image_lost(state, key);
            }
            start_failed(state, key, reason, message, now);
        }
        Event::StopFailed(key) => stop_failed(state, key, now),
        Event::RunEnded { key, exit } => ended(state, key, exit, now, effects),
        Event::ReleaseComes { release, fetched } => release::comes(state, &release, fetched),
        Event::ReleaseFetched(key) => release::fetched(state, &key),
        Event::ReleaseUnpacked(key) => release::unpacked(state, &key, now, effects),
        Event::ReleaseReady(key) => release::ready(state, &key),
        Event::ReleaseFailed { release, message } => release::failed(state, &release, message, now),
        Event::ReleaseRemoved(key) => release::removed(state, &key),
        Event::RemovalFailed(key) => release::removal_failed(state, &key, now),
        Event::ImageCheck { key, rules } => instance::ruled(state, key, rules),
        Event::CheckPassed(key) => instance::checked(state, key, Ok(()), now),
        Event::CheckFailed { key, answer } => instance::checked(state, key, Err(answer), now),
        Event::ProxyChanged(status) => state.proxy = Some(status).filter(|_| state.has_proxy),
        Event::EntryKept(kept) => entry_kept(state, kept),
        Event::Tick => {}
    }
}

fn accept(state: &mut State, assignment: Assignment) {
    let newer = assignment.version > state.wanted.assignment.version;
    if newer && assignment.server == state.site.server {
        state.wanted.accept(assignment);
    }
    boot::heard(state);
}

fn entry_kept(state: &mut State, kept: Result<bool, String>) {
    match kept {
        Ok(runs) => {
            state.entry_error = None;
            state.has_proxy = runs;
            state.proxy = state.proxy.take().filter(|_| runs);
        }
        Err(why) => state.entry_error = Some(why),
    }
}

fn come_into_force(state: &mut State, effects: &mut Vec<Effect>) {
    let Some(saved) = state.saving.take() else { return };
    let changed = saved.assignment != state.ledger.assignment;
    state.ledger = saved;
    state.save_error = None;
    if changed {
        release::try_failed_again(state);
        effects.push(Effect::InForce(Box::new(state.ledger.assignment.clone())));
    }
}

fn save_failed(state: &mut State, why: String, now: Timestamp) {
    state.saving = None;
    state.save_error = Some(why);
    state.save_at = now + TRY_AGAIN;
}

fn save(state: &mut State, now: Timestamp, effects: &mut Vec<Effect>) {
    let due = state.saving.is_none() && state.wanted != state.ledger && now >= state.save_at;
    if due {
        state.saving = Some(state.wanted.clone());
        effects.push(Effect::SaveLedger(Box::new(state.wanted.clone())));
    }
}

fn started(state: &mut State, held: &Held, now: Timestamp, effects: &mut Vec<Effect>) {
    let key = held.spec.key;
    if !instance::started(state, held, now, effects) && !task::started(state, key) {
        release::prepare_started(state, key);
    }
    // A start that was asked for before may answer with a run that has ended.
    if let Some(exit) = &held.exit {
        ended(state, key, exit.clone(), now, effects);
    }
}

fn start_failed(state: &mut State, key: RunKey, reason: FailureReason, message: String, now: Timestamp) {
    if !instance::start_failed(state, key, reason, &message, now) && !task::start_failed(state, key, &message)
    {
        release::prepare_refused(state, key, &message, now);
    }
}

fn stop_failed(state: &mut State, key: RunKey, now: Timestamp) {
    let again = now + TRY_AGAIN;
    if !instance::stop_failed(state, key, again) && !task::stop_failed(state, key, again) {
        release::stop_failed(state, key, again);
        stray::stop_failed(state, key, again);
    }
}

fn ended(state: &mut State, key: RunKey, exit: ExitReport, now: Timestamp, effects: &mut Vec<Effect>) {
    release::engine_answers(state, key, now);
    if !instance::ended(state, key, &exit, now, effects)
        && !task::ended(state, key, &exit)
        && !release::prepare_ended(state, key, &exit, now, effects)
    {
        stray::ended(state, key, effects);
    }
}

fn tell(state: &mut State, now: Timestamp, effects: &mut Vec<Effect>) {
    if !state.adopted || adopt::holds_back(state, now) {
        return;
    }
    state.hold = None;
    let facts = state.facts();
    if state.told.as_ref() != Some(&facts) {
        state.told = Some(facts.clone());
        effects.push(Effect::Report(Box::new(facts)));
    }
}

/// Times that have come and led to nothing wait for something else, whose event will come.
fn wake(state: &mut State, now: Timestamp, effects: &mut Vec<Effect>) {
    let unsaved = (state.saving.is_none() && state.wanted != state.ledger).then_some(state.save_at);
    let asking = state.asking.map(|asking| asking.until);
    let times = [unsaved, state.hold, asking].into_iter().flatten();
    let times = times.chain(instance::wakes(state)).chain(task::wakes(state));
    let times = times.chain(release::wakes(state)).chain(stray::wakes(state));
    let next = times.filter(|at| *at > now).min();
    if next != state.wake {
        state.wake = next;
        effects.push(Effect::WakeAt(next));
    }
}

#[cfg(test)]
mod tests;
