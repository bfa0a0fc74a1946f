//! Servers as network namespaces on a bridge, each with its own addresses, firewall, processes and disks.
//!
//! A server is a namespace whose first process waits and reaps; `/etc`, `/var/lib/pando`
//! and `/run` are its own. The bridge has an address of the test's own thread, which sends
//! load from there. Needs root; everything is taken down when a [`Bed`] is dropped.

pub(crate) mod app;
pub(crate) mod cluster;
pub(crate) mod desk;
pub(crate) mod engine;
pub(crate) mod network;
pub(crate) mod ports;
pub(crate) mod registry;
pub(crate) mod running;
pub(crate) mod server;
pub(crate) mod tls;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use network::Network;
use server::{Kind, PLAIN, Server};

use crate::answer::{told, wait_for_answer};

/// A cluster of servers, and a project that is deployed to it.
pub(crate) struct Bed {
    pub(crate) servers: Vec<Server>,
    /// Dropped after the servers.
    network: Network,
    dir: TempDir,
}

/// Roles of the first server of a cluster.
pub(crate) const EVERYTHING: &[&str] = &["web", "worker", "cron", "db", "cache", "control"];

impl Bed {
    /// Servers that are up and belong to nobody. They are reached by the names given.
    pub(crate) fn of(names: &[&str]) -> Self {
        Self::of_kind(names, PLAIN)
    }

    pub(crate) fn of_kind(names: &[&str], kind: Kind) -> Self {
        check_rights();
        let dir = tempfile::Builder::new().prefix("pando-bed-").tempdir().unwrap();
        let mut bed = Self { servers: Vec::new(), network: Network::up(), dir };
        for name in names {
            bed.add_kind(name, kind);
        }
        bed
    }

    /// One more.
    pub(crate) fn add(&mut self, name: &str) -> &Server {
        self.add_kind(name, PLAIN);
        self.server(name)
    }

    pub(crate) fn add_kind(&mut self, name: &str, kind: Kind) {
        let disk = self.path(&format!("disks/{name}"));
        let link = self.network.attach(name);
        self.servers.push(Server::boot(name, link, &disk, kind));
    }

    pub(crate) fn server(&self, name: &str) -> &Server {
        self.servers.iter().find(|server| server.name == name).unwrap()
    }

    pub(crate) fn server_mut(&mut self, name: &str) -> &mut Server {
        self.servers.iter_mut().find(|server| server.name == name).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Where `pando.yaml` lies.
    pub(crate) fn project(&self) -> PathBuf {
        let project = self.path("project");
        fs::create_dir_all(project.join("bin")).unwrap();
        project
    }

    /// `pando` on the first server, in the project.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = self.servers[0].command(Path::new(env!("CARGO_BIN_EXE_pando")), &self.project());
        command.args(args).env("NO_COLOR", "1");
        command.env_remove("PANDO_CLUSTER_URL").env_remove("PANDO_TOKEN");
        command
    }

    pub(crate) fn pando(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Insists on exit code 0; what it printed to stdout.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.pando(args);
        assert!(output.status.success(), "pando {args:?}: {}\n{}", told(&output), self.logs());
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.push("--json");
        serde_json::from_str(&self.ok(&args)).unwrap()
    }

    /// Asks again and again until the answer is as wanted.
    #[track_caller]
    pub(crate) fn wait_for(
        &self,
        args: &[&str],
        what: &str,
        seconds: u64,
        wanted: impl Fn(&Value) -> bool,
    ) -> Value {
        let mut args = args.to_vec();
        args.push("--json");
        wait_for_answer(what, seconds, || self.pando(&args), || self.logs(), wanted)
    }

    /// What each server's daemon said last.
    pub(crate) fn logs(&self) -> String {
        let of = |server: &Server| format!("--- {}\n{}\n", server.name, server.daemon_log());
        self.servers.iter().map(of).collect()
    }
}

fn check_rights() {
    if rustix::process::geteuid().is_root() {
        return;
    }
    let known = std::env::var("PANDO_TEST_UNPRIVILEGED").is_ok_and(|value| value == "1");
    let remedy = match known {
        false => "run it as root, as script/test does, or set PANDO_TEST_UNPRIVILEGED=1 to do without it",
        true => {
            "script/test leaves it out, for PANDO_TEST_UNPRIVILEGED=1; by hand: `-E 'not test(/^cluster::/)'`"
        }
    };
    panic!("this test makes network namespaces, for which it must run as root: {remedy}");
}

/// Runs a program of the test bed itself, which must succeed.
pub(crate) fn must(program: &str, args: &[&str]) {
    let output = Command::new(program).args(args).output().unwrap();
    assert!(output.status.success(), "{program} {args:?}: {}", told(&output));
}
