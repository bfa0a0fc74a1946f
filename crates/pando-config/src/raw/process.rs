//! The keys of a process.

use pando_model::RoleName;

use super::balancing::LoadBalancing;
use super::env::EnvList;
use super::placement::{Labels, Processes, Servers};
use crate::decode::{Field, choice, record};
use crate::value::{Command, ContainerUser, Count, Cpu, Duration, Flag, Memory, Port, UrlPath};

record! {
    /// A kind of thing that the app runs. Its keys win over those of the root.
    Process = "a process" {
        /// What to run, by `/bin/sh -c`. With an image: its own command unless given.
        command: Command;
        /// The role of the servers that it runs on.
        /// Without it: `web` for a process that gets requests, `worker` for others.
        role: RoleName;
        /// How many replicas in all, spread over the servers with the role. Not together with `per_server`.
        replicas: Count<0, 1000>;
        /// How many replicas on each server with the role.
        per_server: Count<0, 100> [default "1"];
        /// Of the servers with the role, these alone, by name. Without it: all of them.
        servers: Servers;
        /// Of the servers with the role, those alone that have all of these labels.
        labels: Labels;
        /// The port that it listens on in its container.
        port: Port;
        /// Shorthand for `health: {type: http, path: …}`.
        health_check_path: UrlPath;
        /// How to find out whether a replica can serve. Without it, and without one at the root:
        /// `GET /` for a process that gets requests, none for others.
        health: Health;
        /// How requests are spread over its replicas. Its keys win over those of the root, one by one.
        load_balancing: LoadBalancing;
        /// How long it may take to end its requests and, after SIGTERM, itself, before SIGKILL.
        stop_timeout: Duration<0, 86_400_000>;
        /// What each replica may use.
        resources: Resources;
        /// Environment variables beyond the app's; these win.
        env: EnvList;
        /// Never two replicas at once, not even for a moment.
        singleton: Flag [default "false"];
        /// Processes whose replicas can be reached before those of this one start, at each deployment and after each
        /// `pando start`. Nothing waits with stopping.
        depends_on: Processes;
        /// Who runs in the container: `app`, `1000:1000`. Without it: whom the image names. Containers only.
        user: ContainerUser;
    } misplaced misplaced give_way give_way
}

fn give_way(under: &mut Process, over: &Process) {
    if !(over.replicas.is_absent() && over.per_server.is_absent()) {
        (under.replicas, under.per_server) = (Field::Absent, Field::Absent);
    }
}

fn misplaced(key: &str) -> Option<String> {
    let hint = match key {
        "cmd" | "run" | "exec" | "entrypoint" => "did you mean `command`?",
        "environment" => "did you mean `env`?",
        "healthcheck" | "health_check" => "did you mean `health`?",
        "cpu" | "memory" => "this belongs below `resources`",
        "host" | "hosts" | "node" | "nodes" | "placement" => {
            "did you mean `servers` (by name) or `labels` (`disk: ssd`)?"
        }
        "domains"
        | "routes"
        | "volumes"
        | "asset_path"
        | "deployment_strategy"
        | "min_ready_seconds"
        | "keep_releases" => "this is a key of the whole app: write it at the root of the file",
        _ => return None,
    };
    Some(hint.to_owned())
}

choice! {
    /// How a replica is asked.
    HealthType {
        Http = "http",
        Tcp = "tcp",
        Command = "command",
        None = "none",
    }
}

record! {
    /// How to find out whether a replica can serve.
    Health = "a health check" {
        /// `http`: GET `path` must answer 200 to 399. `tcp`: the port must accept a connection.
        /// `command`: it must exit 0. `none`: running is ready, see `min_ready_seconds`. An app with an `image` that says neither this nor `path` nor
        /// `command` is asked by the image's own `HEALTHCHECK`, where it has one.
        r#type: HealthType [default "http"];
        /// With `http`: what to ask for.
        path: UrlPath [default "/"];
        /// With `command`: what to run.
        command: Command;
        /// From one check to the next, once the first has passed. Until then: every 100 ms. An image's own `HEALTHCHECK` says
        /// it by itself where this is not given.
        interval: Duration<100, 3_600_000> [default "2s"];
        /// How long one check may take.
        timeout: Duration<10, 600_000> [default "2s"];
        /// How many passes in a row bring an unhealthy replica back.
        healthy: Count<1, 100> [default "2"];
        /// How many failures in a row make a replica unhealthy. Of the image's own check, `--retries` says it, unless this is
        /// something else than 3.
        unhealthy: Count<1, 100> [default "3"];
        /// How long a new replica may take to pass for the first time; `--start-period` of the image's own check comes on top.
        start_timeout: Duration<100, 86_400_000> [default "60s"];
    } give_way new_question
}

/// What is asked is overridden as a whole, how often key by key.
fn new_question(under: &mut Health, over: &Health) {
    if !(over.r#type.is_absent() && over.path.is_absent() && over.command.is_absent()) {
        (under.r#type, under.path, under.command) = (Field::Absent, Field::Absent, Field::Absent);
    }
}

record! {
    /// What each replica may use. Without a key: no limit, and nothing is set aside.
    Resources = "a set of resources" {
        /// Cores: `0.5`, or thousandths: `500m`.
        cpu: Cpu;
        /// Memory: `512MB`, `1GiB`.
        memory: Memory;
        /// Processes and threads at a time. Without it: 4096 in a container, and no limit for plain processes.
        pids: Count<1, 4_194_304>;
    }
}
