//! The bed itself: what the stories stand on.

use std::fs::{self, File};
use std::os::fd::AsFd as _;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::bed::{Bed, must};

#[test]
fn cluster_servers_of_the_bed_have_their_own_network_disks_and_processes() {
    let mut bed = Bed::of(&["main", "app-2"]);
    let (main, other) = (bed.server("main").address(), bed.server("app-2").address());
    bed.server("main").sh(&format!("ping -c 1 -W 2 {other}"));
    bed.server("main")
        .sh("echo mine > /var/lib/pando/x; echo mine > /etc/pando-bed; useradd --system bed-user");
    bed.server("app-2").sh("test ! -e /var/lib/pando/x && test ! -e /etc/pando-bed && ! id bed-user");
    assert_eq!(bed.server("app-2").sh("ls /proc | grep -c '^[0-9]'").trim().parse::<u32>().unwrap() / 10, 0);

    bed.server("app-2").cut_off_from(&[main]);
    bed.server("main").sh(&format!("! ping -c 1 -W 1 {other}"));
    bed.server("app-2").heal();
    bed.server("main").sh(&format!("ping -c 1 -W 2 {other}"));

    bed.server("main").fill_disk(64);
    bed.server("main").sh("! fallocate -l 1M /var/lib/pando/y");
    bed.server("main").free_disk();
    bed.server_mut("main").power_off();
    bed.server("app-2").sh(&format!("! ping -c 1 -W 1 {main}"));
    bed.server_mut("main").power_on();
    bed.server("main").sh("grep -q mine /var/lib/pando/x && grep -q mine /etc/pando-bed && id bed-user");
}

/// As beside a container engine that keeps its rules: nothing is forwarded, not even what only crosses a bridge.
#[test]
fn cluster_the_bed_stands_beside_a_firewall_that_forwards_nothing() {
    let machine = Machine::that_forwards_nothing();
    let bed = Bed::of(&["main", "app-2"]);
    bed.server("main").sh(&format!("ping -c 1 -W 2 {}", bed.server("app-2").address()));
    drop(bed);
    drop(machine);
}

/// What the bed takes for the machine: a network namespace with rules of its own.
struct Machine(String);

impl Machine {
    fn that_forwards_nothing() -> Self {
        let machine = Self(format!("pm{:x}", std::process::id()));
        must("ip", &["netns", "add", &machine.0]);
        let namespace = File::open(format!("/run/netns/{}", machine.0)).unwrap();
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
        must(
            "nft",
            &[
                "add table ip filter; add chain ip filter forward { type filter hook forward priority 0; policy drop; }",
            ],
        );
        let bridged = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        // Without that module no machine has such rules for bridges.
        if fs::exists(bridged).unwrap() {
            must("sh", &["-c", &format!("echo 1 > {bridged}")]);
        }
        machine
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = std::process::Command::new("ip").args(["netns", "del", &self.0]).output();
    }
}
