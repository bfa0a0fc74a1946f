//! Keeps this server's packet filter as its assignment says, in a table of its own.
//!
//! Rules that are new must prove themselves: the control plane is reached afresh
//! under the eyes of a [`guard`], or the rules from before come back. Rules that
//! have proved themselves are put back whenever somebody removes them. What
//! other programs' filters would drop of what is needed here is found and named;
//! nothing outside our own table is ever changed.

mod guard;
mod keep;
mod kept;
mod machine;
mod others;
mod ruleset;
mod sessions;
mod tool;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pando_model::assignment::Assignment;
use pando_model::firewall::{FirewallRules, FirewallStatus};
use pando_model::id::Version;
use pando_rt::error_chain::error_chain;
use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use guard::Guard;

use keep::Keeper;
use machine::Machine;

/// How often our table is looked at: for so long may somebody else's `flush ruleset` leave a server open.
const LOOK: Duration = Duration::from_secs(5);
/// How often other programs' filters are looked at.
const LOOK_AROUND: Duration = Duration::from_secs(30);

/// What is so, and of which assignment.
pub(crate) type Told = Option<(Version, FirewallStatus)>;

/// Runs beside the agent's other parts.
pub(crate) struct Firewall<C> {
    pub(crate) assignment: watch::Receiver<Arc<Assignment>>,
    pub(crate) status: watch::Sender<Told>,
    pub(crate) guard: Guard,
    /// On which this server is reached by the others.
    pub(crate) address: IpAddr,
    /// Whether the control plane answers on a connection that is made for this question.
    pub(crate) reaches_control: C,
}

/// What was last found in the way in others' filters, for which rules, and when.
struct Around {
    rules: FirewallRules,
    at: Instant,
    problems: Vec<String>,
}

impl<F: Future<Output = bool>, C: Fn() -> F> Firewall<C> {
    /// Runs until it is dropped. The rules stay in force then; a change that is under way goes back.
    pub(crate) async fn run(mut self) {
        let mut keeper = Keeper::begin(self.guard, self.reaches_control).await;
        let mut around = None;
        loop {
            let assignment = Arc::clone(&self.assignment.borrow_and_update());
            let rules = assignment.firewall.clone().unwrap_or_default();
            let machine = look_at_machine().await;
            let kept = keeper.keep(&rules, &machine.inside(&[self.address])).await;
            let found = look_around(&rules, &machine, self.address, &mut around).await;
            tell(&self.status, assignment.version, status(&rules, kept, found));
            let pause = if rules.enforced { LOOK } else { LOOK_AROUND };
            let until = Instant::now() + pause;
            if !wait(&mut self.assignment, &self.status, &assignment, until).await {
                return;
            }
        }
    }
}

/// Until `until`, or until other rules are assigned. False: nothing will be assigned any more.
async fn wait(
    assignments: &mut watch::Receiver<Arc<Assignment>>,
    status: &watch::Sender<Told>,
    assignment: &Assignment,
    until: Instant,
) -> bool {
    loop {
        tokio::select! {
            // Both arms are cancel-safe: a change not yet seen stays so.
            changed = assignments.changed() => if changed.is_err() { return false },
            () = tokio::time::sleep_until(until) => return true,
        }
        let newer = Arc::clone(&assignments.borrow_and_update());
        if newer.firewall != assignment.firewall {
            return true;
        }
        // What is in force is what this one says, too.
        status.send_if_modified(|told| match told {
            Some((version, _)) => {
                *version = newer.version;
                true
            }
            None => false,
        });
    }
}

async fn look_at_machine() -> Machine {
    Machine::look().await.unwrap_or_else(|error| {
        tracing::debug!("{}", error_chain(&error));
        Machine::default()
    })
}

async fn look_around(
    rules: &FirewallRules,
    machine: &Machine,
    address: IpAddr,
    around: &mut Option<Around>,
) -> Vec<String> {
    let now = Instant::now();
    if let Some(last) = around.as_ref().filter(|last| last.rules == *rules && now < last.at + LOOK_AROUND) {
        return last.problems.clone();
    }
    let problems = others::problems(rules, machine, address).await;
    *around = Some(Around { rules: rules.clone(), at: now, problems: problems.clone() });
    problems
}

fn status(
    rules: &FirewallRules,
    kept: Result<(), Vec<String>>,
    found: Vec<String>,
) -> Option<FirewallStatus> {
    let in_force = rules.enforced && kept.is_ok();
    let mut problems = kept.err().unwrap_or_default();
    problems.extend(found);
    (rules.enforced || !problems.is_empty()).then_some(FirewallStatus { in_force, problems })
}

/// Each problem is logged when it appears, not at every look.
fn tell(told: &watch::Sender<Told>, version: Version, status: Option<FirewallStatus>) {
    told.send_if_modified(|told| {
        let known = |problem: &String| told.as_ref().is_some_and(|(_, told)| told.problems.contains(problem));
        for problem in status.iter().flat_map(|status| &status.problems).filter(|problem| !known(problem)) {
            tracing::warn!("firewall: {problem}");
        }
        let now = status.map(|status| (version, status));
        let news = *told != now;
        *told = now;
        news
    });
}
