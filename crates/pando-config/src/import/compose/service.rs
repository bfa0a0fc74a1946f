//! One service of a compose file, as a process.

use super::labels::Rule;
use super::{Project, command, environment, health, labels, left_out, ports, resources};
use crate::decode::Leaf;
use crate::diagnostic::quoted;
use crate::import::draft::{Draft, plain};
use crate::import::known;
use crate::import::mounts::Mount;
use crate::import::variables::Variable;
use crate::import::write::Out;
use crate::tree::{Entry, Node, Scalar};
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
        | "depends_on" | "profiles" | "extends" | "pull_policy" => {}
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
    let of = |key: &str| item.get(key).and_then(Node::scalar).map(|scalar| scalar.text.as_str());
    let target = of("target").unwrap_or_default();
    let kind = of("type").unwrap_or("volume");
    if !matches!(kind, "volume" | "bind") {
        let key = format!("volumes: {} ({kind})", plain(target));
        draft.left_out(&key, &process.service, "only volumes and directories of the server are mounted");
        return None;
    }
    for entry in item.entries().unwrap_or_default() {
        if !["type", "source", "target", "read_only", "consistency"].contains(&entry.key.as_str()) {
            let key = format!("volumes: {}.{}", plain(target), plain(&entry.key));
            draft.left_out(&key, &process.service, "it is mounted without");
        }
    }
    let is_read_only = item.get("read_only").and_then(Node::scalar).and_then(Scalar::as_bool);
    let end = if is_read_only == Some(true) { ":ro" } else { "" };
    Some(match of("source") {
        Some(source) => format!("{source}:{target}{end}"),
        None => target.to_owned(),
    })
}
