//! How a release replaces another, and what surrounds it: schedules and scaling.

use std::collections::BTreeSet;

use pando_model::app::{Amount, Strategy};

use super::{Draft, Surroundings, process, routes};
use crate::diagnostic::Sink;
use crate::raw::{self, Settings};

pub(super) fn strategy(settings: &Settings, sink: &mut Sink) -> Strategy {
    let given = settings.deployment_strategy.value().copied().unwrap_or(raw::Strategy::Rolling);
    if given != raw::Strategy::Rolling {
        for (key, name) in
            [(settings.max_unavailable.key(), "max_unavailable"), (settings.max_surge.key(), "max_surge")]
        {
            let Some(key) = key else { continue };
            let reason = format!("`{name}` has no effect with `deployment_strategy: {}`", given.word());
            sink.warn(key, reason, "it goes with `rolling`");
        }
    }
    if given == raw::Strategy::Replace {
        return Strategy::Replace;
    }
    rolling(settings, sink)
}

fn rolling(settings: &Settings, sink: &mut Sink) -> Strategy {
    let max_unavailable = settings.max_unavailable.value().map_or(Amount::Count(0), |amount| amount.0);
    let max_surge = settings.max_surge.value().map_or(Amount::Count(1), |amount| amount.0);
    let nothing = |amount| matches!(amount, Amount::Count(0) | Amount::Percent(0));
    if let Some(surge) = settings.max_surge.get().filter(|_| nothing(max_surge) && nothing(max_unavailable)) {
        let hint = "let one of `max_surge` and `max_unavailable` be 1 or more";
        sink.error_hint(surge.span, "with neither more nor fewer replicas, none can ever be replaced", hint);
    }
    Strategy::Rolling { max_unavailable, max_surge }
}

/// The file's, or else the Procfile's where that says the processes.
pub(super) fn command(settings: &Settings, around: &Surroundings<'_>, sink: &mut Sink) -> Option<String> {
    let used = settings.processes.is_absent() && !settings.source.is_absent();
    let line = around.procfile.as_ref().filter(|_| used).and_then(|procfile| procfile.release.clone());
    let Some(given) = settings.release.get() else { return line };
    if line.is_some_and(|line| line != given.value.0) {
        sink.warn(given.key, "the Procfile has a `release` line too, which is not used", "keep one of them");
    }
    Some(given.value.0.clone())
}

pub(super) fn check_schedules(settings: &Settings, sink: &mut Sink) {
    let mut names = BTreeSet::new();
    for schedule in settings.schedules.value().map(|list| list.0.as_slice()).unwrap_or_default() {
        let Some(name) = schedule.value.name.get() else { continue };
        if !names.insert(&name.value) {
            sink.error(name.span, format!("the schedule `{}` is given twice", name.value.0));
        }
    }
}

pub(super) fn check_autoscale(settings: &Settings, drafts: &[Draft], sink: &mut Sink) {
    for (name, rule) in settings.autoscale.value().map(|rules| rules.entries.as_slice()).unwrap_or_default() {
        if process::all_known(settings, drafts) && drafts.iter().all(|draft| draft.name != name.value) {
            let hint = routes::process_hint(&name.value, drafts);
            sink.error_hint(name.span, format!("there is no process `{}`", name.value), hint);
        }
        let rule = &rule.value;
        let least = rule.min.value().map_or(1, |count| count.0);
        if let Some(most) = rule.max.get().filter(|most| most.value.0 < least) {
            sink.error(most.span, format!("`max` is less than `min`, which is {least}"));
        }
        if rule.cpu.is_absent() && rule.requests_per_second.is_absent() && rule.p95_latency.is_absent() {
            let hint = "give `cpu`, `requests_per_second` or `p95_latency`";
            sink.error_hint(name.span, "this does not say by which load to scale", hint);
        }
    }
}
