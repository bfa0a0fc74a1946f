//! `servers`: the roles and their hosts, as processes.

use super::text_of;
use crate::diagnostic::quoted;
use crate::import::compose::resources::{binary, cores};
use crate::import::draft::{Draft, plain};
use crate::import::write::Out;
use crate::import::{known, shell};
use crate::tree::{Node, Scalar};
use crate::value::{ContainerUser, Memory, to_label};

/// A role, or the only list of hosts.
#[derive(Debug, Clone)]
pub(super) struct Role {
    /// A DNS label; of the primary role `web`.
    pub(super) name: String,
    /// Without what its proxy says.
    pub(super) keys: Vec<(String, Out)>,
    /// Its own `proxy`, if that has keys.
    pub(super) proxy: Option<Node>,
}

/// The roles: a list is `web` alone; the primary one is `web`.
pub(super) fn roles(node: &Node, draft: &mut Draft) -> Vec<Role> {
    let mut found: Vec<Role> = Vec::new();
    let primary = text_of(node, "primary_role").unwrap_or_else(|| "web".to_owned());
    let roles = node.get("servers").and_then(Node::entries).unwrap_or_default();
    let named = node.get("primary_role").is_some() && !roles.is_empty() && primary != "web";
    if named && roles.iter().any(|role| role.key == primary) {
        draft.note(format!(
            "`primary_role`: {} is called `web` here, since that process gets the requests; so is the role of its servers",
            quoted(&primary)
        ));
    } else if named {
        draft.note(format!(
            "`primary_role`: `servers` has no role {}; the first is taken for it",
            quoted(&primary)
        ));
    }
    let first = roles.first().map(|role| role.key.clone()).unwrap_or_default();
    let primary = if roles.iter().any(|role| role.key == primary) { primary } else { first };
    for role in roles {
        let name = if role.key == primary { "web".to_owned() } else { to_label(&role.key) };
        if name.is_empty() || found.iter().any(|given| given.name == name) {
            draft.note(format!("`servers`: the role {} can't be a process", quoted(&role.key)));
            continue;
        }
        found.push(self::role(name, &role.value, draft));
    }
    if found.is_empty() {
        let nobody = Node { span: node.span, value: crate::tree::Value::List(Vec::new()) };
        found.push(role("web".to_owned(), node.get("servers").unwrap_or(&nobody), draft));
    }
    found
}

fn role(name: String, node: &Node, draft: &mut Draft) -> Role {
    hosts(&name, node.get("hosts").unwrap_or(node), draft);
    let at = format!("servers.{name}");
    let mut keys = Vec::new();
    if let Some(command) = node.get("cmd").and_then(shell::command_line) {
        keys.push(("command".to_owned(), Out::text(command)));
    }
    // The role of the servers, so that `pando server add HOST --role` gives it to them.
    keys.push(("role".to_owned(), Out::text(name.clone())));
    if name != "web" && known::is_clock(&name) {
        keys.push(("singleton".to_owned(), Out::Raw("true".to_owned())));
    }
    let stop = node.get("stop_timeout");
    let stop = stop.and_then(|node| draft.checked::<super::StopTimeout>(&format!("{at}.stop_timeout"), node));
    keys.extend(stop.map(|value| ("stop_timeout".to_owned(), value)));
    options(node.get("options"), &at, &mut keys, draft);
    let env = super::env::variables(node.get("env"), &format!("{at}.env"), draft);
    keys.extend(env.map(|env| ("env".to_owned(), env)));
    others(node, &name, draft);
    let proxy = node.get("proxy").filter(|proxy| proxy.entries().is_some()).cloned();
    Role { name, keys, proxy }
}

fn others(node: &Node, name: &str, draft: &mut Draft) {
    for entry in node.entries().unwrap_or_default() {
        let flag = entry.value.scalar().and_then(Scalar::as_bool);
        let why = match entry.key.as_str() {
            "hosts" | "cmd" | "stop_timeout" | "options" | "env" | "asset_path" => continue,
            "proxy" if flag.is_none() || flag == Some(name == "web") => continue,
            "proxy" if flag == Some(true) => {
                "requests go to `web` alone; `routes: [{path: /, split: {web: 1, NAME: 1}}]` shares them"
            }
            "proxy" => "`web` gets the requests to `domains`; without any, nobody reaches it from outside",
            "labels" => "containers carry Pando's labels alone",
            "logging" => "Pando keeps the output of each replica: `pando logs`",
            _ => "Pando has nothing like it",
        };
        draft.left_out(&format!("servers.{}", plain(&entry.key)), name, why);
    }
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

/// Options of `docker run`.
fn options(options: Option<&Node>, at: &str, keys: &mut Vec<(String, Out)>, draft: &mut Draft) {
    let mut pairs = Vec::new();
    for entry in options.and_then(Node::entries).unwrap_or_default() {
        let typed =
            entry.value.scalar().map(|scalar| scalar.text.trim().to_ascii_lowercase()).unwrap_or_default();
        let shown = format!("{at}.options.{}", plain(&entry.key));
        match entry.key.as_str() {
            "memory" => {
                let size = draft.checked_text::<Memory>(&shown, &binary(&typed));
                pairs.extend(size.map(|value| ("memory".to_owned(), value)));
            }
            "cpus" => pairs.extend(cores(&shown, &typed, draft).map(|value| ("cpu".to_owned(), value))),
            "user" => {
                let user = draft.checked::<ContainerUser>(&shown, &entry.value);
                keys.extend(user.map(|user| ("user".to_owned(), user)));
            }
            _ => draft.note(format!(
                "`{shown}`: containers are made as the image says, and otherwise with the engine's defaults"
            )),
        }
    }
    if !pairs.is_empty() {
        keys.push(("resources".to_owned(), Out::Map(pairs)));
    }
}
