//! Servers as network namespaces: server `n` is 10.77.0.n and fd77::n, all on one bridge in a namespace of its own.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use pando_model::assignment::Assignment;
use pando_model::firewall::{FirewallRule, FirewallRules, Ports, Sources};
use pando_model::id::{ServerId, Version};
use pando_model::observed::AgentReport;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;
use uuid::Uuid;

use crate::control::Control;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_agent-test");

/// Namespaces, and what was started in them. All of it ends with the bed.
pub(crate) struct Bed {
    name: String,
    servers: BTreeSet<u8>,
    children: Vec<Child>,
    pub(crate) directory: TempDir,
}

/// In the tests' own network nothing may be changed. `None`, and a word on it, where it was said that this is known.
pub(crate) fn bed(servers: &[u8]) -> Option<Bed> {
    let root = rustix::process::geteuid().is_root();
    let has =
        |program: &str| Command::new(program).arg("-V").output().is_ok_and(|output| output.status.success());
    let lacking = match (root, has("ip"), has("nft")) {
        (true, true, true) => return Some(Bed::new(servers)),
        (false, ..) => "this test makes network namespaces, for which it must run as root",
        (_, false, _) => "this test needs `ip`: apt-get install iproute2",
        _ => "this test needs `nft`: apt-get install nftables",
    };
    let known = std::env::var("PANDO_TEST_UNPRIVILEGED").is_ok_and(|value| value == "1");
    assert!(known, "{lacking}; PANDO_TEST_UNPRIVILEGED=1 does without it");
    eprintln!("not tried: {lacking}");
    None
}

pub(crate) fn id(n: u8) -> ServerId {
    ServerId::from_uuid(Uuid::from_u128(u128::from(n)))
}

pub(crate) fn v4(n: u8) -> IpAddr {
    Ipv4Addr::new(10, 77, 0, n).into()
}

pub(crate) fn v6(n: u8) -> IpAddr {
    Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(n)).into()
}

impl Bed {
    fn new(servers: &[u8]) -> Self {
        static BEDS: AtomicU32 = AtomicU32::new(0);
        let name = format!("pt{:x}-{}", std::process::id(), BEDS.fetch_add(1, Ordering::Relaxed));
        let directory = tempfile::tempdir().unwrap();
        let mut bed = Self { name, servers: BTreeSet::new(), children: Vec::new(), directory };
        ip(&["netns", "add", &bed.name]);
        bed.ip_at_switch("link add br0 type bridge");
        bed.ip_at_switch("link set br0 up");
        for server in servers {
            bed.add(*server);
        }
        bed
    }

    fn add(&mut self, n: u8) {
        let (namespace, port) = (self.namespace(n), format!("p{n}"));
        add_namespace(&namespace);
        self.servers.insert(n);
        self.ip_at_switch(&format!("link add {port} type veth peer name eth0 netns {namespace}"));
        self.ip_at_switch(&format!("link set {port} master br0 up"));
        self.ip(n, "link set lo up");
        self.ip(n, &format!("addr add {}/24 dev eth0", v4(n)));
        self.ip(n, &format!("addr add {}/64 dev eth0", v6(n)));
        self.ip(n, "link set eth0 up");
        std::fs::create_dir(self.state_dir(n)).unwrap();
    }

    pub(crate) fn namespace(&self, n: u8) -> String {
        format!("{}-{n}", self.name)
    }

    pub(crate) fn state_dir(&self, n: u8) -> PathBuf {
        self.directory.path().join(n.to_string())
    }

    fn ip_at_switch(&self, words: &str) {
        let words: Vec<&str> = words.split(' ').collect();
        ip(&[&["-n", &self.name], words.as_slice()].concat());
    }

    pub(crate) fn ip(&self, n: u8, words: &str) {
        let (namespace, words) = (self.namespace(n), words.split(' ').collect::<Vec<&str>>());
        ip(&[&["-n", &namespace], words.as_slice()].concat());
    }

    /// A namespace beside the servers', which goes with them.
    pub(crate) fn inner_namespace(&self, n: u8, name: &str) -> String {
        let namespace = format!("{}-{name}", self.namespace(n));
        add_namespace(&namespace);
        namespace
    }

    /// A command on server `n`.
    pub(crate) fn command(&self, n: u8, program: &str, args: &[&str]) -> Command {
        command_in(&self.namespace(n), program, args)
    }

    /// What it prints; it must end well.
    pub(crate) fn run(&self, n: u8, program: &str, args: &[&str]) -> String {
        done(&mut self.command(n, program, args))
    }

    pub(crate) fn keep(&mut self, child: Child) {
        self.children.push(child);
    }

    /// A program that says when it begins, and runs until the end.
    pub(crate) fn listen(&mut self, n: u8, ports: &[u16]) {
        let namespace = self.namespace(n);
        self.listen_in(&namespace, ports);
    }

    pub(crate) fn listen_in(&mut self, namespace: &str, ports: &[u16]) {
        let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
        let words: Vec<&str> = std::iter::once("listen").chain(ports.iter().map(String::as_str)).collect();
        let mut child = command_in(namespace, PROGRAM, &words).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        self.keep(child);
        assert_eq!(line, "listening\n");
    }

    /// Which of the places server `n` reaches.
    pub(crate) fn knock(&self, n: u8, places: &[SocketAddr]) -> BTreeSet<SocketAddr> {
        knock_from(&self.namespace(n), places)
    }

    /// Whether server `from` reaches this place.
    pub(crate) fn reaches(&self, from: u8, place: SocketAddr) -> bool {
        self.knock(from, &[place]).contains(&place)
    }

    /// A control plane on server `n`.
    pub(crate) fn control(&self, n: u8) -> Control {
        Control::start_on(bind_in(self.namespace(n), SocketAddr::new(v4(n), 7420)))
    }

    /// An agent on server `n` that keeps its packet filter.
    pub(crate) fn agent(&self, n: u8, control: &Control) -> Agent {
        let (id, state_dir) = (id(n).to_string(), self.state_dir(n));
        let (control, address) = (control.address().to_string(), v4(n).to_string());
        let words = ["filter", &id, state_dir.to_str().unwrap(), &control, &address];
        Agent(self.command(n, PROGRAM, &words).stdin(Stdio::null()).spawn().unwrap())
    }

    /// Our table on server `n`, or nothing.
    pub(crate) fn table(&self, n: u8) -> String {
        let output = self.command(n, "nft", &["list", "table", "inet", "pando"]).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        let listed = Command::new("ip").args(["netns", "list"]).output().unwrap();
        let names = String::from_utf8_lossy(&listed.stdout).into_owned();
        let own = names.lines().filter_map(|line| line.split(' ').next());
        for name in own.filter(|name| *name == self.name || name.starts_with(&format!("{}-", self.name))) {
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

/// Killed without a word when it is dropped.
pub(crate) struct Agent(pub(crate) Child);

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn command_in(namespace: &str, program: &str, args: &[&str]) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace, program]).args(args);
    command
}

pub(crate) fn knock_from(namespace: &str, places: &[SocketAddr]) -> BTreeSet<SocketAddr> {
    let texts: Vec<String> = places.iter().map(SocketAddr::to_string).collect();
    let words: Vec<&str> = std::iter::once("knock").chain(texts.iter().map(String::as_str)).collect();
    let said = done(&mut command_in(namespace, PROGRAM, &words));
    said.lines().map(|line| line.parse().unwrap()).collect()
}

/// Its IPv6 addresses are used at once: that nobody else has them is known here.
fn add_namespace(name: &str) {
    ip(&["netns", "add", name]);
    for interfaces in ["all", "default"] {
        set(name, &format!("net/ipv6/conf/{interfaces}/accept_dad"), "0");
    }
}

/// A setting of the kernel, for one network.
pub(crate) fn set(namespace: &str, name: &str, value: &str) {
    done(&mut command_in(namespace, "sh", &["-c", &format!("echo {value} > /proc/sys/{name}")]));
}

fn ip(words: &[&str]) {
    done(Command::new("ip").args(words));
}

pub(crate) fn done(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{command:?}: {status}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// A socket stays in the network that it was made in.
fn bind_in(namespace: String, address: SocketAddr) -> TcpListener {
    let thread = std::thread::spawn(move || {
        let namespace = std::fs::File::open(format!("/run/netns/{namespace}")).unwrap();
        move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network))
            .unwrap();
        TcpListener::bind(address).unwrap()
    });
    thread.join().unwrap()
}

/// TCP ports and who may come, as `5000 10.77.0.3`; without an address, everybody.
pub(crate) fn rules(lines: &[&str]) -> FirewallRules {
    let rule = |line: &&str| {
        let mut words = line.split(' ');
        let ports: Ports = words.next().unwrap().parse().unwrap();
        let from: BTreeSet<_> = words.map(|range| range.parse().unwrap()).collect();
        let from = if from.is_empty() { Sources::Anywhere } else { Sources::Of(from.into()) };
        let why = "for a test".to_owned();
        FirewallRule { ports: (ports.first, ports.last), protocol: ports.protocol, from, why }
    };
    FirewallRules { enforced: true, cut_sessions: false, rules: lines.iter().map(rule).collect() }
}

pub(crate) fn assign(control: &Control, n: u8, revision: u64, rules: FirewallRules) {
    let version = Version::new(1, revision);
    control.assign(Assignment { version, firewall: Some(rules), ..Assignment::empty(id(n)) });
}

/// The rules of that assignment, or of a later one, are in force.
pub(crate) async fn in_force(control: &Control, n: u8, revision: u64) -> AgentReport {
    let holds = |report: &AgentReport| {
        let in_force = report.firewall.as_ref().is_some_and(|status| status.in_force);
        report.assignment >= Version::new(1, revision) && in_force
    };
    control.until_of("rules in force", |server| server == id(n), holds).await.report
}

/// A problem with a word in it was reported.
pub(crate) async fn problem(control: &Control, n: u8, word: &str) -> String {
    let find = |report: &AgentReport| {
        let problems = report.firewall.iter().flat_map(|status| &status.problems);
        problems.into_iter().find(|problem| problem.contains(word)).cloned()
    };
    let report =
        control.until_of(word, |server| server == id(n), |report| find(report).is_some()).await.report;
    find(&report).unwrap()
}
