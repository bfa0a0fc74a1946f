//! From a Kamal `deploy.yml`: roles are processes, accessories are services,
//! and its hosts are servers that join a cluster.

use super::draft::Draft;
use super::variables::{self, From, Variable};
use super::write::Out;
use super::{Imported, build, known, shell};
use crate::decode::Leaf;
use crate::diagnostic::{Problems, quoted};
use crate::tree::{Node, Scalar};
use crate::value::{Assets, Cpu, Duration, Host, ImageReference, Memory, Port, UrlPath, to_label};

type StopTimeout = Duration<0, 86_400_000>;
type StartTimeout = Duration<100, 86_400_000>;
type Interval = Duration<100, 3_600_000>;
type CheckTimeout = Duration<10, 600_000>;

/// What ERB is replaced by before the file is read.
const ERB: &str = "erb-was-here";

/// Keys that need no word: they say how Kamal works, not what the app is.
const OF_KAMAL: [&str; 15] = [
    "service",
    "image",
    "servers",
    "env",
    "proxy",
    "builder",
    "accessories",
    "volumes",
    "asset_path",
    "deploy_timeout",
    "drain_timeout",
    "primary_role",
    "minimum_version",
    "registry",
    "stop_timeout",
];

pub(super) fn has_erb(text: &str) -> bool {
    text.contains("<%")
}

/// `text` with each `<% … %>` replaced by a word, and as many lines as before.
pub(super) fn without_erb(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("<%") {
        out.push_str(&rest[..start]);
        let after = &rest[start..];
        let end = after.find("%>").map_or(after.len(), |end| end + 2);
        let (erb, tail) = after.split_at(end);
        if erb.starts_with("<%=") {
            out.push_str(ERB);
        }
        out.extend(erb.chars().filter(|c| *c == '\n'));
        rest = tail;
    }
    out + rest
}

pub(super) fn import(node: &Node, erb: bool, app: &str) -> Result<Imported, Problems> {
    let mut draft = Draft::new("a Kamal deploy.yml");
    if erb {
        draft.note(format!(
            "ERB (`<%= … %>`) is not evaluated; where it stood is `{ERB}`, or the key is left out"
        ));
    }
    draft.name(text_of(node, "service").as_deref(), app);
    set_run(node, &mut draft);
    let port = proxy(node.get("proxy"), &mut draft);
    timeouts(node, &mut draft);
    volumes(node, &mut draft);
    asset_path(node, &mut draft);
    if let Some(env) = env(node.get("env"), &mut draft) {
        draft.set("env", env);
    }
    processes(node, port, &mut draft);
    accessories(node, &mut draft);
    for entry in node.entries().unwrap_or_default() {
        if !OF_KAMAL.contains(&entry.key.as_str()) && !entry.key.starts_with("x-") {
            left_out(&entry.key, &mut draft);
        }
    }
    Ok(draft.finish())
}

fn text_of(node: &Node, key: &str) -> Option<String> {
    node.get(key).and_then(Node::scalar).map(|scalar| scalar.text.clone())
}

fn left_out(key: &str, draft: &mut Draft) {
    let why = match key {
        "ssh" | "sshkit" => "servers join a cluster with `pando server add`; deploys need no SSH",
        "boot" => "a deployment rolls within `max_surge` and `max_unavailable`",
        "readiness_delay" => "`min_ready_seconds` says how long a replica must have been ready",
        "hooks_path" | "secrets_path" | "hooks_output" => {
            "Pando runs nothing on the machine that deploys; `release:` runs once in the cluster before traffic moves"
        }
        "retain_containers" => "`keep_releases` says how many releases stay on the servers",
        "aliases" => "use the shell's",
        "logging" | "labels" => "Pando keeps the output of each replica: `pando logs`",
        "error_pages_path" => "the balancer's pages are its own",
        "allow_empty_roles" | "require_destination" => "each target is named in `targets`",
        _ => return draft.note(format!("Pando has no key {}", quoted(key))),
    };
    draft.note(format!("`{key}`: {why}"));
}

fn set_run(node: &Node, draft: &mut Draft) {
    let image = text_of(node, "image");
    if let Some(builder) = node.get("builder") {
        if let Some(image) = image {
            let image = quoted(&image);
            draft.note(format!("`image`: {image} is built here and sent to the cluster without a registry"));
        }
        let build = build::keys(Some(builder), "builder", draft);
        return draft.set("build", build);
    }
    if let Some(registry) = node.get("registry") {
        let server = text_of(registry, "server").map_or_else(String::new, |server| format!(" ({server})"));
        draft.note(format!(
            "`registry`{server}: write it as `image: {{repository: …, registry: …}}`, and give the cluster its credentials by `pando registry login`"
        ));
    }
    match image.filter(|image| ImageReference::parse(&Scalar::text(image.clone())).is_ok()) {
        Some(image) => draft.set("image", Out::text(image)),
        None => {
            draft.set("image", Out::text("my-org/my-app:latest"));
            draft.note("`image`: the file names none that fits; `my-org/my-app:latest` stands for it");
        }
    }
}

/// Domains and health from `proxy`; its port, which is Kamal's 80 unless it says so.
fn proxy(proxy: Option<&Node>, draft: &mut Draft) -> u16 {
    let mut health = vec![("path".to_owned(), Out::text("/up"))];
    let mut port = 80;
    let mut hosts = Vec::new();
    for entry in proxy.and_then(Node::entries).unwrap_or_default() {
        let value = &entry.value;
        match entry.key.as_str() {
            "host" | "hosts" => hosts.extend(value.items().unwrap_or(std::slice::from_ref(value))),
            "app_port" => {
                let parsed = value.scalar().and_then(|scalar| Port::parse(scalar).ok());
                port = parsed.map_or(80, |port| port.0);
            }
            "healthcheck" => healthcheck(value, &mut health, draft),
            "ssl" | "ssl_redirect" | "forward_headers" => {
                draft.note(format!(
                    "`proxy.{}`: certificates and forwarded headers are the balancer's business",
                    entry.key
                ));
            }
            "path_prefix" | "path_prefixes" | "strip_path_prefix" => {
                draft.note(format!(
                    "`proxy.{}`: write it as `routes: [{{path: …, process: web, strip_prefix: …}}]`",
                    entry.key
                ));
            }
            "response_timeout" => draft.note(
                "`proxy.response_timeout`: write it as `load_balancing: {timeouts: {response: …}}` if the default does not fit",
            ),
            "buffering" => draft.note(
                "`proxy.buffering`: bodies are passed on as they come; `routes: [{path: …, buffering: …}]` holds them back",
            ),
            "logging" => draft.note("`proxy.logging`: the access log is the load balancer's own setting"),
            key => draft.note(format!("`proxy`: Pando has no key {}", quoted(key))),
        }
    }
    domains(&hosts, draft);
    draft.set("health", Out::Map(health));
    port
}

fn domains(hosts: &[&Node], draft: &mut Draft) {
    let texts = hosts.iter().filter_map(|host| host.scalar()).flat_map(|scalar| scalar.text.split(','));
    let mut names: Vec<String> =
        texts.map(|name| name.trim().to_lowercase()).filter(|name| !name.contains(ERB)).collect();
    names.sort();
    names.dedup();
    let fitting: Vec<Out> =
        names.iter().filter_map(|name| draft.checked_text::<Host>("proxy.host", name)).collect();
    if !fitting.is_empty() {
        draft.set("domains", Out::List(fitting));
    }
}

fn healthcheck(node: &Node, health: &mut Vec<(String, Out)>, draft: &mut Draft) {
    let at = "proxy.healthcheck";
    if let Some(path) = node.get("path").and_then(|node| draft.checked::<UrlPath>(at, node)) {
        health[0].1 = path;
    }
    if let Some(interval) = node.get("interval").and_then(|node| draft.checked::<Interval>(at, node)) {
        health.push(("interval".to_owned(), interval));
    }
    if let Some(timeout) = node.get("timeout").and_then(|node| draft.checked::<CheckTimeout>(at, node)) {
        health.push(("timeout".to_owned(), timeout));
    }
}

fn timeouts(node: &Node, draft: &mut Draft) {
    let stop = node.get("drain_timeout").or(node.get("stop_timeout"));
    if let Some(value) = stop.and_then(|stop| draft.checked::<StopTimeout>("drain_timeout", stop)) {
        draft.set("stop_timeout", value);
    }
    if let Some(value) =
        node.get("deploy_timeout").and_then(|node| draft.checked::<StartTimeout>("deploy_timeout", node))
    {
        let (Out::Raw(typed) | Out::Text(typed)) = value else { return };
        draft.note(format!(
            "`deploy_timeout`: write it as `health: {{start_timeout: {typed}}}` if 60 s do not fit"
        ));
    }
}

fn volumes(node: &Node, draft: &mut Draft) {
    let items = node.get("volumes").and_then(Node::items).unwrap_or_default();
    let texts: Vec<String> = items.iter().filter_map(|item| Some(item.scalar()?.text.clone())).collect();
    if let Some(volumes) = draft.volumes("volumes", &texts) {
        draft.set("volumes", volumes);
    }
}

/// Kamal's may have options of the mount behind it. One of a role is the app's: whatever gets requests serves it.
fn asset_path(node: &Node, draft: &mut Draft) {
    let roles = node.get("servers").and_then(Node::entries).unwrap_or_default();
    let of_roles = roles.iter().filter_map(|role| text_of(&role.value, "asset_path"));
    let Some(typed) = text_of(node, "asset_path").into_iter().chain(of_roles).next() else { return };
    let path = typed.split(':').next().unwrap_or_default();
    if let Some(path) = draft.checked_text::<Assets>("asset_path", path) {
        draft.set("asset_path", path);
    }
}

/// `env` with `clear` and `secret`, or the variables themselves.
fn env(node: Option<&Node>, draft: &mut Draft) -> Option<Out> {
    let node = node?;
    let nested = ["clear", "secret", "tags"]
        .iter()
        .any(|key| node.get(key).is_some_and(|value| value.scalar().is_none()));
    let mut found = Vec::new();
    let clear = if nested { node.get("clear") } else { Some(node) };
    for (name, value) in clear.map(variables::pairs).unwrap_or_default() {
        if variables::usable(&name, draft) {
            let value = value.unwrap_or_default();
            let value =
                if value.contains(ERB) { Some(From::Secret) } else { variables::value(&name, &value, draft) };
            found.extend(value.map(|value| Variable { name, value }));
        }
    }
    for item in node.get("secret").filter(|_| nested).and_then(Node::items).unwrap_or_default() {
        let typed = item.scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
        let name = typed.split(':').next().unwrap_or(typed).to_owned();
        if variables::usable(&name, draft) {
            found.push(Variable { name, value: From::Secret });
        }
    }
    if nested && node.get("tags").is_some() {
        draft.note("`env.tags`: a process has variables of its own below `processes.NAME.env`");
    }
    variables::list(&found, draft)
}

/// The roles: a list is `web` alone; the primary one is `web`.
fn processes(node: &Node, port: u16, draft: &mut Draft) {
    let primary = text_of(node, "primary_role").unwrap_or_else(|| "web".to_owned());
    let mut written: Vec<(String, Out)> = Vec::new();
    match node.get("servers").and_then(Node::entries) {
        Some(roles) => {
            let first = roles.first().map(|role| role.key.clone()).unwrap_or_default();
            let primary = if roles.iter().any(|role| role.key == primary) { primary } else { first };
            for role in roles {
                let name = if role.key == primary { "web".to_owned() } else { to_label(&role.key) };
                if name.is_empty() || written.iter().any(|(given, _)| *given == name) {
                    draft.note(format!("`servers`: the role {} can't be a process", quoted(&role.key)));
                    continue;
                }
                let keys = role_keys(&name, &role.value, port, draft);
                written.push((name, Out::Map(keys)));
            }
        }
        None => {
            let keys = match node.get("servers") {
                Some(hosts) => role_keys("web", hosts, port, draft),
                None => vec![("port".to_owned(), Out::Raw(port.to_string()))],
            };
            written.push(("web".to_owned(), Out::Map(keys)));
        }
    }
    if written.is_empty() {
        written.push(("web".to_owned(), Out::pairs([("port", Out::Raw(port.to_string()))])));
    }
    draft.set_with("Each runs once on every server with its role.", "processes", Out::Map(written));
}

fn role_keys(name: &str, role: &Node, port: u16, draft: &mut Draft) -> Vec<(String, Out)> {
    hosts(name, role.get("hosts").unwrap_or(role), draft);
    let mut keys = Vec::new();
    if let Some(command) = role.get("cmd").and_then(shell::command_line) {
        keys.push(("command".to_owned(), Out::text(command)));
    }
    // The role of the servers, so that `pando server add HOST --role` gives it to them.
    keys.push(("role".to_owned(), Out::text(name)));
    if name == "web" {
        keys.push(("port".to_owned(), Out::Raw(port.to_string())));
    } else if known::is_clock(name) {
        keys.push(("singleton".to_owned(), Out::Raw("true".to_owned())));
    }
    if let Some(value) =
        role.get("stop_timeout").and_then(|node| draft.checked::<StopTimeout>("stop_timeout", node))
    {
        keys.push(("stop_timeout".to_owned(), value));
    }
    keys.extend(resources(role.get("options"), draft).map(|resources| ("resources".to_owned(), resources)));
    keys.extend(env(role.get("env"), draft).map(|env| ("env".to_owned(), env)));
    for entry in role.entries().unwrap_or_default() {
        if !["hosts", "cmd", "stop_timeout", "options", "env", "asset_path"].contains(&entry.key.as_str()) {
            draft.note(format!("`servers.{name}`: Pando has no key {}", quoted(&entry.key)));
        }
    }
    keys
}

fn hosts(role: &str, node: &Node, draft: &mut Draft) {
    for item in node.items().unwrap_or_default() {
        let host = match (item.scalar(), item.entries().and_then(|entries| entries.first())) {
            (Some(scalar), _) => scalar.text.clone(),
            (None, Some(tagged)) => tagged.key.clone(),
            (None, None) => continue,
        };
        let host = quoted(&host);
        let host = host.trim_matches('`');
        draft.note(format!(
            "`servers`: `pando server add {host} --role {role}` lets that one join the cluster"
        ));
    }
}

/// Docker's sizes are powers of two.
fn resources(options: Option<&Node>, draft: &mut Draft) -> Option<Out> {
    let mut pairs = Vec::new();
    for entry in options.and_then(Node::entries).unwrap_or_default() {
        let typed = entry.value.scalar().map(|scalar| scalar.text.to_ascii_lowercase()).unwrap_or_default();
        match entry.key.as_str() {
            "memory" => {
                let bare = typed.strip_suffix('b').unwrap_or(&typed);
                let unit = bare
                    .find(|c: char| c.is_ascii_alphabetic())
                    .map_or("", |at| &bare[at..])
                    .to_ascii_uppercase();
                let size = if unit.is_empty() {
                    bare.to_owned()
                } else {
                    format!("{}{unit}iB", &bare[..bare.len() - unit.len()])
                };
                pairs.extend(
                    draft
                        .checked_text::<Memory>("options.memory", &size)
                        .map(|value| ("memory".to_owned(), value)),
                );
            }
            "cpus" => {
                let fits = draft.checked_text::<Cpu>("options.cpus", &typed);
                pairs.extend(fits.map(|_| ("cpu".to_owned(), Out::text(typed))));
            }
            key => draft.note(format!("`options`: Pando has no key {}", quoted(key))),
        }
    }
    (!pairs.is_empty()).then_some(Out::Map(pairs))
}

fn accessories(node: &Node, draft: &mut Draft) {
    let mut services: Vec<(String, Out)> = Vec::new();
    for entry in node.get("accessories").and_then(Node::entries).unwrap_or_default() {
        let image = text_of(&entry.value, "image").unwrap_or_default();
        let name = to_label(&entry.key);
        let Some(kind) = known::service_type(&image).filter(|_| !name.is_empty()) else {
            draft.note(format!(
                "`accessories`: {} is another app: give it a pando.yaml of its own",
                quoted(&entry.key)
            ));
            continue;
        };
        if services.iter().any(|(given, _)| *given == name) {
            continue;
        }
        let mut pairs = vec![("type".to_owned(), Out::text(kind))];
        pairs
            .extend(known::service_version(&image).map(|version| ("version".to_owned(), Out::text(version))));
        draft.note(format!(
            "`services.{name}`: its data is not moved, and this version of Pando runs no services yet; until then, keep it \
             where it is and give its URL in `env`"
        ));
        services.push((name, Out::Map(pairs)));
    }
    if !services.is_empty() {
        draft.set_with("Databases and caches.", "services", Out::Map(services));
    }
}
