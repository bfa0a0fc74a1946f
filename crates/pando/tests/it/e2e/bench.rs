//! What is small and quick stays so: bounds far from any machine's noise. Exact figures: `script/bench`.

use std::fs;

use super::bed::{Bed, Settings};

/// Resident memory that is the process's own, in kilobytes.
fn resident_kb(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
fn e2e_idle_processes_are_small() {
    let bed = Bed::up(Settings { replicas: 1, ..Settings::default() });
    bed.wait_until_settled(1);
    let (daemon, proxy) = (resident_kb(bed.daemon_pid()), resident_kb(bed.proxy_pid()));
    println!("resident: daemon {daemon} KB, proxy {proxy} KB");
    // Debug builds are larger than releases, for which the aims are 40 and 15 MB.
    assert!(daemon < 80_000, "daemon: {daemon} KB");
    assert!(proxy < 40_000, "proxy: {proxy} KB");
}
