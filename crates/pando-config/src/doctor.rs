//! What would break, or has broken others, once the app runs on a second server.
//!
//! Only what the file gives evidence of: each finding points at it and says
//! what to do instead. None of them forbids anything.

mod command;
mod dockerfile;
mod variable;

use pando_model::app::{ReplicaCount, VolumeSpec};
use pando_model::{AppSpec, HealthKind, ProcessName, ProcessSpec};

use crate::diagnostic::{Problems, Sink, quoted};
use crate::raw::Settings;
use crate::source::Span;

pub(crate) fn examine(
    settings: &Settings,
    spec: &AppSpec,
    dockerfile: Option<&str>,
    mut sink: Sink,
) -> Problems {
    variable::environment(settings, spec, &mut sink);
    services(settings, &mut sink);
    volumes(settings, &mut sink);
    declared(settings, spec, dockerfile, &mut sink);
    processes(settings, spec, &mut sink);
    sink.into_problems()
}

fn services(settings: &Settings, sink: &mut Sink) {
    for (name, service) in
        settings.services.value().map(|services| services.entries.as_slice()).unwrap_or_default()
    {
        let Some(url) = service.value.url.get() else { continue };
        let text = url.value.0.value.value().map(|text| text.0.to_ascii_lowercase()).unwrap_or_default();
        if let Some(host) = own_machine(&text) {
            let reason = format!(
                "the URL of `{}` names {}, which is another machine on each server",
                name.value,
                quoted(host)
            );
            sink.warn(
                url.span,
                reason,
                "write `{host}` there: it becomes the private address of the server that runs it",
            );
        }
    }
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

fn volumes(settings: &Settings, sink: &mut Sink) {
    for volume in settings.volumes.value().map(|list| list.0.as_slice()).unwrap_or_default() {
        let reason = format!("the volume {} is another one on each server", quoted(&volume.value.0.source));
        let hint = "keep what it holds in object storage or a database, or tie its process to one server with `servers: [NAME]`";
        sink.warn(volume.span, reason, hint);
    }
}

/// What the Dockerfile declares as volumes, and nobody mounts.
fn declared(settings: &Settings, spec: &AppSpec, dockerfile: Option<&str>, sink: &mut Sink) {
    let (Some(text), Some(build)) = (dockerfile, settings.build.get()) else { return };
    let target = build.value.target.value().map(|target| target.0.as_str());
    for (path, line) in dockerfile::volumes(text, target) {
        let bare = path.trim_end_matches('/');
        if spec.volumes.iter().all(|volume| volume.target.trim_end_matches('/') != bare) {
            let reason = format!(
                "the Dockerfile declares {} as a volume in line {line}: what is written to it is lost with each restart",
                quoted(bare)
            );
            sink.warn(build.key, reason, format!("name a volume for it: `{}`", VolumeSpec::suggested(bare)));
        }
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
            traffic(settings, name, process, span, sink);
        }
    }
}

fn traffic(settings: &Settings, name: &ProcessName, process: &ProcessSpec, span: Span, sink: &mut Sink) {
    let given = settings.processes.value().map(|processes| processes.entries.as_slice()).unwrap_or_default();
    let own = given.iter().find(|(given, _)| given.value == *name).map(|(_, process)| &process.value);
    if let Some(host) = process.command.as_deref().and_then(command::listens_on) {
        let span = own.and_then(|own| own.command.get()).map_or(span, |command| command.span);
        let reason = format!("`{name}` listens on {}, where no other server reaches it", quoted(host));
        let hint = "let it listen on 0.0.0.0; who may reach it is for the firewall to say";
        sink.warn(span, reason, hint);
    }
    if process.servers.len() == 1 {
        let key = own.and_then(|own| own.servers.key()).or(settings.servers.key());
        let reason = format!("`{name}` may run on one server only: while that is away, nothing answers");
        sink.warn(key.unwrap_or(span), reason, "name a second one, or leave `servers` out");
    }
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
