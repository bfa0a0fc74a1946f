//! What the machine tells of itself, and whether it can become a server.

use std::collections::BTreeMap;
use std::net::IpAddr;

use pando_api::v1::status::ServerStatus;
use pando_model::id::ServerId;
use pando_model::name::ServerName;
use pando_model::resources::Bytes;

use super::program::{Kind, Program};
use crate::cli::ServerAddArgs;
use crate::exit::{FAILED, REFUSED, Trouble};
use crate::words::{harmless, listed};

/// For the ledger, logs and the first releases, in kilobytes.
const STATE_ROOM: u64 = 200_000;
/// For the program beside the one that it replaces, in kilobytes.
const PROGRAM_ROOM: u64 = 150_000;

/// How whoever logs in becomes root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    Already,
    Sudo,
    /// There is a sudo, which wants a password.
    Password,
    No,
}

/// What `probe` told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) system: String,
    pub(super) machine: String,
    pub(super) host: String,
    pub(super) user: String,
    pub(super) root: Root,
    pub(super) systemd: bool,
    pub(super) sha256sum: bool,
    /// Of the program that is there.
    pub(super) digest: Option<String>,
    /// Kilobytes.
    pub(super) room_program: u64,
    pub(super) room_state: u64,
    pub(super) addresses: Vec<IpAddr>,
    /// Who listens there, `?` when that can't be told.
    pub(super) port_agent: Option<String>,
    pub(super) port_http: Option<String>,
    pub(super) engine: Engine,
    /// What installs packages there, if it is known.
    pub(super) packages: Option<String>,
    /// It has a place in a cluster already.
    pub(super) server: Option<ServerId>,
}

/// Docker's engine there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Engine {
    Answers,
    /// It is installed, and does not answer.
    Still,
    /// Podman answers in its place.
    Podman,
    None,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    Join {
        name: ServerName,
    },
    /// It is a server of this cluster already.
    Resume {
        name: ServerName,
    },
}

impl Plan {
    pub(super) fn name(&self) -> &ServerName {
        match self {
            Self::Join { name } | Self::Resume { name } => name,
        }
    }
}

impl Facts {
    /// Reads what `probe` printed. A login that greets people may have printed more: lines without a known name are left aside.
    pub(super) fn read(text: &str) -> anyhow::Result<Self> {
        let facts: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
        let fact = |name: &str| facts.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
        let owned = |name: &str| fact(name).map(str::to_owned);
        let number = |name: &str| fact(name).and_then(|text| text.parse().ok());
        let (Some(system), Some(machine), Some(root)) = (owned("system"), owned("machine"), fact("root"))
        else {
            let trouble = Trouble::new(FAILED, "remote", "the machine did not tell what it is");
            return Err(trouble.details(text.lines().take(5).map(harmless).collect()).into());
        };
        Ok(Self {
            system,
            machine,
            host: owned("host").unwrap_or_default(),
            user: owned("user").unwrap_or_default(),
            root: match root {
                "root" => Root::Already,
                "sudo" => Root::Sudo,
                "password" => Root::Password,
                _ => Root::No,
            },
            systemd: fact("systemd") == Some("yes"),
            sha256sum: fact("sha256sum") == Some("yes"),
            digest: owned("digest"),
            // What can't be told is not held against it.
            room_program: number("room_program").unwrap_or(u64::MAX),
            room_state: number("room_state").unwrap_or(u64::MAX),
            addresses: fact("addresses")
                .into_iter()
                .flat_map(|all| all.split(' '))
                .filter_map(|text| text.parse().ok())
                .collect(),
            port_agent: owned("port_7421"),
            port_http: owned("port_80"),
            engine: match fact("engine") {
                Some("answers") => Engine::Answers,
                Some("installed") => Engine::Still,
                Some("podman") => Engine::Podman,
                _ => Engine::None,
            },
            packages: owned("packages"),
            server: fact("server").and_then(|id| id.parse().ok()),
        })
    }

    /// `Linux, x86_64, systemd`.
    pub(super) fn line(&self) -> String {
        let held = if self.systemd { "with systemd" } else { "without systemd" };
        format!("{}, {}, {held}", harmless(&self.system), harmless(&self.machine))
    }

    /// The daemon there is not yet of this program.
    pub(super) fn needs_restart(&self, program: &Program) -> bool {
        self.port_agent.is_none() || self.digest.as_deref() != Some(program.digest.as_str())
    }

    pub(super) fn no_way_to_root(&self, host: &str) -> Trouble {
        let user = harmless(&self.user);
        let message = match self.root {
            Root::Password => format!("{user} on {host} becomes root only with a password"),
            _ => format!("{user} on {host} can't become root"),
        };
        Trouble::new(FAILED, "no_root", message).hint(
            "log in as root (`-l root`), let that user sudo without a password, or run what `pando cluster token` prints there as root",
        )
    }
}

/// Whether the machine can become a server of the cluster, and under which name.
pub(super) fn plan(
    facts: &Facts,
    args: &ServerAddArgs,
    kind: &Kind,
    servers: &[ServerStatus],
) -> Result<Plan, Trouble> {
    check_machine(facts, args, *kind)?;
    if args.install_docker {
        check_engine(facts, args)?;
    }
    if let Some(id) = facts.server {
        return resume(id, args, servers);
    }
    let name = name(facts, args)?;
    if servers.iter().any(|server| server.name == name) {
        let trouble =
            Trouble::wrong(format!("there is a server `{name}` in the cluster, on another machine"));
        return Err(trouble.hint("give another name: `--name`; or `pando server rm` the old one first"));
    }
    check_ports(facts, args)?;
    Ok(Plan::Join { name })
}

fn check_machine(facts: &Facts, args: &ServerAddArgs, kind: Kind) -> Result<(), Trouble> {
    let host = args.bare_host();
    let failed = |code: &str, message: String| Trouble::new(FAILED, code, message);
    if facts.system != "Linux" {
        return Err(failed(
            "wrong_system",
            format!("{host} runs {}; servers run Linux", harmless(&facts.system)),
        ));
    }
    if !kind.runs_on(&facts.machine) {
        let message =
            format!("{host} is {}, and this program is for {}", harmless(&facts.machine), kind.word());
        let hint = "name one that was built for it: `--program FILE`";
        return Err(failed("wrong_architecture", message).hint(hint));
    }
    if !facts.sha256sum {
        return Err(
            failed("no_tool", format!("there is no `sha256sum` on {host}")).hint("install coreutils there")
        );
    }
    for (place, room, needed) in [
        ("/usr/local/bin", facts.room_program, PROGRAM_ROOM),
        ("/var/lib/pando", facts.room_state, STATE_ROOM),
    ] {
        if room < needed {
            let (has, needed) = (Bytes(room * 1024), Bytes(needed * 1024));
            let message = format!("{host} has {has} left for {place}, and {needed} are needed");
            return Err(failed("disk_full", message).hint("make room there"));
        }
    }
    check_address(facts, args)
}

/// Whether an engine is there, or may be had.
fn check_engine(facts: &Facts, args: &ServerAddArgs) -> Result<(), Trouble> {
    let host = args.bare_host();
    let by_hand = "install Docker's engine there by hand, and leave `--install-docker` out";
    match facts.engine {
        Engine::Podman => {
            let message = format!(
                "Podman answers at {host}'s /var/run/docker.sock, on which Pando's promises were not tried"
            );
            Err(Trouble::new(FAILED, "no_engine", message)
                .hint("remove it from there, or leave `--install-docker` out"))
        }
        Engine::None if facts.packages.is_none() => {
            let message = format!("there is no package manager on {host} that Pando knows");
            Err(Trouble::new(FAILED, "no_engine", message).hint(by_hand))
        }
        _ => Ok(()),
    }
}

fn check_address(facts: &Facts, args: &ServerAddArgs) -> Result<(), Trouble> {
    match args.private_ip {
        Some(address) if !facts.addresses.is_empty() && !facts.addresses.contains(&address) => {
            let own = facts.addresses.iter().filter(|it| !it.is_loopback() && !is_link_local(it));
            let trouble = Trouble::wrong(format!("{address} is no address of {}", args.bare_host()));
            Err(trouble.hint(format!("its own are {}", listed(own))))
        }
        _ => Ok(()),
    }
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}

fn resume(id: ServerId, args: &ServerAddArgs, servers: &[ServerStatus]) -> Result<Plan, Trouble> {
    let host = args.bare_host();
    let Some(server) = servers.iter().find(|server| server.id == id) else {
        let message = format!("{host} is a server of another cluster, or was removed from this one");
        let hint = "if nothing there is needed any more, stop its daemon and remove /var/lib/pando there, then add it again";
        return Err(Trouble::new(REFUSED, "other_cluster", message).hint(hint));
    };
    match &args.name {
        Some(name) if *name != server.name => {
            let message =
                format!("{host} is the server `{}` of this cluster already, not `{name}`", server.name);
            Err(Trouble::wrong(message).hint("leave `--name` out, or `pando server rm` it first"))
        }
        _ => Ok(Plan::Resume { name: server.name.clone() }),
    }
}

/// What was said; else the first label of how it was called; for an address, of how it calls itself.
fn name(facts: &Facts, args: &ServerAddArgs) -> Result<ServerName, Trouble> {
    if let Some(name) = &args.name {
        return Ok(name.clone());
    }
    let host = args.bare_host();
    let bare = host.trim_matches(['[', ']']).split('%').next().unwrap_or_default();
    let called = if bare.parse::<IpAddr>().is_ok() { facts.host.as_str() } else { host };
    let label = called.split('.').next().unwrap_or_default().to_ascii_lowercase();
    ServerName::new(label).map_err(|error| {
        let trouble = Trouble::wrong(format!("`{}` gives no name for a server: {error}", harmless(called)));
        trouble.hint("give one: `--name app-2`")
    })
}

fn check_ports(facts: &Facts, args: &ServerAddArgs) -> Result<(), Trouble> {
    let taken = |port: u16, by: &str, what: &str| {
        let by = if by == "?" { "another program".to_owned() } else { format!("`{}`", harmless(by)) };
        let message = format!("port {port} on {} is taken by {by}; {what} listens there", args.bare_host());
        let hint = format!(
            "stop that first, and let it not start again; `ss -ltnp 'sport = :{port}'` shows it there"
        );
        Trouble::new(FAILED, "port_taken", message).hint(hint)
    };
    if let Some(by) = &facts.port_agent {
        return Err(taken(7421, by, "the agent"));
    }
    let is_entry = args.roles.iter().any(|role| matches!(role.as_str(), "web" | "lb"));
    match &facts.port_http {
        Some(by) if is_entry => Err(taken(80, by, "the load balancer of a server with the role web or lb")),
        _ => Ok(()),
    }
}
