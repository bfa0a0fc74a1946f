//! `pando proxy` takes its own place: by hand in two shells, by its own doing as `systemctl reload` asks for it, and not at all when the
//! new one is no good.

mod crowd;
mod load;
mod stage;

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use load::Load;
use stage::{Stage, rest, until};

/// Two shells: the second one says `--upgrade`.
#[test]
fn five_upgrades_by_hand_fail_nothing() {
    let stage = Stage::new();
    let mut serving = stage.start(&[]);
    stage.wait_until_served();
    let load = Load::start(stage.address, 40);
    for _ in 0..5 {
        load.wait_for_requests(200);
        let next = stage.start(&["--upgrade"]);
        // The WebSockets of its clients keep it alive.
        stage.wait_for_log(&serving, "a successor serves");
        assert!(serving.is_running(), "{}", serving.log());
        serving = next;
    }
    load.wait_for_requests(200);
    let tally = load.stop();
    println!("5 upgrades by hand: {tally:?}, 0 failed");
    assert!(tally.moved >= 5, "keep-alive clients were asked to come again: {tally:?}");
    until("the elders have ended with their last WebSocket", || stage.processes().len() == 1);
}

/// What a unit's `ExecReload` does, with a service manager that listens as systemd does.
#[test]
fn a_reload_replaces_the_process_and_tells_the_service_manager() {
    let stage = Stage::new();
    let manager = UnixDatagram::bind(stage.path("notify")).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let notify = stage.path("notify");
    let first = stage.start_with(&[], &[("NOTIFY_SOCKET", notify.to_str().unwrap())]);
    assert!(hear(&manager).contains("READY=1"));
    let load = Load::start(stage.address, 10);
    let mut main = first.id();
    for _ in 0..3 {
        load.wait_for_requests(100);
        let reload = stage.pando(&["proxy", "--control-socket", stage.socket(), "--reload"]);
        let said = String::from_utf8(reload.stdout).unwrap();
        assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
        let told = hear(&manager);
        let pid: u32 = told.lines().find_map(|line| line.strip_prefix("MAINPID=")).unwrap().parse().unwrap();
        assert_eq!(said, format!("process {pid} serves now\n"));
        assert_ne!(pid, main);
        assert!(stage.processes().contains(&pid));
        main = pid;
    }
    let tally = load.stop();
    println!("3 reloads: {tally:?}, 0 failed");
    until("the elders have ended", || stage.processes() == [main]);
    rest(main);
    until("the last one has ended", || stage.processes().is_empty());
}

fn hear(manager: &UnixDatagram) -> String {
    let mut words = [0; 512];
    let count = manager.recv(&mut words).unwrap();
    String::from_utf8(words[..count].to_vec()).unwrap()
}

#[test]
fn a_successor_that_is_no_good_changes_nothing() {
    let stage = Stage::new();
    // A program of its own, so that it can be replaced by one that is broken.
    let program = stage.own_program();
    let serving = stage.start_program(&program, &[], &[]);
    stage.wait_until_served();
    let load = Load::start(stage.address, 10);

    // A flag that it does not know, a table that is none, an address that can't be had.
    let bad = stage.path("bad.json");
    std::fs::write(
        &bad,
        r#"{"version": {"epoch": 1, "revision": 1}, "rules": [{"host": "*", "pool": "gone"}]}"#,
    )
    .unwrap();
    for (args, why) in [
        (vec!["--upgrade", "--no-such-flag"], "--no-such-flag"),
        (vec!["--upgrade", "--table", bad.to_str().unwrap()], "gone"),
        (vec!["--upgrade", "--listen", "192.0.2.1:80"], "192.0.2.1:80"),
    ] {
        let output = stage.pando_proxy(&args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(why), "{args:?}: {said}");
        load.wait_for_requests(50);
    }
    // What is installed by now does not even start.
    std::fs::remove_file(&program).unwrap();
    stage::install_script(&program, "#!/bin/sh\nkill -SEGV $$\n");
    let reload = stage.pando(&["proxy", "--control-socket", stage.socket(), "--reload"]);
    let said = String::from_utf8_lossy(&reload.stderr).into_owned();
    assert_eq!(reload.status.code(), Some(1), "{said}");
    assert!(said.contains("did not come to serve") && said.contains("serves on"), "{said}");
    load.wait_for_requests(50);
    // Then it is mended.
    std::fs::remove_file(&program).unwrap();
    std::fs::copy(env!("CARGO_BIN_EXE_pando"), &program).unwrap();
    let reload = stage.pando(&["proxy", "--control-socket", stage.socket(), "--reload"]);
    assert!(reload.status.success(), "{}", String::from_utf8_lossy(&reload.stderr));
    load.wait_for_requests(50);
    println!("4 failed upgrades and one that did not: {:?}, 0 failed", load.stop());
    until("the first one has ended", || !serving.is_running());
}

#[test]
fn without_a_proxy_to_take_over_from_an_upgrade_is_a_start_and_a_reload_an_error() {
    let stage = Stage::new();
    let reload = stage.pando(&["proxy", "--control-socket", stage.socket(), "--reload"]);
    let said = String::from_utf8_lossy(&reload.stderr).into_owned();
    assert!(!reload.status.success() && said.contains("no proxy answers at"), "{said}");
    let _serving = stage.start(&["--upgrade"]);
    stage.wait_until_served();
}
