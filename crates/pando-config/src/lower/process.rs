//! The processes: named by the file, by its Procfile, or the one that the root describes.

use std::collections::{BTreeMap, BTreeSet};

use pando_model::app::{MIN_READY_UNASKED, OrderError};
use pando_model::{AppSpec, HealthCheck, Millis, ProcessName, ProcessSpec, Resources, RoleName};

use super::{Surroundings, counts, env, health, placement, routes};
use crate::decode::{At, Field};
use crate::diagnostic::Sink;
use crate::raw::{self, Settings};
use crate::source::Span;
use crate::value::Command;

/// No app has as many; a file that does is not what it seems.
pub(crate) const MOST_PROCESSES: usize = 100;

/// A process of the file, before its values are put together.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) name: ProcessName,
    /// Where it is named.
    pub(crate) span: Span,
    pub(crate) process: raw::Process,
    /// Whether it gets requests: `web`, and what a route names.
    pub(crate) routed: bool,
    /// Whether the root's keys that are for processes with requests are for it.
    pub(crate) described_by_root: bool,
    /// The file has no other process.
    pub(crate) alone: bool,
}

/// Whether `drafts` are all the processes that the file means, so that a name which is not theirs is wrong.
pub(super) fn all_known(settings: &Settings, drafts: &[Draft]) -> bool {
    !drafts.is_empty() && settings.processes.value().is_none_or(|processes| !processes.incomplete)
}

/// Empty when there is nothing to run or it can't be known, which is reported.
pub(super) fn drafts(settings: &Settings, around: &Surroundings<'_>, sink: &mut Sink) -> Vec<Draft> {
    let named = named(settings, around, sink);
    if let Some((_, span, _)) = named.get(MOST_PROCESSES) {
        sink.error(*span, format!("there are more than {MOST_PROCESSES} processes"));
        return Vec::new();
    }
    let in_routes = routed_names(settings);
    let alone = named.len() == 1;
    let draft = |(name, span, process): (ProcessName, Span, raw::Process)| {
        let routed = name.as_str() == "web" || in_routes.contains(&name);
        Draft { name, span, process, routed, described_by_root: routed || alone, alone }
    };
    named.into_iter().map(draft).collect()
}

fn named(
    settings: &Settings,
    around: &Surroundings<'_>,
    sink: &mut Sink,
) -> Vec<(ProcessName, Span, raw::Process)> {
    match &settings.processes {
        Field::Wrong(_) => Vec::new(),
        Field::Given(given) => {
            if given.value.entries.is_empty() && !given.value.incomplete {
                sink.error_hint(given.span, "there is no process here", "name one: `web: {command: …}`");
            }
            let processes = given.value.entries.iter();
            processes.map(|(name, at)| (name.value.clone(), name.span, at.value.clone())).collect()
        }
        Field::Absent => match settings.source.get() {
            Some(source) => from_procfile(source.span, source.key, around, sink),
            None => vec![(ProcessName::web(), Span::default(), raw::Process::default())],
        },
    }
}

fn from_procfile(
    span: Span,
    key: Span,
    around: &Surroundings<'_>,
    sink: &mut Sink,
) -> Vec<(ProcessName, Span, raw::Process)> {
    let Some(procfile) = &around.procfile else {
        let hint = "add `processes: {web: {command: …}}`, or a Procfile beside this file";
        sink.error_hint(key, "the file does not say how to start it", hint);
        return Vec::new();
    };
    sink.absorb(around.procfile_problems());
    let process = |command: &String| raw::Process {
        command: Field::Given(At::new(span, Command(command.clone()))),
        ..raw::Process::default()
    };
    procfile.processes.iter().map(|(name, command)| (name.clone(), span, process(command))).collect()
}

fn routed_names(settings: &Settings) -> BTreeSet<ProcessName> {
    let list = settings.routes.value().map(|list| list.0.as_slice()).unwrap_or_default();
    list.iter().flat_map(|route| routes::named(&route.value)).map(|(_, name)| name.clone()).collect()
}

/// `plain`: they run as plain processes, so each needs a command and none has a port of its own.
pub(super) fn processes(
    settings: &Settings,
    drafts: &[Draft],
    plain: bool,
    sink: &mut Sink,
) -> BTreeMap<ProcessName, ProcessSpec> {
    counts::check_root(settings, drafts, plain, sink);
    placement::check_root(settings, drafts, sink);
    drafts.iter().map(|draft| (draft.name.clone(), process(settings, draft, plain, sink))).collect()
}

fn process(settings: &Settings, draft: &Draft, plain: bool, sink: &mut Sink) -> ProcessSpec {
    let own = &draft.process;
    if plain && own.command.is_absent() {
        let hint = "give it one: `command: bin/server`; each replica is told its port in `PORT`";
        sink.error_hint(draft.span, format!("the process `{}` has no command", draft.name), hint);
    }
    let stop_timeout = own.stop_timeout.value().or(settings.stop_timeout.value());
    let health = health::check(settings, draft, plain, sink);
    ProcessSpec {
        min_ready: min_ready(settings, &health),
        command: own.command.value().map(|command| command.0.clone()),
        role: own.role.value().cloned().unwrap_or_else(|| default_role(draft)),
        count: counts::count(settings, draft, sink),
        container_port: if plain { None } else { container_port(settings, draft) },
        health,
        stop_timeout: stop_timeout.map_or(DEFAULT_STOP_TIMEOUT, |length| length.0),
        resources: resources(settings, own),
        singleton: own.singleton.value().is_some_and(|flag| flag.0),
        env: env::variables(&own.env, settings, sink),
        servers: placement::servers(settings, draft),
        labels: placement::labels(settings, draft),
        depends_on: own.depends_on.value().map(|names| names.0.clone()).unwrap_or_default(),
        user: user(own, plain, sink),
    }
}

/// What the file says holds for all; `None`: as the app has it.
fn min_ready(settings: &Settings, health: &HealthCheck) -> Option<Millis> {
    let unsaid = settings.min_ready_seconds.is_absent();
    (unsaid && health.kind.may_ask_nothing()).then_some(MIN_READY_UNASKED)
}

fn user(own: &raw::Process, plain: bool, sink: &mut Sink) -> Option<String> {
    let given = own.user.get()?;
    if plain {
        let hint = "plain processes run as a user that Pando makes for the app";
        sink.error_hint(given.key, "`user` is for containers", hint);
    }
    Some(given.value.0.clone())
}

/// There must be an order to start the processes in.
pub(super) fn check_order(spec: &AppSpec, drafts: &[Draft], sink: &mut Sink) {
    let Err(error) = spec.start_order() else { return };
    let of = |draft: &&Draft| error.process() == Some(&draft.name);
    let Some(key) = drafts.iter().find(of).and_then(|draft| draft.process.depends_on.get()) else { return };
    let hint = match &error {
        OrderError::Unknown { .. } => {
            "it may name processes of this file; databases and caches are `services`"
        }
        OrderError::Ring(_) => "remove one of them",
    };
    sink.error_hint(key.span, error.to_string(), hint);
}

const DEFAULT_STOP_TIMEOUT: Millis = Millis::from_secs(30);
const DEFAULT_PORT: u16 = 8080;

fn default_role(draft: &Draft) -> RoleName {
    if draft.routed {
        return RoleName::web();
    }
    // "worker" is a DNS label, so this never falls back.
    RoleName::new("worker").unwrap_or_else(|_| RoleName::web())
}

fn container_port(settings: &Settings, draft: &Draft) -> Option<u16> {
    let root = draft.described_by_root.then(|| settings.port.value()).flatten();
    let default = draft.routed.then_some(DEFAULT_PORT);
    draft.process.port.value().or(root).map(|port| port.0).or(default)
}

/// A process's own keys win one by one.
fn resources(settings: &Settings, own: &raw::Process) -> Resources {
    let both = [own.resources.value(), settings.resources.value()];
    let first = |find: fn(&raw::Resources) -> Option<u64>| both.into_iter().flatten().find_map(find);
    let cpu = first(|resources| resources.cpu.value().map(|cpu| u64::from(cpu.0)));
    let pids = first(|resources| resources.pids.value().map(|pids| u64::from(pids.0)));
    Resources {
        cpu_millis: cpu.and_then(|cpu| u32::try_from(cpu).ok()),
        memory_bytes: first(|resources| resources.memory.value().map(|memory| memory.0)),
        pids: pids.and_then(|pids| u32::try_from(pids).ok()),
    }
}
