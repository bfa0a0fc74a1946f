//! Commands have the limits of their app, and nothing of them stays behind. Where this machine allows no cgroups, that is said.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pando_api::client::ExecStream;
use pando_api::v1::agents::{ExecLike, ExecStart};
use pando_model::name::AppName;
use pando_model::release::ReleaseNumber;
use pando_model::resources::Resources;
use pando_model::time::Millis;
use pando_runtime::{Place, RunKey, RunSpec, Runtime};
use uuid::Uuid;

use super::support::{Served, beside, is_alive, open, read, read_pid, until, until_gone};

const MEMORY: Resources = Resources { cpu_millis: None, memory_bytes: Some(32_000_000), pids: None };
const PIDS: Resources = Resources { cpu_millis: None, memory_bytes: None, pids: Some(20) };

fn key() -> RunKey {
    RunKey { id: Uuid::now_v7(), attempt: 0 }
}

fn one_off(resources: Resources, command: &str) -> ExecStart {
    let like = Some(ExecLike { resources, ..ExecLike::default() });
    ExecStart { replica: None, release: Some(ReleaseNumber(7)), like, ..beside(command) }
}

/// A server whose commands have limits. `None`: this machine allows none, which its warnings say.
async fn limited(replica: RunKey) -> Option<Served> {
    let served = Served::limited(replica).await;
    let whole = Resources { cpu_millis: Some(1000), ..PIDS };
    let whole = Resources { memory_bytes: MEMORY.memory_bytes, ..whole };
    let ended = read(&mut served.exec(&one_off(whole, "cat /proc/self/cgroup")).await).await;
    let warnings = served.runtime.as_ref().unwrap().warnings();
    assert_eq!(ended.out().contains("/pando/command-"), warnings.is_empty(), "{warnings:?}\n{}", ended.out());
    assert!(warnings.iter().all(|warning| warning.contains("limits are not enforced")), "{warnings:?}");
    warnings.is_empty().then_some(served)
}

/// The directories of a process's cgroups that are of Pando's making.
fn cgroups(pid: u32) -> Vec<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let paths =
        text.lines().filter_map(|line| line.splitn(3, ':').nth(2)).filter(|path| path.contains("/pando/"));
    let points: Vec<&str> = mounts
        .lines()
        .filter(|line| line.starts_with("cgroup"))
        .filter_map(|line| line.split(' ').nth(1))
        .collect();
    let all = paths.flat_map(|path| points.iter().map(move |point| Path::new(point).join(&path[1..])));
    all.filter(|directory| directory.is_dir()).collect()
}

async fn until_removed(served: &Served, directories: &[PathBuf]) {
    assert!(!directories.is_empty());
    until("its cgroups are removed", || directories.iter().all(|directory| !directory.exists())).await;
    let records = served.root.path().join("commands");
    until("nothing of it is on record", || std::fs::read_dir(&records).unwrap().next().is_none()).await;
}

/// One that left its session, its parent and its process group, and holds no stream: its pid.
async fn stray(running: &mut ExecStream) -> u32 {
    read_pid(running).await
}

const STRAY: &str =
    r#"(setsid sh -c 'trap "" TERM; echo $$; exec sleep 1000 > /dev/null 2>&1 < /dev/null' &)"#;

#[tokio::test]
async fn a_one_off_that_takes_too_much_memory_is_ended_and_told_why() {
    let Some(served) = limited(key()).await else { return };
    // Reads one endless line, which it has to keep.
    let ended = read(&mut served.exec(&one_off(MEMORY, "echo $$; exec tail /dev/zero")).await).await;
    let error = ended.end.error.unwrap_or_default();
    assert!(ended.end.code == 137 && error.contains("out of memory"), "{} {error}", ended.end.code);
    let survived = read(&mut served.exec(&one_off(MEMORY, "tail /dev/zero; exit 0")).await).await;
    assert_eq!((survived.end.code, survived.end.error), (0, None));
}

#[tokio::test]
async fn a_fork_bomb_stays_within_its_limit_and_is_ended_whole() {
    let Some(served) = limited(key()).await else { return };
    // A shell that can't fork ends; the first only reads.
    let bomb = "echo $$; exec 2> /dev/null; bomb() { bomb & bomb & exec sleep 1000; }; bomb & read line";
    let mut running = served.exec(&one_off(PIDS, bomb)).await;
    let pid = read_pid(&mut running).await;
    let directories = cgroups(pid);
    let other = one_off(PIDS, "true & wait; echo all well");
    assert_eq!(read(&mut served.exec(&other).await).await.out(), "all well\n");
    let pids = directories.iter().map(|directory| directory.join("pids.current")).find(|file| file.exists());
    let count = || std::fs::read_to_string(pids.as_ref().unwrap()).unwrap().trim().parse::<u32>().unwrap();
    until("it has as many processes as it may", || count() >= 15).await;
    assert!(count() <= 20, "{}", count());
    drop(running);
    until_removed(&served, &directories).await;
}

#[tokio::test]
async fn what_leaves_the_session_ends_with_the_command_or_its_caller() {
    let Some(served) = limited(key()).await else { return };
    // No limit: it has cgroups of its own all the same.
    for (resources, rest) in [(Resources::default(), "true"), (PIDS, "sleep 1000")] {
        let mut running = served.exec(&one_off(resources, &format!("{STRAY}; sleep 0.2; {rest}"))).await;
        let pid = stray(&mut running).await;
        let directories = cgroups(pid);
        if rest == "true" {
            assert_eq!(read(&mut running).await.end.code, 0);
            assert!(!is_alive(pid), "the end is told when all has ended");
        } else {
            drop(running);
        }
        until_gone(pid).await;
        until_removed(&served, &directories).await;
    }
}

#[tokio::test]
async fn two_at_once_have_cgroups_of_their_own() {
    let Some(served) = limited(key()).await else { return };
    let mut one = served.exec(&one_off(PIDS, "echo $$; exec cat")).await;
    let mut other = served.exec(&one_off(PIDS, "echo $$; exec cat")).await;
    let (first, second) = (read_pid(&mut one).await, read_pid(&mut other).await);
    let (its, others) = (cgroups(first), cgroups(second));
    assert!(its.iter().all(|directory| !others.contains(directory)), "{its:?} {others:?}");
    drop(one);
    until_gone(first).await;
    assert!(is_alive(second));
    drop(other);
    until_removed(&served, &[its, others].concat()).await;
}

#[tokio::test]
async fn beside_a_replica_its_limits_hold_and_its_end_is_the_command_s() {
    let replica = key();
    let Some(served) = limited(replica).await else { return };
    let runtime = served.runtime.as_ref().unwrap();
    let held = runtime.start(run(replica, served.root.path())).await.unwrap();
    let mut running = served.exec(&beside(&format!("{STRAY}; sleep 1000"))).await;
    let pid = stray(&mut running).await;
    assert_eq!(cgroups(pid), cgroups(held.pid.unwrap()));
    runtime.stop(replica, Millis::from_secs(5)).await.unwrap();
    until_gone(pid).await;
    read(&mut running).await;
    // The replica is not there: the command is on its own.
    let alone = served.run("cat /proc/self/cgroup").await.out();
    assert!(alone.contains("/pando/command-"), "{alone}");
}

fn run(key: RunKey, directory: &Path) -> RunSpec {
    RunSpec {
        key,
        app: AppName::new("shop").unwrap(),
        name: "web-1".to_owned(),
        command: "sleep 1000".to_owned(),
        place: Place::Directory(directory.to_owned()),
        env: BTreeMap::new(),
        user: None,
        resources: PIDS,
        port: None,
    }
}

#[tokio::test]
async fn what_a_crash_left_ends_with_the_next_start() {
    let Some(served) = limited(key()).await else { return };
    let mut running = served.exec(&one_off(PIDS, &format!("{STRAY}; exec sleep 1000"))).await;
    let pid = stray(&mut running).await;
    let directories = cgroups(pid);
    // As the next daemon on the same state directory, which knows nothing of what this one has begun.
    open(served.root.path()).adopt().await.unwrap();
    assert!(!is_alive(pid));
    until_removed(&served, &directories).await;
    assert_eq!(read(&mut running).await.end.code, 143);
}

#[tokio::test]
async fn what_an_app_says_of_the_environment_holds_for_its_command_alone() {
    let Some(served) = limited(key()).await else { return };
    let env = BTreeMap::from([("LD_PRELOAD".to_owned(), "/nonexistent.so".to_owned())]);
    let start = ExecStart { env, ..one_off(PIDS, "echo $LD_PRELOAD; env | grep -c PANDO_LEADS") };
    let ended = read(&mut served.exec(&start).await).await;
    assert_eq!(ended.out(), "/nonexistent.so\n0\n");
    // The shell, `env` and `grep`, and nobody who is root before them.
    let complaints = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(complaints.matches("cannot be preloaded").count(), 3, "{complaints}");
}
