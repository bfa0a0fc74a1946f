//! One service of a compose file, as a process.

use super::draft::Draft;
use super::variables::{self, From, Variable};
use super::write::Out;
use super::{known, shell};
use crate::decode::Leaf;
use crate::diagnostic::quoted;
use crate::tree::{Entry, Node, Scalar};
use crate::value::{ContainerUser, Count, Cpu, Duration, Host, Memory, Port, UrlPath, to_label};

type Replicas = Count<0, 1000>;
type StopTimeout = Duration<0, 86_400_000>;
type Interval = Duration<100, 3_600_000>;
type CheckTimeout = Duration<10, 600_000>;
type StartTimeout = Duration<100, 86_400_000>;

#[derive(Debug)]
pub(super) struct Process {
    /// A DNS label.
    pub(super) name: String,
    /// What the compose file calls it.
    pub(super) service: String,
    /// Without `env`.
    pub(super) keys: Vec<(String, Out)>,
    pub(super) env: Vec<Variable>,
    /// As they are written; not all are volumes here.
    pub(super) volumes: Vec<String>,
    pub(super) domains: Vec<String>,
}

pub(super) fn process(name: &str, service: &Node, draft: &mut Draft) -> Process {
    let label = to_label(name);
    let label = if label.is_empty() { "process".to_owned() } else { label };
    if label != name {
        draft.note(format!("`services`: {} is called `{label}`, since names are DNS labels", quoted(name)));
    }
    let at = format!("services.{label}");
    let mut process = Process {
        name: label,
        service: name.to_owned(),
        keys: Vec::new(),
        env: Vec::new(),
        volumes: Vec::new(),
        domains: Vec::new(),
    };
    command(service, &at, &mut process, draft);
    for entry in service.entries().unwrap_or_default() {
        key(entry, &at, &mut process, draft);
    }
    if known::is_clock(&process.name) && process.keys.iter().all(|(key, _)| key != "replicas") {
        process.keys.push(("singleton".to_owned(), Out::Raw("true".to_owned())));
    }
    process
}

fn command(service: &Node, at: &str, process: &mut Process, draft: &mut Draft) {
    let parts: Vec<String> = ["entrypoint", "command"]
        .iter()
        .filter_map(|key| service.get(key))
        .filter_map(shell::command_line)
        .collect();
    if parts.is_empty() {
        return;
    }
    if service.get("entrypoint").is_some() {
        draft.note(format!("`{at}.entrypoint`: the image's own stays in front of `command`, if it has one"));
    }
    let line = parts.join(" ");
    if let Some(port) = shell::fixed_port(&line) {
        draft.note(format!("`{at}.command`: it listens on port {port}; `port` says so to Pando"));
    }
    process.keys.push(("command".to_owned(), Out::text(line)));
}

fn key(entry: &Entry, at: &str, process: &mut Process, draft: &mut Draft) {
    let node = &entry.value;
    match entry.key.as_str() {
        "image" | "build" | "command" | "entrypoint" | "container_name" | "hostname" | "restart" | "init"
        | "depends_on" | "profiles" => {}
        "environment" => process.env = environment(node, draft),
        "ports" | "expose" => ports(node, at, process, draft),
        "volumes" => volumes(node, process),
        "deploy" => deploy(node, at, process, draft),
        "scale" => set::<Replicas>("replicas", node, at, process, draft),
        "healthcheck" => healthcheck(node, at, process, draft),
        "stop_grace_period" => set::<StopTimeout>("stop_timeout", node, at, process, draft),
        "mem_limit" => memory(node, at, process, draft),
        "cpus" => cpus(node, at, process, draft),
        "labels" => process.domains.extend(traefik_domains(node)),
        "env_file" => {
            draft.note(format!("`{at}.env_file`: write its variables below `env`, or set them as secrets"))
        }
        "user" => set::<ContainerUser>("user", node, at, process, draft),
        "pids_limit" => pids(node, at, process, draft),
        "working_dir" | "stop_signal" | "tmpfs" | "cap_add" | "cap_drop" | "privileged" => draft.note(format!(
            "`{at}.{}`: containers are made as the image says; write it in the Dockerfile if it can be said there",
            entry.key
        )),
        "extra_hosts" | "dns" => draft.note(format!("`{at}.{}`: names are resolved as on the server", entry.key)),
        "logging" => draft.note(format!("`{at}.logging`: Pando keeps the output of each replica: `pando logs`")),
        "networks" | "links" => draft.note(format!("`{at}.{}`: addresses come from `services`", entry.key)),
        "secrets" => {
            draft.note(format!("`{at}.secrets`: set them with `pando secret set`, and use them in `env`"))
        }
        other => {
            let shown = quoted(other);
            draft.note(format!("`{at}`: Pando has no key {shown}"));
        }
    }
}

fn set<T: Leaf>(key: &str, node: &Node, at: &str, process: &mut Process, draft: &mut Draft) {
    if let Some(value) = draft.checked::<T>(&format!("{at}.{key}"), node) {
        process.keys.retain(|(given, _)| given != key);
        process.keys.push((key.to_owned(), value));
    }
}

fn environment(node: &Node, draft: &mut Draft) -> Vec<Variable> {
    let mut found = Vec::new();
    for (name, value) in variables::pairs(node) {
        if !variables::usable(&name, draft) {
            continue;
        }
        let value = match value {
            Some(value) => variables::value(&name, &value, draft),
            None => Some(From::Secret),
        };
        found.extend(value.map(|value| Variable { name, value }));
    }
    found
}

/// The port in the container: what comes last of `127.0.0.1:8080:80/tcp`.
fn ports(node: &Node, at: &str, process: &mut Process, draft: &mut Draft) {
    let target = |item: &Node| match item.scalar() {
        Some(scalar) => {
            let typed = scalar.text.split('/').next().unwrap_or_default();
            Some(typed.rsplit(':').next().unwrap_or(typed).to_owned())
        }
        None => item.get("target").and_then(Node::scalar).map(|scalar| scalar.text.clone()),
    };
    let mut ports: Vec<String> = node.items().unwrap_or_default().iter().filter_map(target).collect();
    ports.dedup();
    if process.keys.iter().any(|(key, _)| key == "port") {
        return;
    }
    let Some(first) = ports.first() else { return };
    if ports.len() > 1 {
        draft.note(format!("`{at}.ports`: a process has one port; {} is kept", quoted(first)));
    }
    if Port::parse(&Scalar::text(first)).is_ok() {
        process.keys.push(("port".to_owned(), Out::Raw(first.clone())));
    } else {
        draft.note(format!("`{at}.ports`: {} is not a port", quoted(first)));
    }
}

fn volumes(node: &Node, process: &mut Process) {
    for item in node.items().unwrap_or_default() {
        let typed = match item.scalar() {
            Some(scalar) => scalar.text.clone(),
            None => {
                let of = |key: &str| item.get(key).and_then(Node::scalar).map(|scalar| scalar.text.as_str());
                let is_read_only = item.get("read_only").and_then(Node::scalar).and_then(Scalar::as_bool);
                let end = if is_read_only == Some(true) { ":ro" } else { "" };
                format!("{}:{}{end}", of("source").unwrap_or_default(), of("target").unwrap_or_default())
            }
        };
        if !process.volumes.contains(&typed) {
            process.volumes.push(typed);
        }
    }
}

fn deploy(node: &Node, at: &str, process: &mut Process, draft: &mut Draft) {
    for entry in node.entries().unwrap_or_default() {
        match entry.key.as_str() {
            "replicas" => set::<Replicas>("replicas", &entry.value, at, process, draft),
            "mode" => {}
            "resources" => {
                let limits = entry.value.get("limits");
                if let Some(node) = limits.and_then(|limits| limits.get("memory")) {
                    memory(node, at, process, draft);
                }
                if let Some(node) = limits.and_then(|limits| limits.get("cpus")) {
                    cpus(node, at, process, draft);
                }
                if let Some(node) = limits.and_then(|limits| limits.get("pids")) {
                    pids(node, at, process, draft);
                }
            }
            other => draft.note(format!(
                "`{at}.deploy`: Pando has no key {}; it rolls one replica at a time",
                quoted(other)
            )),
        }
    }
}

/// Compose's `512m` and `512M` are powers of two.
fn memory(node: &Node, at: &str, process: &mut Process, draft: &mut Draft) {
    let typed = node.scalar().map(|scalar| scalar.text.to_ascii_lowercase()).unwrap_or_default();
    let bare = typed.strip_suffix('b').unwrap_or(&typed);
    let binary = match bare.strip_suffix(['k', 'm', 'g']) {
        Some(number) => format!("{number}{}iB", bare[number.len()..].to_ascii_uppercase()),
        None => bare.to_owned(),
    };
    if let Some(value) = draft.checked_text::<Memory>(&format!("{at}.memory"), &binary) {
        resource("memory", value, process);
    }
}

fn cpus(node: &Node, at: &str, process: &mut Process, draft: &mut Draft) {
    let typed = node.scalar().map(|scalar| scalar.text.clone()).unwrap_or_default();
    if draft.checked_text::<Cpu>(&format!("{at}.cpus"), &typed).is_some() {
        resource("cpu", Out::Raw(typed), process);
    }
}

fn pids(node: &Node, at: &str, process: &mut Process, draft: &mut Draft) {
    if let Some(value) = draft.checked::<Count<1, 4_194_304>>(&format!("{at}.pids"), node) {
        resource("pids", value, process);
    }
}

fn resource(key: &str, value: Out, process: &mut Process) {
    let index = process.keys.iter().position(|(given, _)| given == "resources").unwrap_or_else(|| {
        process.keys.push(("resources".to_owned(), Out::Map(Vec::new())));
        process.keys.len() - 1
    });
    if let (_, Out::Map(pairs)) = &mut process.keys[index] {
        pairs.retain(|(given, _)| given != key);
        pairs.push((key.to_owned(), value));
    }
}

fn healthcheck(node: &Node, at: &str, process: &mut Process, draft: &mut Draft) {
    let off = node.get("disable").and_then(Node::scalar).and_then(Scalar::as_bool).unwrap_or(false);
    let mut keys = match node.get("test").filter(|_| !off).and_then(test_line) {
        Some(line) => match shell::checked_path(&line)
            .filter(|path| UrlPath::parse(&Scalar::text(path.clone())).is_ok())
        {
            Some(path) => vec![("path".to_owned(), Out::text(path))],
            None => vec![("type".to_owned(), Out::text("command")), ("command".to_owned(), Out::text(line))],
        },
        None => vec![("type".to_owned(), Out::text("none"))],
    };
    let shown = format!("{at}.healthcheck");
    if let Some(value) = node.get("interval").and_then(|node| draft.checked::<Interval>(&shown, node)) {
        keys.push(("interval".to_owned(), value));
    }
    if let Some(value) = node.get("timeout").and_then(|node| draft.checked::<CheckTimeout>(&shown, node)) {
        keys.push(("timeout".to_owned(), value));
    }
    if let Some(value) = node.get("retries").and_then(|node| draft.checked::<Count<1, 100>>(&shown, node)) {
        keys.push(("unhealthy".to_owned(), value));
    }
    if let Some(value) = node.get("start_period").and_then(|node| draft.checked::<StartTimeout>(&shown, node))
    {
        keys.push(("start_timeout".to_owned(), value));
    }
    process.keys.push(("health".to_owned(), Out::Map(keys)));
}

/// `["CMD", …]` and `["CMD-SHELL", line]` as a line; `NONE` is none.
fn test_line(node: &Node) -> Option<String> {
    let Some(items) = node.items() else { return shell::command_line(node) };
    let (first, rest) = items.split_first()?;
    match first.scalar()?.text.as_str() {
        "CMD-SHELL" => shell::command_line(rest.first()?),
        "CMD" => {
            shell::command_line(&Node { span: node.span, value: crate::tree::Value::List(rest.to_vec()) })
        }
        _ => None,
    }
}

/// What a label such as ``traefik.http.routers.app.rule=Host(`a.example`)`` says.
fn traefik_domains(node: &Node) -> Vec<String> {
    let mut domains = Vec::new();
    for (key, value) in variables::pairs(node) {
        let Some(rule) = value.filter(|_| key.starts_with("traefik.") && key.ends_with(".rule")) else {
            continue;
        };
        for host in rule.split("Host(").skip(1).filter_map(|rest| rest.split(')').next()) {
            let names = host.split(',').map(|name| name.trim().trim_matches(['`', '"', '\'']).to_lowercase());
            domains.extend(names.filter(|name| Host::parse(&Scalar::text(name.clone())).is_ok()));
        }
    }
    domains.sort();
    domains.dedup();
    domains
}
