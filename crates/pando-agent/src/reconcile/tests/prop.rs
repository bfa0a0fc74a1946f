//! What must hold whatever happens: random histories of assignments, ends, refusals, lost saves and crashes.

use std::collections::{BTreeMap, BTreeSet};

use pando_model::assignment::{Assignment, Entry};
use pando_model::id::{InstanceId, TaskId, Version};
use pando_model::observed::{FailureReason, InstanceState};
use pando_model::time::{Millis, Timestamp};
use pando_runtime::{Held, RunKey, RunSpec};
use proptest::prelude::*;

use super::kit::*;
use crate::ledger::Ledger;
use crate::reconcile::{ASK_FOR, Effect, Event, OnDisk, ReleaseKey, State, step};

/// A machine: what is on its disk, what runs on it, and what its agent has asked for and not yet got.
struct World {
    now: Timestamp,
    seed: u64,
    disk: Ledger,
    saving: Option<Ledger>,
    runs: BTreeMap<RunKey, Held>,
    releases: BTreeMap<ReleaseKey, bool>,
    state: State,
    /// Asked of the machine, not done yet.
    asked: Vec<Effect>,
    revision: u64,
    task_starts: BTreeMap<TaskId, u32>,
    forgotten: BTreeSet<RunKey>,
    highest: Version,
    booted_at: Timestamp,
    /// The newest assignment that this run of the agent knows to exist, once it was told what is newest.
    heard: Option<Version>,
    /// And that was in force once: from then on everything is as usual.
    sure: bool,
    /// What left the table while the control plane could not be asked.
    gone: BTreeSet<InstanceId>,
    /// The control plane was heard, and knew of this: once that is in force, nothing is doubted any more.
    told: Option<Version>,
}

impl World {
    fn new() -> Self {
        let disk = Ledger::empty(server());
        let mut world = Self {
            now: Timestamp::from_millis(1_000_000),
            seed: 1,
            state: State::new(site(), disk.clone(), 1),
            disk,
            saving: None,
            runs: BTreeMap::new(),
            releases: BTreeMap::new(),
            asked: Vec::new(),
            revision: 0,
            task_starts: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            highest: Version::default(),
            booted_at: Timestamp::from_millis(0),
            heard: None,
            sure: false,
            gone: BTreeSet::new(),
            told: None,
        };
        world.boot();
        world
    }

    fn boot(&mut self) {
        self.seed += 1;
        self.booted_at = self.now;
        (self.heard, self.sure) = (None, false);
        (self.gone, self.told) = (BTreeSet::new(), None);
        // What a crash leaves is what was written out, read again.
        let text = serde_json::to_string(&self.disk).unwrap();
        self.state = State::new(site(), serde_json::from_str(&text).unwrap(), self.seed);
        let held = self.runs.values().cloned().collect();
        let on_disk = |(key, sealed): (&ReleaseKey, &bool)| OnDisk {
            release: key.clone(),
            sealed: sealed.then(|| digest(key.1.0)),
        };
        let releases = self.releases.iter().map(on_disk).collect();
        self.feed(Event::Adopted { held, releases });
    }

    fn feed(&mut self, event: Event) {
        if self.told.take_if(|told| *told <= self.disk.assignment.version).is_some() {
            self.gone.clear();
        }
        self.sure |= self.heard.is_some_and(|newest| newest <= self.disk.assignment.version);
        for effect in step(&mut self.state, event, self.now) {
            match effect {
                Effect::SaveLedger(ledger) => {
                    assert!(self.saving.is_none(), "one save at a time");
                    assert!(ledger.assignment.version >= self.disk.assignment.version, "an older assignment");
                    self.saving = Some(*ledger);
                }
                Effect::Forget(key) => self.forget(key),
                Effect::Report(facts) => {
                    assert!(facts.assignment >= self.highest, "went back to an older assignment");
                    self.highest = facts.assignment;
                }
                Effect::StartCheck(_) | Effect::StopCheck(_) | Effect::WakeAt(_) | Effect::InForce(_) => {}
                Effect::Entry(entry) => {
                    self.check_asked("the entry point");
                    assert_eq!(entry, self.disk.assignment.entry);
                }
                Effect::Start(spec) => {
                    self.check_asked(&spec.name);
                    let doubted = self.gone.contains(&InstanceId::from_uuid(spec.key.id));
                    assert!(!doubted, "{} left the table and is started", spec.name);
                    self.ask(Effect::Start(spec));
                }
                asked => self.ask(asked),
            }
        }
    }

    /// Nothing comes from a ledger that may be old, unless nobody answered in time.
    fn check_asked(&self, what: &str) {
        let waits = self.now < self.booted_at + ASK_FOR;
        assert!(!waits || self.sure, "{what} came from the ledger before the newest target was in force");
    }

    fn ask(&mut self, effect: Effect) {
        if let Effect::RemoveRelease(key) = &effect {
            // Work on it ends first.
            self.asked.retain(|other| release_of(other) != Some(key.clone()));
        }
        self.asked.push(effect);
    }

    fn forget(&mut self, key: RunKey) {
        let lives = self.runs.get(&key).is_some_and(|run| run.exit.is_none());
        assert!(!lives, "{key:?} lives and was forgotten");
        self.runs.remove(&key);
        self.forgotten.insert(key);
    }

    /// Answers a save: done, or failed.
    fn save(&mut self, works: bool) {
        let Some(ledger) = self.saving.take() else { return };
        if works {
            self.disk = ledger;
            self.feed(Event::LedgerSaved);
        } else {
            self.feed(Event::LedgerFailed("no space left".to_owned()));
        }
    }

    /// Does something that was asked for and answers it.
    fn answer(&mut self, choice: usize, works: bool) {
        if self.asked.is_empty() {
            return;
        }
        let mut chosen = choice % self.asked.len();
        if let Some(key) = release_of(&self.asked[chosen]) {
            // What is asked of one release is done in order.
            let first = self.asked.iter().position(|other| release_of(other) == Some(key.clone()));
            chosen = first.unwrap_or(chosen);
        }
        let effect = self.asked.remove(chosen);
        if let Some(event) = self.perform(effect, works) {
            self.feed(event);
        }
    }

    fn perform(&mut self, effect: Effect, works: bool) -> Option<Event> {
        match effect {
            Effect::Start(spec) => Some(self.start(*spec, works)),
            Effect::Stop { key, .. } => (!works).then_some(Event::StopFailed(key)).or_else(|| self.end(key)),
            Effect::EnsureRelease(release) => {
                let key = (release.app, release.release);
                self.check_unused(&key);
                self.releases.insert(key.clone(), false);
                Some(match works {
                    true => Event::ReleaseUnpacked(key),
                    false => Event::ReleaseFailed { release: key, message: "404".to_owned() },
                })
            }
            Effect::SealRelease(release) => {
                let key = (release.app, release.release);
                self.releases.insert(key.clone(), true);
                Some(Event::ReleaseReady(key))
            }
            Effect::RemoveRelease(key) if works => {
                self.check_unused(&key);
                self.releases.remove(&key);
                Some(Event::ReleaseRemoved(key))
            }
            Effect::RemoveRelease(key) => Some(Event::RemovalFailed(key)),
            other => panic!("{other:?}"),
        }
    }

    fn start(&mut self, spec: RunSpec, works: bool) -> Event {
        let key = spec.key;
        let again = self.forgotten.contains(&key) && spec.name.starts_with("web-");
        self.check_start(&spec, again);
        if !works || again {
            let message = "no".to_owned();
            return Event::StartFailed { key, reason: FailureReason::Start, message, image_lost: false };
        }
        let held = Held { spec, pid: Some(1), exit: None, unmounted: Vec::new() };
        self.runs.insert(key, held.clone());
        Event::RunStarted(held)
    }

    /// `again`: an instance that was gone is assigned once more; the runtime refuses the attempts that it had.
    fn check_start(&mut self, spec: &RunSpec, again: bool) {
        let key = spec.key;
        assert!(again || !self.forgotten.contains(&key), "{key:?} was forgotten and is started");
        let rival = self.runs.values().find(|run| run.spec.key.id == key.id && run.exit.is_none());
        assert!(rival.is_none(), "{key:?} is started while {rival:?} lives");
        if spec.name == "prepare" {
            return;
        }
        let release = (spec.app.clone(), number(spec));
        assert_eq!(self.releases.get(&release), Some(&true), "{key:?} is started without its release");
        let instance = InstanceId::from_uuid(key.id);
        let known = self.disk.assignment.instances.contains_key(&instance)
            || self.disk.leaving.contains_key(&instance);
        if spec.name == "release" {
            let starts = self.task_starts.entry(TaskId::from_uuid(key.id)).or_default();
            *starts += 1;
            assert_eq!(*starts, 1, "a task was started twice");
            assert!(self.disk.tasks.contains_key(&TaskId::from_uuid(key.id)), "a task without a record");
        } else {
            assert!(known, "{key:?} is started and was never assigned");
        }
    }

    fn check_unused(&self, key: &ReleaseKey) {
        let (directory, staging) = (site().directory(key), site().staging(key));
        let user = self.runs.values().find(|run| {
            run.exit.is_none()
                && [Some(directory.as_path()), Some(staging.as_path())].contains(&run.spec.directory())
        });
        assert!(user.is_none(), "{key:?} is taken away below {user:?}");
    }

    fn end(&mut self, key: RunKey) -> Option<Event> {
        let run = self.runs.get_mut(&key).filter(|run| run.exit.is_none())?;
        run.exit = Some(exit(0));
        Some(Event::RunEnded { key, exit: exit(0) })
    }

    /// A run ends by itself; `seen`: and the agent is told.
    fn die(&mut self, choice: usize) {
        let alive: Vec<RunKey> =
            self.runs.values().filter(|run| run.exit.is_none()).map(|run| run.spec.key).collect();
        if !alive.is_empty()
            && let Some(event) = self.end(alive[choice % alive.len()])
        {
            self.feed(event);
        }
    }

    /// The agent is gone, and of what it had asked for a part was done. Some runs end meanwhile.
    fn crash(&mut self, bits: usize) {
        if let Some(ledger) = self.saving.take().filter(|_| bits & 1 == 1) {
            self.disk = ledger;
        }
        for (n, effect) in std::mem::take(&mut self.asked).into_iter().enumerate() {
            if bits >> (n % 8) & 2 == 2 {
                self.perform(effect, true);
            }
        }
        let keys: Vec<RunKey> = self.runs.keys().copied().collect();
        for (n, key) in keys.into_iter().enumerate().filter(|(n, _)| bits >> (n % 12) & 4 == 4) {
            self.end(key);
            if n % 3 == 0 {
                self.runs.get_mut(&key).unwrap().exit = Some(unseen());
            }
        }
        self.boot();
    }

    fn assign(&mut self, bits: usize) {
        self.revision += 1;
        let older = bits & 0b111 == 0b111;
        let version = Version::new(1, if older { self.revision / 2 } else { self.revision });
        let mut wanted = Assignment::empty(server());
        wanted.version = version;
        for n in 1..=3u64 {
            let prepare = (n == 3).then_some("make");
            if bits >> (n + 2) & 1 == 1 {
                wanted.releases.push(assigned_release(n, prepare).into());
            }
        }
        for n in 1..=6u16 {
            let of_release = u64::from(n) % 3 + 1;
            if bits >> (n + 6) & 1 == 1 {
                wanted.instances.insert(instance_id(u128::from(n)), instance(n, of_release).into());
            }
        }
        for n in 0..2u64 {
            if bits >> (n + 14) & 1 == 1 {
                wanted.tasks.insert(task_id(u128::from(50 + n)), task(n + 1));
            }
        }
        if bits >> 5 & 1 == 1 {
            wanted.entry = Some(Entry { prefer_local: bits >> 4 & 1 == 1 });
        }
        self.tell(wanted);
    }

    /// The control plane answers, with an assignment.
    fn tell(&mut self, assignment: Assignment) {
        let known = self.heard.unwrap_or(self.disk.assignment.version);
        self.heard = Some(known.max(assignment.version));
        self.told = Some(self.told.unwrap_or_default().max(assignment.version));
        self.feed(Event::Assignment(assignment));
    }

    /// The control plane answers that there is nothing newer.
    fn hear(&mut self) {
        self.heard.get_or_insert(self.disk.assignment.version);
        self.told.get_or_insert(self.disk.assignment.version);
        self.feed(Event::TargetHeard);
    }

    /// Another server answers: of the instances some have left the table.
    fn hear_peers(&mut self, bits: usize) {
        self.heard.get_or_insert(self.disk.assignment.version);
        let some = (1..=6u128).filter(|n| bits >> n & 1 == 1).map(instance_id);
        let gone: BTreeSet<InstanceId> = some.collect();
        let ours = &self.disk.assignment.instances;
        let doubted = gone.iter().filter(|id| ours.contains_key(id));
        // As long as a word of the control plane is on its way to the disk, it ends all doubt there is.
        if self.told.is_none() {
            self.gone.extend(doubted);
        }
        self.feed(Event::PeersHeard { gone });
    }

    /// Everything works from now on: the server comes to match its assignment.
    fn calm_down(&mut self) {
        // Also what failed is tried again with a new assignment.
        self.revision += 1;
        let mut last = self.disk.assignment.clone();
        last.version = Version::new(2, self.revision);
        self.tell(last);
        for _ in 0..2000 {
            self.save(true);
            while !self.asked.is_empty() {
                self.answer(0, true);
                self.save(true);
            }
            let prepares = self.runs.values().find(|run| run.spec.name == "prepare" && run.exit.is_none());
            if let Some(event) = prepares.map(|run| run.spec.key).and_then(|key| self.end(key)) {
                self.feed(event);
            }
            self.now = self.now + Millis(500);
            self.feed(Event::Tick);
            if self.asked.is_empty() && self.saving.is_none() && self.state.wake.is_none() {
                break;
            }
        }
        self.check_match();
    }

    fn check_match(&self) {
        let assignment = &self.disk.assignment;
        let promised = |n: u64| assignment.releases.iter().any(|release| release.release.0 == n);
        let live: BTreeSet<InstanceId> = self
            .runs
            .values()
            .filter(|run| run.exit.is_none() && run.spec.name.starts_with("web-"))
            .map(|run| InstanceId::from_uuid(run.spec.key.id))
            .collect();
        for (id, spec) in &assignment.instances {
            // One whose release is not assigned runs as long as there is something to run.
            assert!(live.contains(id) || !promised(spec.release.0), "{id} of {} does not run", spec.release);
        }
        let extra: Vec<_> = live.iter().filter(|id| !assignment.instances.contains_key(id)).collect();
        assert!(extra.is_empty(), "{extra:?} run and are not assigned");
        for (id, status) in self.state.facts().instances {
            assert!(assignment.instances.contains_key(&id), "{id} is reported as {status:?}");
            assert_ne!(status.status().state, InstanceState::Stopping);
        }
        for key in self.releases.keys() {
            let used = assignment.instances.values().any(|one| one.release == key.1);
            assert!(promised(key.1.0) || used, "{key:?} is left over");
        }
        assert!(self.disk.leaving.is_empty());
    }
}

fn release_of(effect: &Effect) -> Option<ReleaseKey> {
    match effect {
        Effect::EnsureRelease(release) | Effect::SealRelease(release) => {
            Some((release.app.clone(), release.release))
        }
        Effect::RemoveRelease(key) => Some(key.clone()),
        _ => None,
    }
}

/// `.../v3` → 3.
fn number(spec: &RunSpec) -> pando_model::ReleaseNumber {
    spec.directory().unwrap().file_name().unwrap().to_str().unwrap().parse().unwrap()
}

fn play(history: &[(u8, u16)]) {
    let mut world = World::new();
    for (what, how) in history {
        let how = usize::from(*how);
        match what % 16 {
            0 | 1 => world.assign(how),
            2..=4 => world.save(how % 8 != 0),
            5..=9 => world.answer(how / 8, how % 8 != 0),
            10 => world.die(how),
            11 => world.crash(how),
            12 => {
                world.now = world.now + Millis(u64::try_from(how).unwrap());
                world.feed(Event::Tick);
            }
            13 => world.feed(Event::CheckPassed(run(how as u128 % 6 + 1, 0))),
            14 if how % 2 == 0 => world.hear(),
            14 if how % 4 == 1 => world.hear_peers(how),
            14 => {
                let key = run(how as u128 % 6 + 1, 0);
                world.feed(Event::CheckFailed { key, answer: "no".to_owned() });
            }
            _ => world.feed(Event::Tick),
        }
    }
    world.calm_down();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_server_matches_its_assignment_and_no_task_runs_twice(
        history in prop::collection::vec((any::<u8>(), any::<u16>()), 0..150),
    ) {
        play(&history);
    }
}
