//! What machines tell, what ssh says, and what comes of it. The script itself is tried on this machine.

use std::process::Command;

use clap::Parser as _;

use super::facts::plan;
use super::program::Kind;
use super::ssh::unreached;
use super::*;
use crate::cli::{Cli, Command as Words, ServerCommand};
use crate::printer::Paint;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/commands/server/add/remote.sh");
const OWN: &str = "01890000-0000-7000-8000-000000000002";

fn args(words: &[&str]) -> ServerAddArgs {
    let words = ["pando", "server", "add"].iter().chain(words).collect::<Vec<_>>();
    let Words::Server(server) = Cli::parse_from(words).command else { panic!("another command") };
    let ServerCommand::Add(args) = server.command else { panic!("another command") };
    *args
}

/// A machine that is fit for everything, but for what differs.
fn facts(differs: &str) -> Facts {
    let fit = "system=Linux\nmachine=x86_64\nhost=App-2.example.com\nuser=root\nroot=root\nsystemd=yes\nsha256sum=yes\n\
               room_program=900000\nroom_state=900000\naddresses=127.0.0.1 10.0.0.2 fe80::1 \nport_7421=\nport_80=\n\
               engine=none\npackages=apt-get\n";
    Facts::read(&format!("Welcome!\n{fit}{differs}\n")).unwrap()
}

fn servers() -> Vec<ServerStatus> {
    let server = |id: &str, name: &str| {
        serde_json::from_value(json!({
            "id": id, "name": name, "roles": ["web"], "private_address": "10.0.0.9", "state": "alive", "heard_at": null,
            "capacity": { "cpu_millis": 0, "memory_bytes": 0 }, "reserved": { "cpu_millis": 0, "memory_bytes": 0 },
            "instances": 0, "proxy": null,
        }))
        .unwrap()
    };
    vec![server("01890000-0000-7000-8000-000000000001", "main"), server(OWN, "app-9")]
}

#[track_caller]
fn check_refused(differs: &str, words: &[&str], said: &str) {
    let trouble = plan(&facts(differs), &args(words), &Kind::X86_64, &servers()).unwrap_err();
    let text = trouble.render(Paint::plain());
    assert!(text.contains(said), "{text}");
}

const WEB: &[&str] = &["app-2", "--role", "web"];

#[test]
fn machines_that_can_not_be_servers_are_refused_with_the_reason() {
    check_refused("system=Darwin", WEB, "runs Darwin; servers run Linux");
    check_refused("machine=aarch64", WEB, "app-2 is aarch64, and this program is for x86_64");
    check_refused("machine=aarch64", WEB, "`--program FILE`");
    check_refused("sha256sum=no", WEB, "no `sha256sum`");
    check_refused("room_program=5000", WEB, "5.1 MB left for /usr/local/bin");
    check_refused("room_state=0", WEB, "0 B left for /var/lib/pando");
    check_refused("port_7421=nc", WEB, "port 7421 on app-2 is taken by `nc`");
    check_refused("port_7421=?", WEB, "taken by another program");
    check_refused("port_80=nginx", WEB, "port 80 on app-2 is taken by `nginx`");
    check_refused("", &["app-2", "--role", "web", "--private-ip", "10.0.0.3"], "its own are 10.0.0.2");
    check_refused("", &["main", "--role", "web"], "a server `main` in the cluster, on another machine");
    check_refused("host=_x_", &["10.0.0.2", "--role", "web"], "`--name app-2`");
    check_refused(
        "server=01890000-0000-7000-8000-0000000000ff",
        WEB,
        "another cluster, or was removed from this one",
    );
    check_refused(
        &format!("server={OWN}"),
        &["app-2", "--role", "web", "--name", "x"],
        "the server `app-9` of this cluster already",
    );
}

#[test]
fn an_engine_is_installed_where_none_answers() {
    let docker = &["app-2", "--role", "web", "--install-docker"];
    check_refused("packages=", docker, "no package manager on app-2 that Pando knows");
    check_refused("engine=podman", docker, "Podman answers at app-2's");
    let step = |differs: &str| engine::step(&facts(differs)).unwrap_or_default();
    assert_eq!(step(""), "install Docker's engine by apt-get, and start it");
    assert_eq!(step("engine=installed\npackages="), "start Docker's engine");
    assert_eq!(step("engine=answers"), "");
    for differs in ["engine=answers\npackages=", "engine=installed\npackages=", ""] {
        assert!(plan(&facts(differs), &args(docker), &Kind::X86_64, &servers()).is_ok(), "{differs}");
    }
    // Who doesn't ask for an engine may have whatever is there.
    assert!(plan(&facts("engine=podman"), &args(WEB), &Kind::X86_64, &servers()).is_ok());
}

#[test]
fn names_come_from_what_was_said_or_called_or_told() {
    let name = |differs: &str, words: &[&str]| {
        plan(&facts(differs), &args(words), &Kind::X86_64, &servers()).unwrap().name().to_string()
    };
    assert_eq!(name("", &["root@Web-3.example.com", "--role", "web"]), "web-3");
    assert_eq!(name("", &["root@10.0.0.2", "--role", "web"]), "app-2");
    assert_eq!(name("", &["10.0.0.2", "--role", "web", "--name", "x"]), "x");
    // A worker needs no port 80.
    assert_eq!(name("port_80=nginx", &["app-2", "--role", "worker"]), "app-2");
    // What is there already listens on its own port.
    assert_eq!(name(&format!("server={OWN}\nport_7421=pando\nport_80=pando"), WEB), "app-9");
}

#[test]
fn who_can_not_become_root_is_told_what_to_do() {
    let password = facts("root=password\nuser=ada").no_way_to_root("app-2").render(Paint::plain());
    assert!(
        password.contains("ada on app-2 becomes root only with a password") && password.contains("-l root")
    );
    let none = facts("root=none\nuser=ada").no_way_to_root("app-2").render(Paint::plain());
    assert!(none.contains("ada on app-2 can't become root"), "{none}");
    assert!(Facts::read("Last login: yesterday\n").is_err());
}

#[test]
fn what_ssh_says_becomes_a_sentence() {
    for (stderr, said) in [
        ("ada@app-2: Permission denied (publickey).", "app-2 does not let you in"),
        ("ssh: Could not resolve hostname app-2: Name or service not known", "there is no host `app-2`"),
        ("Host key verification failed.", "key is not the one that your ssh knows"),
        ("ssh: connect to host app-2 port 22: Connection refused", "answers, but not to SSH"),
        ("ssh: connect to host app-2 port 22: Connection timed out", "can't be reached over SSH"),
        ("kex_exchange_identification: banner line too long", "ssh to app-2 failed"),
    ] {
        let text = unreached("app-2", stderr).render(Paint::plain());
        assert!(text.contains(said) && text.contains(stderr), "{text}");
    }
}

#[test]
fn the_script_is_plain_posix_shell() {
    let checked = Command::new("shellcheck").args(["--shell=sh", SCRIPT]).output();
    // Not every machine has it; wherever it is, it is heeded.
    let checked = match checked {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Command::new("sh").args(["-n", SCRIPT]).output().unwrap()
        }
        Err(error) => panic!("{error}"),
    };
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

#[test]
fn the_script_tells_what_this_machine_is() {
    let output = Command::new("sh").args([SCRIPT, "probe"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let facts = Facts::read(&String::from_utf8(output.stdout).unwrap()).unwrap();
    assert_eq!((facts.system.as_str(), facts.machine.as_str()), ("Linux", std::env::consts::ARCH));
    assert!(
        facts.sha256sum && facts.room_state > 0 && facts.addresses.iter().any(|it| it.is_loopback()),
        "{facts:?}"
    );
    let odd = Command::new("sh").args([SCRIPT, "make-coffee"]).output().unwrap();
    assert_eq!(odd.status.code(), Some(70));
}

#[test]
fn the_script_sees_who_listens() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let function = std::fs::read_to_string(SCRIPT).unwrap();
    let from = function.find("listener() {").unwrap();
    let function = &function[from..from + function[from..].find("\n}\n").unwrap() + 3];
    let who = || {
        let line = format!("{function}\nlistener {port}");
        String::from_utf8(Command::new("sh").args(["-c", &line]).output().unwrap().stdout).unwrap()
    };
    assert!(!who().is_empty());
    drop(listener);
    assert_eq!(who(), "");
}

/// A directory that plays the machine, for the units that are there.
#[test]
fn the_units_are_ones_that_systemd_takes() {
    let dir = tempfile::tempdir().unwrap();
    let packaging = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging");
    for unit in ["pando.service", "pando-proxy.service", "pando-proxy.socket"] {
        let text = std::fs::read_to_string(format!("{packaging}/{unit}")).unwrap();
        // The program is looked for; here is one that every machine has.
        std::fs::write(dir.path().join(unit), text.replace("/usr/local/bin/pando", "/bin/true")).unwrap();
    }
    for unit in ["pando.service", "pando-proxy.service", "pando-proxy.socket"] {
        let mut verify = Command::new("systemd-analyze");
        let output = verify.args(["verify", "--man=no"]).arg(dir.path().join(unit)).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{unit}: {said}");
    }
    let service = std::fs::read_to_string(format!("{packaging}/pando.service")).unwrap();
    for line in ["KillMode=process", "Delegate=yes", "Restart=always"] {
        assert!(service.lines().any(|it| it == line), "{line}");
    }
}
