//! Somebody's own machine, which is no server: what is deployed is built and sent from there, and what goes out is counted.

use std::net::Ipv4Addr;
use std::process::{Command, Output};

use serde_json::Value;

use super::{Bed, must};
use crate::answer::told;

/// It stands on the bridge, has the project, and builds with the engine of the machine under the tests.
pub(crate) struct Desk {
    token: String,
    url: String,
    control: Ipv4Addr,
}

impl Bed {
    /// A desk that may administer the cluster.
    pub(crate) fn desk(&self) -> Desk {
        let token = self.ok(&["token", "create", "--scope", "admin"]).trim().to_owned();
        let context: Value =
            serde_json::from_str(&self.servers[0].sh("cat /var/lib/pando/context.json")).unwrap();
        let desk = Desk {
            token,
            url: context["url"].as_str().unwrap().to_owned(),
            control: self.servers[0].address(),
        };
        must("nft", &["add table ip desk"]);
        must("nft", &["add chain ip desk out { type filter hook output priority 0; }"]);
        must("nft", &[&format!("add rule ip desk out ip daddr {} tcp dport 7420 counter", desk.control)]);
        desk
    }

    /// What each server sent to others so far, in bytes, by the counter of its cable.
    pub(crate) fn sent_by(&self, server: &str) -> u64 {
        let port = &self.server(server).link.port;
        let told = Command::new("ip").args(["-s", "-j", "link", "show", "dev", port]).output().unwrap();
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        told[0]["stats64"]["rx"]["bytes"].as_u64().unwrap()
    }
}

impl Desk {
    /// `pando` in the project.
    pub(crate) fn command(&self, bed: &Bed, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pando"));
        command.args(args).current_dir(bed.project()).stdin(std::process::Stdio::null());
        command.env("NO_COLOR", "1").env("PANDO_TOKEN", &self.token).env("PANDO_CLUSTER_URL", &self.url);
        command
    }

    pub(crate) fn pando(&self, bed: &Bed, args: &[&str]) -> Output {
        self.command(bed, args).output().unwrap()
    }

    /// Insists on exit code 0; everything that it said.
    #[track_caller]
    pub(crate) fn ok(&self, bed: &Bed, args: &[&str]) -> String {
        let output = self.pando(bed, args);
        assert!(output.status.success(), "pando {args:?}: {}\n{}", told(&output), bed.logs());
        told(&output)
    }

    /// No more than so many megabytes a second go to the control plane.
    pub(crate) fn limit_sending(&self, megabytes: u32) {
        let to = format!("ip daddr {} tcp dport 7420", self.control);
        must(
            "nft",
            &[&format!("insert rule ip desk out {to} limit rate over {megabytes} mbytes/second drop")],
        );
    }

    /// Bytes that went from here to the control plane so far, with everything that the network adds.
    pub(crate) fn sent(&self) -> u64 {
        let told = Command::new("nft").args(["-j", "list", "chain", "ip", "desk", "out"]).output().unwrap();
        let told: Value = serde_json::from_slice(&told.stdout).unwrap();
        let mut all = told["nftables"].as_array().unwrap().iter();
        all.find_map(|one| {
            one["rule"]["expr"].as_array()?.iter().find_map(|it| it["counter"]["bytes"].as_u64())
        })
        .expect("a counter")
    }
}
