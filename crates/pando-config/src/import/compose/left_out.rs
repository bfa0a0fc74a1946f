//! Keys of a service that Pando has nothing for: what happens instead, and what to do about it.

use super::keys::Keys;
use crate::diagnostic::quoted;
use crate::import::draft::{Draft, few, plain};
use crate::tree::{Node, Scalar};

pub(super) fn tell(key: &str, node: &Node, of: &str, draft: &mut Draft) {
    if key.starts_with("x-") {
        return;
    }
    match key {
        "restart" => restart(node, of, draft),
        "networks" => networks(node, of, draft),
        "init" if node.scalar().and_then(Scalar::as_bool) == Some(false) => {}
        "privileged" | "read_only" | "stdin_open" | "tty"
            if node.scalar().and_then(Scalar::as_bool) == Some(false) => {}
        _ => draft.left_out(&plain(key), of, why(key)),
    }
}

fn restart(node: &Node, of: &str, draft: &mut Draft) {
    let typed = node.scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
    if !matches!(typed, "always" | "unless-stopped") {
        let why = "a process is started again whenever it ends, after growing waits";
        draft.left_out(&format!("restart: {}", plain(typed)), of, why);
    }
}

/// Being in networks is all that most say; names and addresses in them are more.
fn networks(node: &Node, of: &str, draft: &mut Draft) {
    let why = "replicas listen on the private address of their server, and the firewall follows roles";
    draft.left_out("networks", of, why);
    for network in node.entries().unwrap_or_default() {
        for said in Keys::of(&network.value).others() {
            let key = format!("networks.{}.{}", plain(&network.key), plain(&said.key));
            draft.left_out(&key, of, "there are no networks with names and addresses");
        }
    }
}

fn why(key: &str) -> &'static str {
    match key {
        "container_name" | "hostname" | "domainname" | "mac_address" => {
            "replicas have names of their own, which `pando status` shows"
        }
        "working_dir" => {
            "set `WORKDIR` in the Dockerfile, or begin the command with `cd DIRECTORY && exec …`"
        }
        "stop_signal" => "set `STOPSIGNAL` in the Dockerfile",
        "init" => {
            "no init is added; where the program leaves zombies or ignores SIGTERM, put one such as `tini` into the image"
        }
        "tmpfs" | "read_only" | "storage_opt" => {
            "a container's own file system can be written to, lies on disk, and goes with it"
        }
        "shm_size" => "`/dev/shm` has the engine's 64 MB",
        "cap_add" | "cap_drop" | "privileged" | "security_opt" | "sysctls" | "ulimits" | "group_add"
        | "cgroup" | "cgroup_parent" | "cgroupns_mode" | "userns_mode" | "ipc" | "pid" | "uts"
        | "runtime" | "isolation" | "oom_kill_disable" | "oom_score_adj" => {
            "containers run with the engine's defaults; make the program do without, or run it beside Pando"
        }
        "devices" | "device_cgroup_rules" | "gpus" => {
            "containers are given no devices of the server, GPUs included"
        }
        "extra_hosts" | "dns" | "dns_search" | "dns_opt" => "names are resolved as the server's engine does",
        "logging" => "Pando keeps the output of each replica: `pando logs`",
        "links" | "external_links" => {
            "containers are not called by names; `services` and `routes` say who reaches whom"
        }
        "network_mode" => "each replica has a port of its own on the private address of its server",
        "secrets" | "configs" => {
            "nothing is mounted from this file; copy what is no secret into the image, or mount a directory that is on each server"
        }
        "platform" => "images are built and pulled for the servers' own platform",
        "mem_reservation" => "what `resources` allows is what is set aside",
        "memswap_limit" | "mem_swappiness" => "there is no swap beyond `resources.memory`",
        "cpu_shares" | "cpu_quota" | "cpu_period" | "cpu_rt_runtime" | "cpu_rt_period" | "cpuset"
        | "cpu_count" | "cpu_percent" | "blkio_config" => {
            "`resources.cpu` bounds the processor, and nothing else does"
        }
        "stdin_open" | "tty" | "attach" => "replicas have no terminal; `pando exec` opens one",
        "develop" => "it is for developing; `pando dev` is Pando's way",
        "volumes_from" => "name the volumes below `volumes`",
        "post_start" | "pre_stop" => "start such commands from the image's entry script",
        "annotations" | "label_file" => "containers carry Pando's labels alone",
        "provider" | "models" | "credential_spec" | "use_api_socket" | "driver_opts" => "it is Compose's own",
        _ => "Pando knows no such key of a service",
    }
}

/// Neither nothing nor an empty map.
fn says_something(node: &Node) -> bool {
    !node.is_null() && node.entries().is_none_or(|entries| !entries.is_empty())
}

/// Keys of the file beside `services`.
pub(super) fn tell_of_file(node: &Node, draft: &mut Draft) {
    let mut unknown: Vec<String> = Vec::new();
    for entry in node.entries().unwrap_or_default() {
        match why_of_file(&entry.key, &entry.value) {
            Some("") => unknown.push(plain(&entry.key)),
            Some(why) => draft.note(format!("{}: {why}", quoted(&entry.key))),
            None => {}
        }
    }
    if !unknown.is_empty() {
        let names = few(unknown.iter().map(String::as_str));
        draft.note(format!("{names}: Pando knows no such key of the file"));
    }
}

/// Why a key of the file is not carried over; empty: there is no such key. `None`: it is, or says nothing.
fn why_of_file(key: &str, value: &Node) -> Option<&'static str> {
    let more =
        value.entries().is_some_and(|entries| entries.iter().any(|entry| says_something(&entry.value)));
    match key {
        // The last says which version of Compose it was for, which Compose itself does not read any more.
        "services" | "name" | "version" => None,
        "networks" | "volumes" if !more => None,
        "networks" => {
            Some("replicas listen on the private address of their server, and the firewall follows roles")
        }
        "volumes" => Some(
            "drivers, options and names of volumes are not carried over: Pando makes a plain volume of the app's on each server",
        ),
        "secrets" | "configs" => Some(
            "nothing is mounted from this file; copy what is no secret into the image, or mount a directory that is on each server",
        ),
        "models" => {
            Some("what a model answers comes from a service that you run: write its address below `env`")
        }
        key if key.starts_with("x-") => None,
        _ => Some(""),
    }
}
