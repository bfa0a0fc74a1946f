//! Shorthands written out, and keys of one map that exclude each other found,
//! before a target is merged over the root.

use crate::decode::{At, Field};
use crate::diagnostic::Sink;
use crate::raw::{Health, HealthType, Settings};
use crate::source::Span;
use crate::value::UrlPath;

/// After it, no `health_check_path` is left, and of each group of keys that exclude each other one is given.
pub(crate) fn normalise(settings: &mut Settings, sink: &mut Sink) {
    let runs =
        [("source", settings.source.key()), ("image", settings.image.key()), ("build", settings.build.key())];
    only_one(&runs, "an app is run from exactly one of `source`, `image` and `build`", sink);
    let places = [("cluster", settings.cluster.key()), ("server", settings.server.key())];
    only_one(&places, "a target is a cluster by name (`cluster`) or by its address (`server`)", sink);
    counts(settings.replicas.key(), settings.per_server.key(), sink);
    health(&mut settings.health, &mut settings.health_check_path, sink);
    if let Field::Given(processes) = &mut settings.processes {
        for (_, process) in &mut processes.value.entries {
            counts(process.value.replicas.key(), process.value.per_server.key(), sink);
            health(&mut process.value.health, &mut process.value.health_check_path, sink);
        }
    }
}

fn counts(replicas: Option<Span>, per_server: Option<Span>, sink: &mut Sink) {
    let hint = "`replicas` is a count in all, `per_server` one on each server";
    only_one(&[("replicas", replicas), ("per_server", per_server)], hint, sink);
}

fn only_one(keys: &[(&str, Option<Span>)], hint: &str, sink: &mut Sink) {
    let mut given: Vec<(Span, &str)> = keys.iter().filter_map(|(name, key)| Some(((*key)?, *name))).collect();
    given.sort_unstable();
    if let [(_, first), rest @ ..] = &given[..] {
        for (span, name) in rest {
            sink.error_hint(*span, format!("`{name}` can't be given together with `{first}`"), hint);
        }
    }
}

/// `health_check_path` becomes the `health` that it is short for.
fn health(health: &mut Field<Health>, shorthand: &mut Field<UrlPath>, sink: &mut Sink) {
    let hint = "`health_check_path` is short for `health: {type: http, path: …}`; keep one";
    only_one(&[("health", health.key()), ("health_check_path", shorthand.key())], hint, sink);
    let short = std::mem::take(shorthand);
    if !health.is_absent() {
        return;
    }
    *health = match short {
        Field::Absent => Field::Absent,
        Field::Wrong(key) => Field::Wrong(key),
        Field::Given(path) => {
            let (key, span) = (path.key, path.span);
            let r#type = Field::Given(At { key, span, value: HealthType::Http });
            let value = Health { r#type, path: Field::Given(path), ..Health::default() };
            Field::Given(At { key, span, value })
        }
    };
}
