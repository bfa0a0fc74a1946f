//! How many replicas a process has, by its own keys or the root's.

use pando_model::app::ReplicaCount;

use super::Draft;
use crate::diagnostic::Sink;
use crate::raw::Settings;
use crate::source::Span;

pub(super) fn count(settings: &Settings, draft: &Draft, sink: &mut Sink) -> ReplicaCount {
    let own = &draft.process;
    let singleton = own.singleton.value().is_some_and(|flag| flag.0);
    let mut count = None;
    if let Some(replicas) = own.replicas.get() {
        count = Some((replicas.key, ReplicaCount::Total(replicas.value.0)));
    } else if let Some(per_server) = own.per_server.get() {
        count = Some((per_server.key, ReplicaCount::PerServer(per_server.value.0)));
    } else if draft.described_by_root {
        count = of_root(settings);
    }
    match count {
        Some((key, given)) if singleton => {
            if !matches!(given, ReplicaCount::Total(0 | 1)) {
                let reason = format!("`{}` is a singleton, and this would be more than one", draft.name);
                sink.error_hint(key, reason, "remove `singleton`, or write `replicas: 1`");
            }
            given
        }
        Some((_, given)) => given,
        None if singleton => ReplicaCount::Total(1),
        None => ReplicaCount::PerServer(1),
    }
}

fn of_root(settings: &Settings) -> Option<(Span, ReplicaCount)> {
    let total = settings.replicas.get().map(|count| (count.key, ReplicaCount::Total(count.value.0)));
    total.or_else(|| {
        settings.per_server.get().map(|count| (count.key, ReplicaCount::PerServer(count.value.0)))
    })
}

/// Keys of the root that are for no process are mistakes: what they ask for would silently not happen.
pub(super) fn check_root(settings: &Settings, drafts: &[Draft], plain: bool, sink: &mut Sink) {
    if drafts.is_empty() {
        return;
    }
    let described: Vec<&Draft> = drafts.iter().filter(|draft| draft.described_by_root).collect();
    let example = described.first().unwrap_or(&&drafts[0]).name.clone();
    for (key, name) in [(settings.replicas.key(), "replicas"), (settings.per_server.key(), "per_server")] {
        let used =
            described.iter().any(|d| d.process.replicas.is_absent() && d.process.per_server.is_absent());
        if let Some(key) = key.filter(|_| !used) {
            let reason = if described.is_empty() {
                format!("`{name}` is for processes that get requests, and none of them does")
            } else {
                format!("`{name}` has no effect: every process that gets requests has its own count")
            };
            sink.error_hint(
                key,
                reason,
                format!("write it there: `processes: {{{example}: {{{name}: …}}}}`"),
            );
        }
    }
    let unused_health = described.is_empty().then(|| settings.health.key()).flatten();
    if let Some(key) = unused_health {
        let reason = "this check is for processes that get requests, and none of them does";
        sink.error_hint(key, reason, format!("write it there: `processes: {{{example}: {{health: …}}}}`"));
    }
    let ports = drafts.iter().map(|draft| draft.process.port.get()).chain([settings.port.get()]);
    for key in ports.flatten().map(|port| port.key).filter(|_| plain) {
        let hint = "each replica is given a port of its own, and told in `PORT`";
        sink.warn(key, "`port` has no effect on plain processes", hint);
    }
}
