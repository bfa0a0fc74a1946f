//! Makes our table what it is to be, and keeps it so.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use pando_model::firewall::FirewallRules;
use pando_rt::backoff::Backoff;
use pando_rt::error_chain::error_chain;
use tokio::time::{Instant, timeout};

use super::guard::{Guard, GuardError, listing};
use super::kept::{Kept, KeptError, Proved, Refused};
use super::ruleset;
use super::sessions::{self, Cut};
use super::tool::{self, ToolError};

/// After rules that did not prove themselves.
const TRY_AGAIN: Backoff = Backoff { first: Duration::from_secs(30), most: Duration::from_secs(600) };
/// Longer than a stranger's attempt at the API lasts, shorter than an agent's connection.
const SETTLE: Duration = Duration::from_secs(5);
/// While somebody who would be cut off is connected to the API.
const WHILE_CONNECTED: Duration = Duration::from_secs(60);
/// For one fresh connection to the control plane.
const REACH_WITHIN: Duration = Duration::from_secs(3);

const FOREIGN: &str = "there is a table `inet pando` that this agent knows nothing of, and it filters; \
    if nobody else needs it, `nft delete table inet pando` removes it";

pub(super) struct Keeper<C> {
    guard: Guard,
    reaches_control: C,
    kept: Kept,
    failed: Option<Failed>,
}

/// Rules that could not come into force, how often in a row, and when they may be tried again.
#[derive(Debug, Clone)]
struct Failed {
    rules: FirewallRules,
    problems: Vec<String>,
    times: u32,
    until: Instant,
}

/// What is to be done about our table, once what has proved itself is in force.
#[derive(Debug, Clone, PartialEq)]
enum Next {
    /// It is as it should be.
    Nothing,
    Remove,
    /// These rules have yet to prove themselves.
    Change,
    /// They were refused, for these reasons.
    Stay(Vec<String>),
}

#[derive(Debug, thiserror::Error)]
enum KeepError {
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error(transparent)]
    Guard(#[from] GuardError),
    #[error(transparent)]
    Kept(#[from] KeptError),
    #[error(
        "the control plane can't be reached, so that new rules could not prove themselves; those from before stay"
    )]
    NoControl,
    #[error("refused: {}", .0.join("; "))]
    Refused(Vec<String>),
    #[error("held up: {}", .0.join("; "))]
    Connected(Vec<String>),
    #[error("the table is gone right after it was made; something else removes it")]
    Vanished,
}

impl<F: Future<Output = bool>, C: Fn() -> F> Keeper<C> {
    /// Waits for, or undoes, what an agent before this one left halfway.
    pub(super) async fn begin(guard: Guard, reaches_control: C) -> Self {
        let directory = guard.directory.clone();
        let loaded = tokio::task::spawn_blocking(move || Kept::load(&directory)).await;
        let kept = match loaded {
            Ok(Ok(kept)) => kept,
            Ok(Err(error)) => {
                tracing::warn!("{}", error_chain(&error));
                Kept::default()
            }
            Err(_) => Kept::default(),
        };
        if let Err(error) = guard.recover().await {
            tracing::warn!("{}", error_chain(&error));
        }
        Self { guard, reaches_control, kept, failed: None }
    }

    /// Brings `rules` into force where they are not, without judging what comes from `inside`.
    ///
    /// # Errors
    /// What stands in the way, a line each. What was in force before is so still.
    pub(super) async fn keep(
        &mut self,
        rules: &FirewallRules,
        inside: &BTreeSet<String>,
    ) -> Result<(), Vec<String>> {
        let failed = self.failed.take().filter(|failed| failed.rules == *rules);
        if let Some(failed) = failed.as_ref().filter(|failed| Instant::now() < failed.until) {
            let problems = failed.problems.clone();
            self.failed = Some(failed.clone());
            return Err(problems);
        }
        let Err(error) = self.attempt(rules, ruleset::text(rules, inside)).await else { return Ok(()) };
        let times = failed.map_or(0, |failed| failed.times);
        let (problems, pause) = match error {
            KeepError::Refused(problems) => (problems, Duration::ZERO),
            KeepError::Connected(problems) => (problems, WHILE_CONNECTED),
            KeepError::Guard(error) => (vec![error_chain(&error)], TRY_AGAIN.nth(times)),
            error => (vec![error_chain(&error)], Duration::ZERO),
        };
        let until = Instant::now() + pause;
        let times = times.saturating_add(1);
        self.failed = Some(Failed { rules: rules.clone(), problems: problems.clone(), times, until });
        Err(problems)
    }

    async fn attempt(&mut self, rules: &FirewallRules, text: String) -> Result<(), KeepError> {
        let mut listed = match listing().await {
            Ok(listed) => listed,
            // Where nft can't work, no table of ours is left to remove.
            Err(_) if !rules.enforced => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        if let Some((rules, text)) = to_put_back(rules, &text, &self.kept, listed.as_deref()) {
            tool::run("nft", &["-f", "-"], Some(&text)).await?;
            listed = Some(self.prove(rules, text).await?);
        }
        match next(rules, &self.kept, listed.as_deref()) {
            Next::Nothing => Ok(()),
            Next::Stay(problems) => Err(KeepError::Refused(problems)),
            Next::Remove => self.remove().await,
            Next::Change => self.change(rules, text, listed).await,
        }
    }

    async fn change(
        &mut self,
        rules: &FirewallRules,
        text: String,
        listed: Option<String>,
    ) -> Result<(), KeepError> {
        if !rules.cut_sessions {
            self.spare_sessions(rules).await?;
        }
        // If it can't be reached before, that it can't afterwards says nothing of the rules.
        if !timeout(REACH_WITHIN, (self.reaches_control)()).await.unwrap_or(false) {
            return Err(KeepError::NoControl);
        }
        let restore = restoration(&self.kept, listed.as_deref());
        let confirmed = || async { timeout(REACH_WITHIN, (self.reaches_control)()).await.unwrap_or(false) };
        self.guard.apply(&text, &restore, confirmed).await?;
        self.prove(rules.clone(), text).await?;
        tracing::info!("the firewall's rules are in force, and the control plane was reached afresh");
        Ok(())
    }

    /// # Errors
    /// When somebody would be cut off.
    async fn spare_sessions(&mut self, rules: &FirewallRules) -> Result<(), KeepError> {
        let first = look_for_cut(rules).await;
        if !first.people.is_empty() {
            self.kept.refused = Some(Refused { rules: rules.clone(), problems: first.people.clone() });
            self.save().await?;
            return Err(KeepError::Refused(first.people));
        }
        if first.api.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(SETTLE).await;
        let second = look_for_cut(rules).await;
        let stayed: Vec<String> = second.api.into_iter().filter(|one| first.api.contains(one)).collect();
        if stayed.is_empty() { Ok(()) } else { Err(KeepError::Connected(stayed)) }
    }

    /// Remembers what is in force as proved; answers how nft lists it.
    async fn prove(&mut self, rules: FirewallRules, text: String) -> Result<String, KeepError> {
        let listing = listing().await?.ok_or(KeepError::Vanished)?;
        self.kept = Kept { proved: Some(Proved { rules, text, listing: listing.clone() }), refused: None };
        self.save().await?;
        Ok(listing)
    }

    async fn remove(&mut self) -> Result<(), KeepError> {
        tool::run("nft", &["-f", "-"], Some(&ruleset::removal())).await?;
        self.kept = Kept::default();
        self.save().await?;
        tracing::info!("the firewall is not Pando's to keep; its table is removed");
        Ok(())
    }

    async fn save(&self) -> Result<(), KeepError> {
        let (directory, kept) = (self.guard.directory.clone(), self.kept.clone());
        let saved = tokio::task::spawn_blocking(move || kept.save(&directory)).await;
        Ok(saved.unwrap_or(Ok(()))?)
    }
}

async fn look_for_cut(rules: &FirewallRules) -> Cut {
    let sessions = tokio::task::spawn_blocking(sessions::look).await.unwrap_or_default();
    sessions::cut(rules, &sessions)
}

/// What has proved itself comes back without further questions: after a reboot, also while the control plane is away; after
/// somebody's `flush ruleset`; and when containers come and go.
fn to_put_back(
    rules: &FirewallRules,
    text: &str,
    kept: &Kept,
    listed: Option<&str>,
) -> Option<(FirewallRules, String)> {
    let proved = kept.proved.as_ref().filter(|_| rules.enforced)?;
    if proved.rules == *rules {
        let same = proved.text == text && listed == Some(proved.listing.as_str());
        return (!same).then(|| (rules.clone(), text.to_owned()));
    }
    listed.is_none().then(|| (proved.rules.clone(), proved.text.clone()))
}

fn next(rules: &FirewallRules, kept: &Kept, listed: Option<&str>) -> Next {
    if !rules.enforced {
        return match (*kept == Kept::default(), listed) {
            (false, _) => Next::Remove,
            (true, None) => Next::Nothing,
            // Another agent's, with another state directory, or from before ours was lost.
            (true, Some(_)) => Next::Stay(vec![FOREIGN.to_owned()]),
        };
    }
    if kept.proved.as_ref().is_some_and(|proved| proved.rules == *rules) {
        return Next::Nothing;
    }
    match kept.refused.as_ref().filter(|refused| refused.rules == *rules) {
        Some(refused) => Next::Stay(refused.problems.clone()),
        None => Next::Change,
    }
}

/// Brings back what is in force now.
fn restoration(kept: &Kept, listed: Option<&str>) -> String {
    match (listed, &kept.proved) {
        (None, _) => ruleset::removal(),
        (Some(listed), Some(proved)) if proved.listing == listed => proved.text.clone(),
        (Some(listed), _) => ruleset::restoration(listed),
    }
}

#[cfg(test)]
mod tests;
