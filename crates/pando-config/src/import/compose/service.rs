//! One service of a compose file, as a process.

use super::keys::Keys;
use super::labels::Rule;
use super::{Project, command, environment, health, labels, left_out, ports, resources};
use crate::decode::Leaf;
use crate::diagnostic::quoted;
use crate::import::draft::{Draft, plain};
use crate::import::known;
use crate::import::mounts::Mount;
use crate::import::variables::Variable;
use crate::import::write::Out;
use crate::tree::{Entry, Node};
use crate::value::{ContainerUser, Count, Duration, to_label};

type StopTimeout = Duration<0, 86_400_000>;

#[derive(Debug)]
pub(super) struct Process {
    /// A DNS label.
    pub(super) name: String,
    /// What the compose file calls it.
    pub(super) service: String,
    /// Without `env`.
    pub(super) keys: Vec<(String, Out)>,
    pub(super) env: Vec<Variable>,
    pub(super) mounts: Vec<Mount>,
    pub(super) rules: Vec<Rule>,
    /// Where visitors came in, if that was elsewhere than they do now.
    pub(super) published: Option<String>,
}

impl Process {
    fn new(service: &str) -> Self {
        let name = to_label(service);
        Self {
            name: if name.is_empty() { "process".to_owned() } else { name },
            service: service.to_owned(),
            keys: Vec::new(),
            env: Vec::new(),
            mounts: Vec::new(),
            rules: Vec::new(),
            published: None,
        }
    }

    /// Sets `key` to what the file has as `from`, unless that does not fit, which is noted.
    pub(super) fn set<T: Leaf>(&mut self, key: &str, from: &str, node: &Node, draft: &mut Draft) {
        if let Some(value) = draft.checked::<T>(&format!("services.{}.{from}", self.service), node) {
            self.keys.retain(|(given, _)| given != key);
            self.keys.push((key.to_owned(), value));
        }
    }
}

pub(super) fn process(name: &str, service: &Node, project: &Project<'_>, draft: &mut Draft) -> Process {
    let mut process = Process::new(name);
    if process.name != name {
        draft.note(format!(
            "`services`: {} is called `{}`, since names are DNS labels",
            quoted(name),
            process.name
        ));
    }
    command::carry_over(service, &mut process, draft);
    process.env = environment::variables(name, service, project, draft);
    let asked = service.get("labels").and_then(labels::port);
    let asked = asked.or_else(|| environment::port(service, project));
    ports::carry_over(service, asked, &mut process, draft);
    process.rules.extend(environment::rule(&process.env));
    for entry in service.entries().unwrap_or_default() {
        key(entry, &mut process, draft);
    }
    if known::is_clock(&process.name)
        && process.keys.iter().all(|(key, _)| key != "replicas" && key != "per_server")
    {
        process.keys.push(("singleton".to_owned(), Out::Raw("true".to_owned())));
    }
    process
}

fn key(entry: &Entry, process: &mut Process, draft: &mut Draft) {
    let node = &entry.value;
    if node.is_null() {
        return;
    }
    match entry.key.as_str() {
        // Carried over as a whole, or by others.
        "image" | "build" | "command" | "entrypoint" | "environment" | "env_file" | "ports" | "expose"
        | "depends_on" | "extends" | "pull_policy" => {}
        "profiles" if node.items().is_some_and(<[Node]>::is_empty) => {}
        "profiles" => {
            draft.left_out("profiles", &process.service, "it was asked for, and starts with the app")
        }
        "volumes" => mounts(node, process, draft),
        "deploy" => resources::deploy(node, process, draft),
        "scale" => process.set::<Count<0, 1000>>("replicas", "scale", node, draft),
        "healthcheck" => health::carry_over(node, process, draft),
        "stop_grace_period" => process.set::<StopTimeout>("stop_timeout", "stop_grace_period", node, draft),
        "mem_limit" => resources::memory(node, process, draft),
        "cpus" => resources::cpus(node, process, draft),
        "pids_limit" => resources::pids(node, process, draft),
        "labels" => labels::carry_over(node, process, draft),
        "user" => process.set::<ContainerUser>("user", "user", node, draft),
        other => left_out::tell(other, node, &process.service, draft),
    }
}

fn mounts(node: &Node, process: &mut Process, draft: &mut Draft) {
    for item in node.items().unwrap_or_default() {
        let typed = match item.scalar() {
            Some(scalar) => Some(scalar.text.clone()),
            None => long_mount(item, process, draft),
        };
        if let Some(text) = typed {
            process.mounts.push(Mount { text, of: process.service.clone() });
        }
    }
}

/// `{type: …, source: …, target: …}` in one line; what has no place in it is noted.
fn long_mount(item: &Node, process: &Process, draft: &mut Draft) -> Option<String> {
    let mut keys = Keys::of_map(item, "volumes: an item", &process.service, draft);
    item.entries()?;
    let target = keys.text("target").unwrap_or_default();
    let (kind, source) = (keys.text("type").unwrap_or("volume"), keys.text("source"));
    let read_only = keys.flag("read_only") == Some(true);
    if !matches!(kind, "volume" | "bind") {
        let key = format!("volumes: {} ({})", plain(target), plain(kind));
        draft.left_out(&key, &process.service, "only volumes and directories of the server are mounted");
        return None;
    }
    // What it says is for other systems than Linux.
    keys.take("consistency");
    for (key, value) in keys.others().flat_map(named_parts) {
        let key = format!("volumes: {}.{}{value}", plain(target), plain(&key));
        draft.left_out(&key, &process.service, "it is mounted without");
    }
    let end = if read_only { ":ro" } else { "" };
    Some(match source {
        Some(source) => format!("{source}:{target}{end}"),
        None => target.to_owned(),
    })
}

/// A key with what it says, or each key below it.
fn named_parts(entry: &Entry) -> Vec<(String, String)> {
    let said =
        |node: &Node| node.scalar().map(|scalar| format!(": {}", plain(&scalar.text))).unwrap_or_default();
    match entry.value.entries() {
        Some(below) => {
            below.iter().map(|below| (format!("{}.{}", entry.key, below.key), said(&below.value))).collect()
        }
        None => vec![(entry.key.clone(), said(&entry.value))],
    }
}
