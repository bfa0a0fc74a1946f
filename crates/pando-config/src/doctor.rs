//! What would break, or has broken others, once the app runs on a second server.
//!
//! Only what the file gives evidence of: each finding points at it and says
//! what to do instead. None of them forbids anything.

use pando_model::app::ReplicaCount;
use pando_model::{AppSpec, HealthKind, ProcessSpec};

use crate::diagnostic::{Problems, Sink, quoted};
use crate::raw::{EnvList, Settings};
use crate::source::Span;

pub(crate) fn examine(settings: &Settings, spec: &AppSpec, mut sink: Sink) -> Problems {
    environment(settings, spec, &mut sink);
    volumes(settings, &mut sink);
    processes(settings, spec, &mut sink);
    sink.into_problems()
}

fn environment(settings: &Settings, spec: &AppSpec, sink: &mut Sink) {
    let processes =
        settings.processes.value().map(|processes| processes.entries.as_slice()).unwrap_or_default();
    let own = processes.iter().map(|(_, process)| &process.value.env);
    for list in std::iter::once(&settings.env).chain(own) {
        for entry in list.value().map(EnvList::entries).unwrap_or_default() {
            let (Some(name), Some(value)) = (entry.value.name.get(), entry.value.value.value()) else {
                continue;
            };
            variable(name.span, &name.value.0, &value.0, spec, sink);
        }
    }
}

/// Points at the name: the value may hold a password.
fn variable(span: Span, name: &str, value: &str, spec: &AppSpec, sink: &mut Sink) {
    let lower = value.to_ascii_lowercase();
    if is_file_database(&lower) {
        let reason = format!("`{name}` is a database in a file, which only one server has");
        return sink.warn(
            span,
            reason,
            "use a database server that every server reaches, such as PostgreSQL",
        );
    }
    if let Some(host) = own_machine(&lower) {
        let reason = format!("`{name}` names {}, which is another machine on each server", quoted(host));
        let hint = if is_session_or_cache(name) {
            "use the private address of one server for all, or sessions and caches differ from server to server"
        } else {
            "use the private address of the server that runs it"
        };
        return sink.warn(span, reason, hint);
    }
    if keeps_files(name, &lower) {
        let reason = format!("`{name}` keeps files on the disk of one server");
        return sink.warn(span, reason, "keep uploads in object storage, such as S3");
    }
    if keeps_sessions(name, &lower) && spec.processes.values().any(may_be_several) {
        let reason = format!("`{name}` keeps sessions on one server: on another, visitors are signed out");
        sink.warn(span, reason, "keep sessions in a database, in Redis or in cookies");
    }
}

fn is_file_database(value: &str) -> bool {
    let path = value.split(['?', '#']).next().unwrap_or(value);
    value.starts_with("sqlite:")
        || value.starts_with("sqlite3:")
        || value.starts_with("file:")
        || [".sqlite", ".sqlite3", ".db"]
            .iter()
            .any(|end| path.ends_with(end) && !path.contains(char::is_whitespace))
        || value == "sqlite"
        || value == "sqlite3"
}

/// The part of `value` that means "this machine": as the host of a URL or an address, or alone.
fn own_machine(value: &str) -> Option<&str> {
    const NAMES: [&str; 5] = ["localhost", "127.0.0.1", "[::1]", "::1", "host.docker.internal"];
    let after_scheme = value.split_once("://").map_or(value, |(_, rest)| rest);
    let authority = after_scheme.split(['/', '?', '#', ' ', ',']).next().unwrap_or("");
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let fits = |name: &&str| {
        host.strip_prefix(*name).is_some_and(|rest| rest.is_empty() || rest.starts_with(':'))
            && !host.is_empty()
    };
    let found = NAMES.iter().find(|name| fits(name));
    let keyword = || {
        let words = value.split([' ', ';']);
        words.filter_map(|word| word.split_once('=')).find_map(|(key, host)| {
            matches!(key, "host" | "hostaddr" | "server")
                .then(|| NAMES.iter().find(|name| **name == host))
                .flatten()
        })
    };
    found.or_else(keyword).copied()
}

fn is_session_or_cache(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["REDIS", "CACHE", "SESSION", "MEMCACHE"].iter().any(|word| name.contains(word))
}

fn keeps_files(name: &str, value: &str) -> bool {
    let disk =
        matches!(name, "FILESYSTEM_DISK" | "FILESYSTEM_DRIVER" | "ACTIVE_STORAGE_SERVICE" | "STORAGE_DRIVER");
    disk && matches!(value, "local" | "public" | "disk" | "file" | "filesystem")
}

fn keeps_sessions(name: &str, value: &str) -> bool {
    let store = matches!(name, "SESSION_DRIVER" | "SESSION_STORE" | "CACHE_DRIVER" | "CACHE_STORE");
    store && matches!(value, "file" | "memory" | "array" | "local")
}

fn volumes(settings: &Settings, sink: &mut Sink) {
    for volume in settings.volumes.value().map(|list| list.0.as_slice()).unwrap_or_default() {
        let reason = format!("the volume {} is another one on each server", quoted(&volume.value.0.source));
        let hint = "keep what it holds in object storage or a database, or tie its process to one server with `replicas: 1`";
        sink.warn(volume.span, reason, hint);
    }
}

fn processes(settings: &Settings, spec: &AppSpec, sink: &mut Sink) {
    let given = settings.processes.value().map(|processes| processes.entries.as_slice()).unwrap_or_default();
    let place = |name: &str| {
        given.iter().find(|(given, _)| given.value.as_str() == name).map(|(given, _)| given.span)
    };
    let root = settings.name.key().unwrap_or_default();
    let fallback = settings.source.key().or(settings.image.key()).or(settings.build.key()).unwrap_or(root);
    let routed = spec.routed();
    for (name, process) in &spec.processes {
        let span = place(name.as_str()).unwrap_or(fallback);
        if is_clock(name.as_str(), process) && may_be_several(process) {
            let reason = format!("`{name}` runs once on each server, so its jobs would run several times");
            sink.warn(
                span,
                reason,
                format!("give it `singleton: true`: `processes: {{{name}: {{singleton: true}}}}`"),
            );
        }
        if routed.contains(name) {
            traffic(settings, name.as_str(), process, span, sink);
        }
    }
}

fn traffic(settings: &Settings, name: &str, process: &ProcessSpec, span: Span, sink: &mut Sink) {
    if process.health.kind == HealthKind::None {
        let span = settings.health.key().unwrap_or(span);
        let reason = format!("without a health check, `{name}` gets requests before it can serve them");
        sink.warn(span, reason, "give it a path that answers 200 when it can: `health: {path: /health}`");
    }
    if process.count == ReplicaCount::Total(1) && !process.singleton {
        let span = settings.replicas.key().unwrap_or(span);
        let reason = format!("`{name}` has one replica: while that is away, nothing answers");
        sink.warn(span, reason, "with `replicas: 2`, or `per_server: 1` on two servers, another one answers");
    }
}

/// Named or started like a program that starts jobs by the clock.
fn is_clock(name: &str, process: &ProcessSpec) -> bool {
    let command = process.command.as_deref().unwrap_or_default();
    let named = name.split('-').any(|word| matches!(word, "clock" | "cron" | "scheduler" | "beat"));
    let starts = ["clockwork", "schedule:work", "rufus", "crond", "supercronic", "whenever"];
    let celery_beat =
        command.contains("celery") && command.split_whitespace().any(|word| word == "beat" || word == "-B");
    named || celery_beat || starts.iter().any(|start| command.contains(start))
}

fn may_be_several(process: &ProcessSpec) -> bool {
    match process.count {
        ReplicaCount::PerServer(count) => count > 0 && !process.singleton,
        ReplicaCount::Total(count) => count > 1,
    }
}

#[cfg(test)]
mod tests;
