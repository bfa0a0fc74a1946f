//! Nothing of a run is lost, doubled or left behind when somebody is killed.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use pando_model::time::Millis;
use pando_runtime::{RunKey, RunSpec, Runtime};

use crate::support::{Fixture, SHIM, is_running, kill, open, spec, until, written};

/// A daemon of its own, which starts the run; its pid comes on its stdout.
fn daemon(state_dir: &Path, spec: &RunSpec) -> Child {
    let mut daemon = Command::new(SHIM)
        .args(["daemon", state_dir.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    daemon.stdin.take().unwrap().write_all(&serde_json::to_vec(spec).unwrap()).unwrap();
    daemon
}

#[tokio::test]
async fn a_daemon_killed_at_any_moment_of_a_start_starts_it_at_most_once() {
    let mut fixture = Fixture::new();
    let mut found_running = 0;
    for step in 0..40 {
        let starts = fixture.root.path().join(format!("starts-{step}"));
        let spec = spec(&format!("echo one >> {}; sleep 1000", starts.display()));
        let mut daemon = daemon(fixture.root.path(), &spec);
        std::thread::sleep(Duration::from_micros(step * 150));
        kill(daemon.id());
        daemon.wait().unwrap();
        let adopted = fixture.runtime.adopt().await.unwrap();
        let adopted = adopted.iter().find(|held| held.spec.key == spec.key).cloned();
        assert!(adopted.iter().all(|held| held.exit.is_none()), "{adopted:?}");
        found_running += u64::from(adopted.is_some());
        let held = fixture.start(&spec).await;
        assert!(adopted.is_none_or(|adopted| adopted == held));
        written(&starts).await;
        fixture.stop(spec.key, Millis::ZERO).await;
        fixture.ended(spec.key).await;
        assert_eq!(std::fs::read_to_string(&starts).unwrap(), "one\n", "step {step}");
    }
    println!("{found_running} of 40 were running already");
}

#[tokio::test]
async fn a_killed_daemon_leaves_the_run_and_the_next_one_adopts_it() {
    let mut fixture = Fixture::new();
    let file = fixture.root.path().join("orders");
    std::fs::write(&file, "").unwrap();
    let app = format!("echo hello; tail -f {} & wait", file.display());
    let spec = spec(&app);
    let mut daemon = daemon(fixture.root.path(), &spec);
    let mut line = String::new();
    BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let pid: u32 = line.trim().parse().unwrap();
    kill(daemon.id());
    daemon.wait().unwrap();

    // Nobody looks, and it goes on: also its output.
    std::fs::write(&file, "said while nobody looked\n").unwrap();
    let held = fixture.runtime.adopt().await.unwrap();
    assert_eq!((held.len(), held[0].pid, &held[0].spec), (1, Some(pid), &spec));
    assert!(is_running(pid));
    let log = fixture.root.path().join("logs/shop/web-1.log");
    until("its output is kept", || std::fs::read_to_string(&log).unwrap().contains("while nobody looked"))
        .await;
    fixture.stop(spec.key, Millis::from_secs(60)).await;
    let exit = fixture.ended(spec.key).await;
    assert_eq!(
        (exit.signal, exit.last_lines),
        (Some(15), vec!["hello".to_owned(), "said while nobody looked".to_owned()])
    );
}

#[tokio::test]
async fn a_stop_goes_on_without_the_daemon() {
    let mut fixture = Fixture::new();
    let held = fixture.run("trap '' TERM; echo up; while true; do sleep 1000; done").await;
    let log = fixture.root.path().join("logs/shop/web-1.log");
    until("it ignores SIGTERM", || std::fs::read_to_string(&log).unwrap().contains(" up")).await;
    fixture.stop(held.spec.key, Millis(300)).await;
    assert!(fixture.runtime.close(crate::support::PATIENCE).await);
    until("the shim killed it by itself", || !is_running(held.pid.unwrap())).await;
    fixture.reopen().await;
    let status = fixture.dir(held.spec.key).join("status.json");
    until("the end is on record", || std::fs::read_to_string(&status).unwrap().contains("\"signal\":9"))
        .await;
    let found = fixture.runtime.adopt().await.unwrap();
    assert_eq!(found[0].exit.as_ref().unwrap().signal, Some(9));
    let remarks = fixture.remarks("web-1").await;
    assert_eq!(remarks[1], "stopping: SIGTERM now, SIGKILL after 300 ms");
    assert_eq!(remarks[2], "ended by SIGKILL, for it did not end in time");
}

#[tokio::test]
async fn a_killed_shim_is_noticed_and_what_it_held_is_ended() {
    let mut fixture = Fixture::new();
    let file = fixture.root.path().join("pid");
    let app =
        format!("echo before; trap '' TERM; (sleep 1000 & echo $! > {}); sleep 1001; true", file.display());
    let held = fixture.run(&app).await;
    let orphan: u32 = written(&file).await.parse().unwrap();
    let log = fixture.root.path().join("logs/shop/web-1.log");
    until("its output is kept", || std::fs::read_to_string(&log).unwrap().contains("before")).await;
    kill(fixture.shim_pid(held.spec.key));
    let exit = fixture.ended(held.spec.key).await;
    assert_eq!((exit.code, exit.signal, exit.out_of_memory), (None, None, false));
    assert_eq!(exit.last_lines, ["before"]);
    assert!(!is_running(held.pid.unwrap()) && !is_running(orphan));
    let remarks = fixture.remarks("web-1").await;
    assert_eq!(remarks[1], "ended, and nobody saw how: its shim was killed, and it was ended too");
    // On record, too: the next daemon says the same.
    fixture.reopen().await;
    assert_eq!(fixture.runtime.adopt().await.unwrap()[0].exit, Some(exit));
}

#[tokio::test]
async fn a_shim_killed_while_nobody_looked_is_found_dead() {
    let mut fixture = Fixture::new();
    let held = fixture.run("sleep 1000").await;
    assert!(fixture.runtime.close(crate::support::PATIENCE).await);
    let shim = fixture.shim_pid(held.spec.key);
    kill(shim);
    let lock = std::fs::File::open(fixture.dir(held.spec.key).join("lock")).unwrap();
    until("the shim is gone", || lock.try_lock().is_ok()).await;
    drop(lock);
    assert!(is_running(held.pid.unwrap()));
    fixture.reopen().await;
    let found = fixture.runtime.adopt().await.unwrap();
    assert_eq!((found.len(), found[0].exit.as_ref().unwrap().code), (1, None));
    assert!(!is_running(held.pid.unwrap()));
    assert!(fixture.events.try_recv().is_err());
}

#[tokio::test]
async fn a_signal_to_the_shim_is_passed_on() {
    let mut fixture = Fixture::new();
    let held = fixture.run("trap 'exit 5' TERM; echo up; while true; do sleep 0.05; done").await;
    let log = fixture.root.path().join("logs/shop/web-1.log");
    until("it handles SIGTERM", || std::fs::read_to_string(&log).unwrap().contains(" up")).await;
    let shim = fixture.shim_pid(held.spec.key).try_into().unwrap();
    let shim = rustix::process::Pid::from_raw(shim).unwrap();
    for signal in [rustix::process::Signal::HUP, rustix::process::Signal::INT, rustix::process::Signal::TERM]
    {
        rustix::process::kill_process(shim, signal).unwrap();
    }
    assert_eq!(fixture.ended(held.spec.key).await.code, Some(5));
}

#[tokio::test]
async fn what_was_cut_short_before_its_shim_began_is_cleaned_up() {
    let fixture = Fixture::new();
    let held = fixture.run("true").await;
    let spec_of = |key: RunKey| serde_json::to_string(&key).unwrap();
    let whole = std::fs::read_to_string(fixture.dir(held.spec.key).join("spec.json")).unwrap();
    let keys: Vec<RunKey> = (0..3).map(|_| spec("").key).collect();
    let half_removed = fixture.root.path().join("runs/.gone-x");
    std::fs::create_dir(&half_removed).unwrap();
    std::fs::write(half_removed.join("spec.json"), &whole).unwrap();
    for key in &keys {
        std::fs::create_dir(fixture.dir(*key)).unwrap();
    }
    // One without a spec, one with half of one, one whole whose shim never came.
    std::fs::write(fixture.dir(keys[1]).join("spec.json"), &whole[..whole.len() / 2]).unwrap();
    let third = whole.replace(&held.spec.key.id.to_string(), &keys[2].id.to_string());
    assert!(third.contains(&spec_of(keys[2])));
    std::fs::write(fixture.dir(keys[2]).join("spec.json"), third).unwrap();
    let (runtime, _events) = open(fixture.root.path());
    let found: Vec<RunKey> = runtime.adopt().await.unwrap().iter().map(|held| held.spec.key).collect();
    assert_eq!(found, [held.spec.key]);
    assert!(keys.iter().all(|key| !fixture.dir(*key).exists()) && !half_removed.exists());
    // A shim that comes late finds nothing to start.
    let late = Command::new(SHIM).args(["run", "--dir"]).arg(fixture.dir(keys[2])).output().unwrap();
    assert!(!late.status.success() && late.stdout.starts_with(b"{\"refused\""));
    // They never ran, so that they may yet.
    let again = RunSpec { key: keys[2], ..spec("true") };
    assert!(runtime.start(again).await.unwrap().pid.is_some());
}

#[tokio::test]
async fn what_may_have_run_before_the_machine_restarted_is_reported_ended() {
    let mut fixture = Fixture::new();
    let held = fixture.run("true").await;
    fixture.ended(held.spec.key).await;
    assert!(fixture.runtime.close(crate::support::PATIENCE).await);
    // As after a power cut in another start of the machine: the spec was synced, the status was not.
    let path = fixture.dir(held.spec.key).join("spec.json");
    let mut launch: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    launch["boot"] = "00000000-0000-0000-0000-000000000000".into();
    std::fs::write(&path, serde_json::to_vec(&launch).unwrap()).unwrap();
    std::fs::remove_file(fixture.dir(held.spec.key).join("status.json")).unwrap();
    fixture.reopen().await;
    let found = fixture.runtime.adopt().await.unwrap();
    let exit = found[0].exit.as_ref().unwrap();
    assert_eq!((exit.code, exit.signal), (None, None));
    assert_eq!(
        fixture.remarks("web-1").await.last().unwrap(),
        "ended, and nobody saw how: the machine restarted"
    );
    // A command that may run once is not run again.
    assert!(fixture.start(&held.spec).await.exit.is_some());
}

#[tokio::test]
async fn a_second_shim_for_a_run_starts_nothing() {
    let mut fixture = Fixture::new();
    let file = fixture.root.path().join("starts");
    let held = fixture.run(&format!("echo once >> {}; exit 0", file.display())).await;
    fixture.ended(held.spec.key).await;
    let second = Command::new(SHIM).args(["run", "--dir"]).arg(fixture.dir(held.spec.key)).output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&second.stdout).trim(),
        r#"{"refused":{"why":"it was started, or given up, before"}}"#
    );
    assert_eq!(std::fs::read_to_string(file).unwrap(), "once\n");
}

#[tokio::test]
async fn damage_to_one_run_does_not_hide_the_others() {
    let mut fixture = Fixture::new();
    let good = fixture.run("sleep 1000").await;
    let bad = fixture.run("sleep 1000").await;
    assert!(fixture.runtime.close(crate::support::PATIENCE).await);
    let spec = fixture.dir(bad.spec.key).join("spec.json");
    let whole = std::fs::read(&spec).unwrap();
    std::fs::write(&spec, "{}").unwrap();
    fixture.reopen().await;
    assert_eq!(fixture.runtime.adopt().await.unwrap(), std::slice::from_ref(&good));
    std::fs::write(&spec, whole).unwrap();
    assert_eq!(fixture.runtime.adopt().await.unwrap().len(), 2);
    for held in [good, bad] {
        fixture.stop(held.spec.key, Millis::ZERO).await;
        fixture.ended(held.spec.key).await;
    }
}
