//! `deploy`, and what bounds a container.

use super::Process;
use super::keys::Keys;
use crate::decode::Leaf;
use crate::diagnostic::quoted;
use crate::import::draft::{Draft, plain};
use crate::import::write::Out;
use crate::tree::{Entry, Node, Scalar};
use crate::value::{Count, Cpu, Memory};

pub(super) fn deploy(node: &Node, process: &mut Process, draft: &mut Draft) {
    for entry in Keys::of(node).others() {
        let (value, of) = (&entry.value, process.service.clone());
        match entry.key.as_str() {
            "replicas" if is_global(node) => draft.left_out(
                "deploy.replicas",
                &of,
                "with `mode: global` it runs once on each server with its role",
            ),
            "replicas" => process.set::<Count<0, 1000>>("replicas", "deploy.replicas", value, draft),
            "mode" => mode(value, process, draft),
            "resources" => resources(value, process, draft),
            "labels" => super::labels::carry_over(value, process, draft),
            "placement" => draft.left_out(
                "deploy.placement",
                &of,
                "`role`, `servers` and `labels` of the process say where it runs",
            ),
            "restart_policy" => restart_policy(value, process, draft),
            "update_config" => update_config(value, process, draft),
            "rollback_config" => draft.left_out(
                "deploy.rollback_config",
                &of,
                "a deployment that fails goes back by itself, in the same steps",
            ),
            "endpoint_mode" => {
                draft.left_out("deploy.endpoint_mode", &of, "requests come by the load balancer");
            }
            other => draft.left_out(&format!("deploy.{}", plain(other)), &of, "Pando has nothing like it"),
        }
    }
}

fn is_global(deploy: &Node) -> bool {
    deploy.get("mode").and_then(Node::scalar).is_some_and(|mode| mode.text == "global")
}

fn mode(node: &Node, process: &mut Process, draft: &mut Draft) {
    match node.scalar().map(|scalar| scalar.text.as_str()) {
        // As Swarm does, which takes no count beside it.
        Some("global") => {
            process.keys.retain(|(key, _)| key != "replicas");
            process.keys.push(("per_server".to_owned(), Out::Raw("1".to_owned())));
        }
        Some("replicated") | None => {}
        Some(other) => draft.left_out(
            &format!("deploy.mode: {}", plain(other)),
            &process.service,
            "a process is started again when it ends; `pando run` runs a command once, `release:` once per deployment",
        ),
    }
}

fn restart_policy(node: &Node, process: &Process, draft: &mut Draft) {
    let any = node.get("condition").and_then(Node::scalar).is_none_or(|scalar| scalar.text == "any");
    let alone = node.entries().is_some_and(|entries| entries.len() == 1);
    if !(any && alone) {
        let why = "a process is started again whenever it ends, after growing waits";
        draft.left_out("deploy.restart_policy", &process.service, why);
    }
}

fn update_config(node: &Node, process: &Process, draft: &mut Draft) {
    let keys = Keys::of_map(node, "deploy.update_config", &process.service, draft);
    for entry in keys.others() {
        let text = entry.value.scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
        let why = match (entry.key.as_str(), text) {
            ("order", "start-first") | ("failure_action", "rollback") => continue,
            ("parallelism", _) => "`max_surge` says how many replicas are exchanged at a time; it is 1",
            ("order", _) => {
                "new replicas start before old ones stop; `max_surge: 0` and `max_unavailable: 1` turn it round"
            }
            ("delay" | "monitor", _) => {
                "`min_ready_seconds` says how long a new replica has to be ready before the next"
            }
            _ => "a deployment that fails goes back by itself",
        };
        draft.left_out(&format!("deploy.update_config.{}", plain(&entry.key)), &process.service, why);
    }
}

fn resources(node: &Node, process: &mut Process, draft: &mut Draft) {
    let (at, of) = ("deploy.resources", process.service.clone());
    let mut keys = Keys::of_map(node, at, &of, draft);
    let (limits, reservations) = (keys.take("limits"), keys.take("reservations"));
    keys.name_others(at, &of, "Pando has nothing like it", draft);
    if let Some(limits) = limits {
        let keys = Keys::of_map(limits, &format!("{at}.limits"), &of, draft);
        keys.others().for_each(|entry| limit(entry, process, draft));
    }
    if let Some(reservations) = reservations {
        let at = format!("{at}.reservations");
        for entry in Keys::of_map(reservations, &at, &of, draft).others() {
            let why = match entry.key.as_str() {
                "cpus" | "memory" => "what `resources` allows is what is set aside",
                "devices" => "containers are given no devices of the server, GPUs included",
                _ => "Pando has nothing like it",
            };
            draft.left_out(&format!("{at}.{}", plain(&entry.key)), &of, why);
        }
    }
}

fn limit(entry: &Entry, process: &mut Process, draft: &mut Draft) {
    match entry.key.as_str() {
        "memory" => memory(&entry.value, process, draft),
        "cpus" => cpus(&entry.value, process, draft),
        "pids" => pids(&entry.value, process, draft),
        other => {
            let key = format!("deploy.resources.limits.{}", plain(other));
            draft.left_out(&key, &process.service, "Pando has nothing like it");
        }
    }
}

/// Compose's `512m`, `512M` and `512mb` are powers of two; 0 is no limit.
pub(super) fn memory(node: &Node, process: &mut Process, draft: &mut Draft) {
    let typed = node.scalar().map(|scalar| scalar.text.trim().to_ascii_lowercase()).unwrap_or_default();
    if typed == "0" {
        return;
    }
    let key = format!("services.{}.memory", process.service);
    if let Some(value) = draft.checked_text::<Memory>(&key, &binary(&typed)) {
        resource("memory", value, process);
    }
}

/// An engine's size as one of Pando's: `512m` is `512MiB`.
pub(in crate::import) fn binary(typed: &str) -> String {
    let bare = typed.strip_suffix('b').unwrap_or(typed);
    let bare = bare.strip_suffix('i').unwrap_or(bare);
    match bare.strip_suffix(['k', 'm', 'g', 't']) {
        Some(number) => format!("{number}{}iB", bare[number.len()..].to_ascii_uppercase()),
        None => bare.to_owned(),
    }
}

/// `.5` is 0.5; 0 is no limit.
pub(super) fn cpus(node: &Node, process: &mut Process, draft: &mut Draft) {
    let typed = node.scalar().map(|scalar| scalar.text.trim().to_owned()).unwrap_or_default();
    let key = format!("services.{}.cpus", process.service);
    if let Some(value) = cores(&key, &typed, draft) {
        resource("cpu", value, process);
    }
}

pub(in crate::import) fn cores(key: &str, typed: &str, draft: &mut Draft) -> Option<Out> {
    let written = if typed.starts_with('.') { format!("0{typed}") } else { typed.to_owned() };
    if written.parse::<f64>().is_ok_and(|number| number == 0.0) {
        return None;
    }
    if Cpu::parse(&Scalar::text(written.clone())).is_ok() && written.parse::<f64>().is_ok() {
        return Some(Out::Raw(written.trim_end_matches('.').to_owned()));
    }
    draft.note(format!("`{key}`: expected {}, found {}", Cpu::expected(), quoted(typed)));
    None
}

/// -1 and 0 are no limit.
pub(super) fn pids(node: &Node, process: &mut Process, draft: &mut Draft) {
    if node.scalar().and_then(Scalar::as_integer).is_some_and(|number| number <= 0) {
        return draft.left_out("pids_limit", &process.service, "without `resources.pids` it is 4096");
    }
    let key = format!("services.{}.pids_limit", process.service);
    if let Some(value) = draft.checked::<Count<1, 4_194_304>>(&key, node) {
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
