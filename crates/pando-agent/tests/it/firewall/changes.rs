//! Rules that must prove themselves, and what becomes of them when something goes wrong at the worst moment.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::bed::{Agent, Bed, assign, bed, in_force, problem, rules, v4};
use crate::bench::until;
use crate::control::Control;

const SERVER: u8 = 2;
const OTHER: u8 = 3;
/// Open under the old rules, closed under the new ones.
const PORT: u16 = 5000;

fn old() -> pando_model::FirewallRules {
    rules(&["22", "5000", "7421 10.77.0.1"])
}

fn new() -> pando_model::FirewallRules {
    rules(&["22", "7421 10.77.0.1"])
}

fn is_old(bed: &Bed) -> bool {
    bed.table(SERVER).contains("proto-dst 5000")
}

fn is_new(bed: &Bed) -> bool {
    let table = bed.table(SERVER);
    table.contains("chain allowed") && !table.contains("proto-dst 5000")
}

fn place() -> SocketAddr {
    SocketAddr::new(v4(SERVER), PORT)
}

/// A server with the old rules in force and proved.
async fn begin() -> Option<(Bed, Control, Agent)> {
    let mut bed = bed(&[1, SERVER, OTHER])?;
    bed.listen(SERVER, &[PORT]);
    let control = bed.control(1);
    let agent = bed.agent(SERVER, &control);
    assign(&control, SERVER, 1, old());
    in_force(&control, SERVER, 1).await;
    assert!(bed.reaches(OTHER, place()));
    Some((bed, control, agent))
}

/// The new rules are in force, and the control plane answers nobody who asks afresh.
async fn cut_off(bed: &Bed, control: &Control) {
    control.stay_healthy_for(1);
    assign(control, SERVER, 2, new());
    until("the new rules", || is_new(bed)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_cut_the_control_plane_off_go_back_by_themselves() {
    let Some((bed, control, _agent)) = begin().await else { return };
    cut_off(&bed, &control).await;
    let began = Instant::now();
    assert!(!bed.reaches(OTHER, place()));
    let said = problem(&control, SERVER, "could not be reached afresh").await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(11), "{took:?}");
    println!("back after {took:?}: {said}");
    assert!(is_old(&bed) && bed.reaches(OTHER, place()));
    let last = control.reports().last().unwrap().report.firewall.clone().unwrap();
    assert!(!last.in_force, "{last:?}");
    // Once they have changed they are tried at once.
    control.stay_healthy_for(u64::MAX);
    assign(&control, SERVER, 3, rules(&["22", "7421 10.77.0.1", "80"]));
    let report = in_force(&control, SERVER, 3).await;
    assert_eq!(report.firewall.unwrap().problems, Vec::<String>::new());
    assert!(is_new(&bed) && !bed.reaches(OTHER, place()));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_control_plane_is_away_nothing_is_changed() {
    let Some((bed, control, _agent)) = begin().await else { return };
    control.stay_healthy_for(0);
    assign(&control, SERVER, 2, new());
    let said = problem(&control, SERVER, "can't be reached").await;
    println!("{said}");
    assert!(is_old(&bed));
    control.stay_healthy_for(u64::MAX);
    in_force(&control, SERVER, 2).await;
    assert!(is_new(&bed));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_killed_in_between_leaves_the_old_rules() {
    let Some((bed, control, agent)) = begin().await else { return };
    cut_off(&bed, &control).await;
    drop(agent);
    let began = Instant::now();
    until("the old rules", || is_old(&bed)).await;
    println!("back {:?} after the agent was killed", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(5) && bed.reaches(OTHER, place()));
    // The next agent tries again.
    control.stay_healthy_for(u64::MAX);
    let _agent = bed.agent(SERVER, &control);
    in_force(&control, SERVER, 2).await;
    assert!(is_new(&bed));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_hangs_leaves_the_old_rules() {
    let Some((bed, control, agent)) = begin().await else { return };
    cut_off(&bed, &control).await;
    let began = Instant::now();
    let pid = Pid::from_child(&agent.0);
    kill_process(pid, Signal::STOP).unwrap();
    until("the old rules", || is_old(&bed)).await;
    println!("back {:?} after the agent stopped moving", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(11));
    kill_process(pid, Signal::CONT).unwrap();
    problem(&control, SERVER, "could not be reached afresh").await;
}

/// The guard and what it started: they alone have its directory in their environment.
fn guard(bed: &Bed) -> Vec<Pid> {
    let mark = format!("DIRECTORY={}/firewall\0", bed.state_dir(SERVER).display());
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let marked = pids.filter(|pid| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.windows(mark.len()).any(|window| window == mark.as_bytes())
    });
    marked.filter_map(Pid::from_raw).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_guard_is_killed_too_the_next_agent_goes_back_before_anything_else() {
    let Some((bed, control, agent)) = begin().await else { return };
    cut_off(&bed, &control).await;
    let guard = guard(&bed);
    assert!(!guard.is_empty());
    // The first of them waits for the others; it must not see them end.
    for pid in guard {
        kill_process(pid, Signal::KILL).unwrap();
    }
    drop(agent);
    assert!(is_new(&bed), "nobody is left to go back");
    control.stay_healthy_for(0);
    let _agent = bed.agent(SERVER, &control);
    until("the old rules", || is_old(&bed)).await;
    problem(&control, SERVER, "can't be reached").await;
    assert!(is_old(&bed));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_flushes_comes_back_also_without_a_control_plane() {
    let Some((bed, control, agent)) = begin().await else { return };
    control.stay_healthy_for(0);
    bed.run(SERVER, "nft", &["flush", "ruleset"]);
    until("the rules again", || is_old(&bed)).await;
    // After a reboot nothing is left of it in the kernel, and the control plane may be away for long.
    drop(agent);
    bed.run(SERVER, "nft", &["flush", "ruleset"]);
    control.go_away().await;
    let _agent = bed.agent(SERVER, &control);
    until("the rules after a reboot", || is_old(&bed)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_that_nft_does_not_take_change_nothing_and_it_is_said_so() {
    let Some((bed, control, _agent)) = begin().await else { return };
    let mut impossible = new();
    impossible.rules[0].ports = (5, 3);
    assign(&control, SERVER, 2, impossible);
    let said = problem(&control, SERVER, "nft refuses the rules").await;
    println!("{said}");
    assert!(is_old(&bed) && bed.reaches(OTHER, place()));
}
