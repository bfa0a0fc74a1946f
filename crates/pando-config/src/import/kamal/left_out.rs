//! Keys that say how Kamal works, and what does the same here.

use std::path::Path;

use crate::decode::listed;
use crate::diagnostic::quoted;
use crate::files::Files;
use crate::import::draft::{Draft, plain};
use crate::tree::Node;

/// What is carried over, or told of elsewhere.
const CARRIED: [&str; 17] = [
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
    "stop_timeout",
    "stop_wait_time",
    "retain_containers",
    "primary_role",
    "registry",
    "healthcheck",
];

pub(super) fn tell(node: &Node, draft: &mut Draft) {
    for entry in node.entries().unwrap_or_default() {
        let key = entry.key.as_str();
        if CARRIED.contains(&key) || key.starts_with("x-") {
            continue;
        }
        if key == "aliases" {
            let names = entry.value.entries().unwrap_or_default().iter();
            let names: Vec<String> = names.map(|alias| plain(&alias.key)).collect();
            let names = listed(names.iter().map(String::as_str), "and");
            draft.note(format!(
                "`aliases`: {names}: use the shell's; `pando run` and `pando exec` run commands in the app"
            ));
            continue;
        }
        draft.note(format!("{}: {}", quoted(key), why(key)));
    }
}

fn why(key: &str) -> &'static str {
    match key {
        "ssh" | "sshkit" => "servers join a cluster with `pando server add`; deploys need no SSH",
        "boot" => "a deployment rolls within `max_surge` and `max_unavailable`",
        "readiness_delay" => "`min_ready_seconds` says how long a replica must have been ready",
        "hooks_path" | "hooks_output" | "run_directory" => HOOKS,
        "secrets_path" => "what is secret is not read from there",
        "logging" => "Pando keeps the output of each replica: `pando logs`",
        "labels" => "containers carry Pando's labels alone",
        "error_pages_path" => "`routes: [{path: /, error_pages: {5xx: {html: FILE}}}]` names a page",
        "allow_empty_roles" | "require_destination" => "each target is named in `targets`",
        "traefik" => "the load balancer is Pando's own",
        "minimum_version" => "it is about Kamal",
        _ => "Pando has nothing like it",
    }
}

const HOOKS: &str = "Pando runs nothing on the machine that deploys: run it before or after `pando deploy`; `release:` runs once in the \
                     cluster before traffic moves";

/// Hooks are files of their own.
pub(super) fn hooks(path: &Path, files: &dyn Files, draft: &mut Draft) {
    let of_config = path.parent().filter(|parent| parent.file_name().is_some_and(|name| name == "config"));
    let root = of_config.and_then(Path::parent).or(path.parent()).unwrap_or(Path::new(""));
    for hook in [
        "docker-setup",
        "pre-connect",
        "pre-build",
        "pre-deploy",
        "post-deploy",
        "pre-app-boot",
        "post-app-boot",
        "pre-proxy-reboot",
        "post-proxy-reboot",
    ] {
        if files.read(&root.join(".kamal/hooks").join(hook)).is_ok() {
            draft.left_out(".kamal/hooks", hook, HOOKS);
        }
    }
}
