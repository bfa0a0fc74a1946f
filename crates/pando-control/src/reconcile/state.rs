//! The loop as a function: `step(state, event, now, seed) -> effects`.
//!
//! One transaction is under way at a time. What happens meanwhile is noted and
//! planned for afterwards; a conflict reads the store again.

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_api::v1::events::EventLevel;
use pando_model::id::{Entropy, ServerId};
use pando_model::name::{AppName, ProcessName};
use pando_model::observed::{AgentReport, Observed, ServerObserved};
use pando_model::time::{Millis, Timestamp};
use pando_plan::input::{heard, relayed};
use pando_plan::{Action, Input, Plan, Report, check, has_news, plan};

use super::{commit, times};
use crate::events::Draft;
use crate::state::State as Loaded;
use crate::store::{Outcome, Txn};

/// The store is read whole at least so often, whatever hints were lost.
const RELOAD_EVERY: Millis = Millis::from_secs(30);
/// A process's line goes to the event log at most so often.
const LINE_EVERY: Millis = Millis::from_secs(1);

#[derive(Debug, Clone, PartialEq)]
pub struct State {
    /// What the store held when it was last read, and what was committed since. `None`: not read yet.
    pub loaded: Option<Loaded>,
    pub observed: Observed,
    /// What the last plan said.
    pub report: Report,
    /// Under way: the plan that is being committed.
    committing: Option<Plan>,
    loading: bool,
    /// Something happened while a transaction or a read was under way.
    again: bool,
    /// The store changed by another hand since it was last read.
    stale: bool,
    loaded_at: Timestamp,
    lines: BTreeMap<(AppName, ProcessName), (String, Timestamp)>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The store may have changed.
    StoreChanged,
    Loaded(Box<Loaded>),
    /// Reading or writing failed; it is tried again.
    StoreFailed,
    Reported {
        report: Box<AgentReport>,
        at: Timestamp,
    },
    /// The same, brought by another server: its author can't reach the control plane.
    Relayed {
        report: Box<AgentReport>,
        at: Timestamp,
    },
    Committed(Outcome),
    Tick,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Read the store; answer with `Loaded` or `StoreFailed`.
    Load,
    /// Do it; answer with `Committed` or `StoreFailed`.
    Commit(Txn),
    /// The table and the assignments of the state are committed: tell the agents.
    Publish,
    /// Report or observations changed: whoever looks may see it.
    Show,
    /// The clock is so far behind what is recorded: from here on it is to be ahead by that.
    Advance(Millis),
    /// Send a `Tick` then.
    WakeAt(Timestamp),
}

impl State {
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self {
            loaded: None,
            observed: Observed { since: now, servers: BTreeMap::new() },
            report: Report::default(),
            committing: None,
            loading: false,
            again: false,
            stale: true,
            loaded_at: now,
            lines: BTreeMap::new(),
        }
    }
}

/// One step. The same state, event, time and seed give the same effects. `now` never goes back, but for the clock between two
/// starts: then it is moved on to what was recorded last.
pub fn step(state: &mut State, event: Event, now: Timestamp, seed: u64) -> Vec<Effect> {
    let mut effects = Vec::new();
    let now = match &event {
        Event::Loaded(loaded) => catch_up(state, loaded, now, &mut effects),
        _ => now,
    };
    match event {
        Event::StoreChanged => state.stale = true,
        Event::Loaded(loaded) => {
            state.loading = false;
            state.loaded_at = now;
            // What was committed here in the meantime is newer than what was read.
            let newer = state.loaded.as_ref().is_none_or(|held| loaded.revision >= held.revision);
            if newer {
                state.loaded = Some(*loaded);
                effects.push(Effect::Publish);
            }
        }
        Event::StoreFailed => {
            state.loading = false;
            state.committing = None;
            state.stale = true;
            effects.push(Effect::WakeAt(now + Millis(500)));
            return effects;
        }
        Event::Reported { report, at } => {
            let before = state.observed.servers.get(&report.server).map(AsRef::as_ref);
            let seen = heard(before, *report, at);
            if !observe(state, seen, &mut effects) {
                return effects;
            }
        }
        Event::Relayed { report, at } => {
            let seen = relayed(&state.observed, *report, at);
            if !observe(state, seen, &mut effects) {
                return effects;
            }
        }
        Event::Committed(outcome) => committed(state, outcome, now, &mut effects),
        Event::Tick => state.stale |= now.since(state.loaded_at) >= RELOAD_EVERY,
    }
    proceed(state, now, seed, &mut effects);
    effects
}

/// Nothing that is recorded lies in the future: deadlines would be far away, and what is newest would look old.
fn catch_up(state: &mut State, loaded: &Loaded, now: Timestamp, effects: &mut Vec<Effect>) -> Timestamp {
    let behind = times::newest(&loaded.world).since(now);
    if behind == Millis(0) {
        return now;
    }
    effects.push(Effect::Advance(behind));
    state.loaded_at = state.loaded_at + behind;
    state.observed.since = state.observed.since + behind;
    for seen in state.observed.servers.values_mut().map(Arc::make_mut) {
        seen.heard_at = seen.heard_at + behind;
        seen.reported_at = seen.reported_at + behind;
        seen.proxy_heard_at = seen.proxy_heard_at.map(|at| at + behind);
        seen.proxy_back_at = seen.proxy_back_at.map(|at| at + behind);
    }
    now + behind
}

/// Later reports replace earlier ones. False: there is nothing in it to plan for.
fn observe(state: &mut State, seen: ServerObserved, effects: &mut Vec<Effect>) -> bool {
    let (server, report) = (seen.report.server, &seen.report);
    let old = state.observed.servers.get(&server).map(AsRef::as_ref);
    let repeated =
        old.is_some_and(|old| old.report.boot == report.boot && old.report.sequence >= report.sequence);
    if repeated {
        return false;
    }
    effects.push(Effect::Show);
    let news = state.loaded.as_ref().is_none_or(|loaded| has_news(&loaded.world, old, &seen));
    state.observed.servers.insert(server, seen.into());
    news
}

fn committed(state: &mut State, outcome: Outcome, now: Timestamp, effects: &mut Vec<Effect>) {
    let plan = state.committing.take();
    match (outcome, plan, state.loaded.as_mut()) {
        (Outcome::Committed(revision), Some(plan), Some(loaded)) => {
            // Somebody wrote in between: the hint about that says nothing new once this revision is known.
            state.stale |= revision > loaded.revision + 1;
            commit::apply(loaded, &plan, revision, now);
            // What a server said before it was forgotten is nothing to go by, should one with its id ever join again.
            let forgotten = |id: &ServerId| plan.actions.contains(&Action::ForgetServer(*id));
            state.observed.servers.retain(|id, _| !forgotten(id));
            effects.push(Effect::Publish);
        }
        _ => state.stale = true,
    }
    state.again = true;
}

fn proceed(state: &mut State, now: Timestamp, seed: u64, effects: &mut Vec<Effect>) {
    if state.committing.is_some() || state.loading {
        state.again = true;
        return;
    }
    state.again = false;
    if state.stale || state.loaded.is_none() {
        state.stale = false;
        state.loading = true;
        effects.push(Effect::Load);
        return;
    }
    decide(state, now, seed, effects);
}

fn decide(state: &mut State, now: Timestamp, seed: u64, effects: &mut Vec<Effect>) {
    let Some(loaded) = &state.loaded else { return };
    let input = Input { desired: &loaded.world, observed: &state.observed, now, seed };
    let plan = plan(&input);
    debug_assert_eq!(check(&input, &plan), [], "a plan breaks an invariant; seed {seed}");
    let mut entropy = Entropy::from_seed(seed ^ 0x6c6f_6720_6576_656e);
    let mut drafts: Vec<Draft> = plan.notes.iter().map(commit::draft).collect();
    let (lines, next_line) = line_drafts(&plan.report, &mut state.lines, now);
    drafts.extend(lines);
    if state.report != plan.report {
        state.report = plan.report.clone();
        effects.push(Effect::Show);
    }
    let wakes = [plan.wake_at, next_line, Some(state.loaded_at + RELOAD_EVERY)];
    let wake = wakes.into_iter().flatten().min().unwrap_or(now);
    effects.push(Effect::WakeAt(wake.max(now + Millis(1))));
    if plan.actions.is_empty() && drafts.is_empty() {
        return;
    }
    match commit::transaction(loaded, &plan, drafts, now, &mut entropy) {
        Ok(txn) => {
            state.committing = Some(plan);
            effects.push(Effect::Commit(txn));
        }
        Err(error) => tracing::error!("a plan can't be written: {error}"),
    }
}

/// Each process's line, whenever what it says changes but for numbers, and not too often; and when the next one may follow that has
/// to wait.
fn line_drafts(
    report: &Report,
    lines: &mut BTreeMap<(AppName, ProcessName), (String, Timestamp)>,
    now: Timestamp,
) -> (Vec<Draft>, Option<Timestamp>) {
    let (mut drafts, mut next) = (Vec::new(), None);
    for (app, of_app) in &report.apps {
        for (process, of_process) in &of_app.processes {
            let key = (app.clone(), process.clone());
            let gist = gist(&of_process.line);
            let known = lines.get(&key);
            // After a start of the control plane, a line that says that all is well is no news.
            let first = known.is_none() && of_process.ready == of_process.wanted;
            if known.is_some_and(|(said, _)| *said == gist) {
                continue;
            }
            if let Some(due) = known.map(|(_, at)| *at + LINE_EVERY).filter(|due| now < *due) {
                next = Some(next.map_or(due, |next: Timestamp| next.min(due)));
                continue;
            }
            lines.insert(key, (gist, now));
            if !first {
                let calm = of_app.settled || of_app.deployment.is_some();
                let level = if calm { EventLevel::Info } else { EventLevel::Warning };
                drafts.push(Draft::new(&of_process.line).app(app).level(level));
            }
        }
    }
    lines.retain(|(app, process), _| {
        report.apps.get(app).is_some_and(|of_app| of_app.processes.contains_key(process))
    });
    (drafts, next)
}

/// The line without its times and counts of milliseconds, which change with every look.
fn gist(line: &str) -> String {
    let without = |word: &str| !word.ends_with("ms") && word.parse::<f64>().is_err() && !word.ends_with("Z)");
    let (counts, rest) = line.split_once(';').unwrap_or((line, ""));
    let rest: Vec<&str> = rest.split(' ').filter(|word| without(word)).collect();
    format!("{counts};{}", rest.join(" "))
}

#[cfg(test)]
mod tests;
