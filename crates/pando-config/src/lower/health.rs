//! How a process's replicas are asked whether they can serve.

use pando_model::{HealthCheck, HealthKind, Millis};

use super::Draft;
use crate::decode::Decode;
use crate::diagnostic::Sink;
use crate::raw::{self, HealthType, Settings};
use crate::source::Span;

/// `plain`: it runs as plain processes. A container may have a check of its image's own.
pub(super) fn check(settings: &Settings, draft: &Draft, plain: bool, sink: &mut Sink) -> HealthCheck {
    let own = draft.process.health.get().cloned();
    let root = settings.health.get().filter(|_| draft.described_by_root).cloned();
    let key = own.as_ref().or(root.as_ref()).map(|at| at.key);
    let raw = match (own, root) {
        (Some(own), Some(root)) => own.value.over(root.value),
        (own, root) => own.or(root).map(|at| at.value).unwrap_or_default(),
    };
    let unsaid = raw.r#type.is_absent() && raw.path.is_absent() && raw.command.is_absent();
    let kind = if unsaid && !plain {
        HealthKind::Image { path: draft.routed.then(|| "/".to_owned()) }
    } else {
        kind(&raw, key, draft, sink)
    };
    HealthCheck {
        kind,
        interval: raw.interval.value().map_or(HealthCheck::INTERVAL, |length| length.0),
        timeout: raw.timeout.value().map_or(Millis::from_secs(2), |length| length.0),
        healthy: raw.healthy.value().map_or(2, |count| count.0),
        unhealthy: raw.unhealthy.value().map_or(HealthCheck::UNHEALTHY, |count| count.0),
        start_timeout: raw.start_timeout.value().map_or(Millis::from_secs(60), |length| length.0),
    }
}

/// `key`: where the check is given, if it is.
fn kind(raw: &raw::Health, key: Option<Span>, draft: &Draft, sink: &mut Sink) -> HealthKind {
    let asked = match raw.r#type.value() {
        Some(asked) => *asked,
        None if !raw.path.is_absent() => HealthType::Http,
        None if !raw.command.is_absent() => HealthType::Command,
        None if draft.routed => HealthType::Http,
        None => {
            if let Some(key) = key.filter(|_| raw.r#type.is_absent()) {
                let reason =
                    format!("this does not say what to ask `{}`, which gets no requests", draft.name);
                sink.error_hint(key, reason, "give `command`, or `type: http` with a `path`, or `type: tcp`");
            }
            HealthType::None
        }
    };
    misfits(raw, asked, key, sink);
    match asked {
        HealthType::Http => {
            let path = raw.path.value().map_or("/", |path| path.0.as_str());
            HealthKind::Http { path: path.to_owned() }
        }
        HealthType::Tcp => HealthKind::Tcp,
        HealthType::Command => {
            HealthKind::Command { command: raw.command.value().map(|c| c.0.clone()).unwrap_or_default() }
        }
        HealthType::None => HealthKind::None,
    }
}

fn misfits(raw: &raw::Health, asked: HealthType, key: Option<Span>, sink: &mut Sink) {
    let word = asked.word();
    if let Some(path) = raw.path.key().filter(|_| asked != HealthType::Http) {
        sink.error_hint(
            path,
            format!("`path` means nothing with `type: {word}`"),
            "it goes with `type: http`",
        );
    }
    match (raw.command.key(), key) {
        (Some(command), _) if asked != HealthType::Command => {
            let hint = "it goes with `type: command`";
            sink.error_hint(command, format!("`command` means nothing with `type: {word}`"), hint);
        }
        (None, Some(key)) if asked == HealthType::Command => {
            sink.error_hint(
                key,
                "`type: command` needs the key `command`",
                "it must exit 0 when the replica can serve",
            );
        }
        _ => {}
    }
}
