//! `accessories`: databases and caches, as `services` that the user runs.

use super::text_of;
use crate::decode::listed;
use crate::diagnostic::quoted;
use crate::import::draft::{Draft, plain};
use crate::import::known;
use crate::import::write::Out;
use crate::tree::Node;
use crate::value::to_label;

pub(super) fn write(accessories: Option<&Node>, draft: &mut Draft) {
    let mut services: Vec<(String, Out)> = Vec::new();
    for entry in accessories.and_then(Node::entries).unwrap_or_default() {
        let image = text_of(&entry.value, "image").unwrap_or_default();
        let name = to_label(&entry.key);
        let taken = services.iter().any(|(given, _)| *given == name);
        let Some(kind) = known::service_type(&image).filter(|_| !name.is_empty() && !taken) else {
            draft.note(format!(
                "`accessories`: {} ({}) is another app: give it a pando.yaml of its own{}",
                quoted(&entry.key),
                quoted(&image),
                lost(&entry.value)
            ));
            continue;
        };
        tell(&entry.key, kind, &entry.value, draft);
        let mut pairs = vec![("type".to_owned(), Out::text(kind))];
        let version = known::service_version(&image);
        pairs.extend(version.map(|version| ("version".to_owned(), Out::text(version))));
        pairs.push(("managed".to_owned(), Out::Raw("false".to_owned())));
        pairs.extend(port(&entry.value, kind).map(|port| ("port".to_owned(), Out::Raw(port.to_string()))));
        services.push((name, Out::Map(pairs)));
    }
    if !services.is_empty() {
        let comment = "Databases and caches that you run; `from: {service: NAME}` tells the private address of the server with the role.";
        draft.set_with(comment, "services", Out::Map(services));
    }
}

fn tell(name: &str, kind: &str, node: &Node, draft: &mut Draft) {
    let role = known::usual_role(kind);
    let hosts = ["host", "hosts"].iter().filter_map(|key| node.get(key));
    let hosts: Vec<&str> = hosts
        .flat_map(|node| node.items().unwrap_or(std::slice::from_ref(node)))
        .filter_map(|host| Some(host.scalar()?.text.as_str()))
        .collect();
    let place = match hosts[..] {
        [] => format!("on a server with the role `{role}`"),
        [host, ..] => format!("where it is, once `pando server add {} --role {role}` was done", plain(host)),
    };
    draft.note(format!(
        "`accessories`: {} is yours to run (`managed: false`), {place}; its data is not moved{}",
        quoted(name),
        lost(node)
    ));
}

/// What is not carried over of it.
fn lost(node: &Node) -> String {
    let known = ["image", "host", "hosts"];
    let keys = node.entries().unwrap_or_default().iter().filter(|entry| !known.contains(&entry.key.as_str()));
    let keys: Vec<String> = keys.map(|entry| plain(&entry.key)).collect();
    match keys.is_empty() {
        true => String::new(),
        false => format!("; not carried over of it: {}", listed(keys.iter().map(String::as_str), "and")),
    }
}

/// Where it is reached on its host, if that is not the usual port.
fn port(node: &Node, kind: &str) -> Option<u16> {
    let typed = text_of(node, "port")?;
    let parts: Vec<&str> = typed.split('/').next()?.rsplit(':').collect();
    let published: u16 = parts.get(1).or(parts.first())?.parse().ok()?;
    (published > 0 && published != known::usual_port(kind)).then_some(published)
}
