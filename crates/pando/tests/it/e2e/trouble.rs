//! Bad input and bad luck: a clear word, the right exit code, and the app still serving.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use super::bed::{Bed, Settings};
use super::load::Load;
use crate::answer::told;

#[test]
fn e2e_a_port_in_use_is_said_before_anything_starts() {
    let bed = Bed::prepare(Settings::default());
    let holder = std::net::TcpListener::bind(("127.0.0.1", bed.port)).unwrap();
    let refused = bed.pando(&["dev", "--detach", "--port", &bed.port.to_string()]);
    let said = told(&refused);
    assert!(!refused.status.success() && said.contains("in use") && said.contains("--port"), "{said}");
    drop(holder);
}

#[test]
fn e2e_a_load_balancer_that_cannot_start_is_named_by_the_deploy_that_waits_for_it() {
    let mut bed = Bed::up(Settings { replicas: 1, ..Settings::default() });
    let holder = bed.take_the_port_of_the_load_balancer();
    bed.change(|_| {});
    let mut deploy = bed.command(&["deploy"]);
    let deploy = deploy.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    bed.wait_for("the way back", 60, |status| {
        status["deployment"]["phase"].to_string().contains("going_back")
    });
    // Without it nobody could tell that the way back has ended.
    drop(holder);
    let failed = deploy.wait_with_output().unwrap();
    let said = told(&failed);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    let why = format!("can't keep `proxy` running: another program listens on {}", bed.address());
    let lines: Vec<&str> = said.lines().filter(|line| line.contains(&why)).collect();
    assert!(lines.iter().any(|line| line.contains("waiting")), "{said}");
    assert!(lines.iter().any(|line| line.starts_with("error:")), "{said}");
    bed.change(|_| {});
    bed.ok(&["deploy"]);
    assert_eq!(bed.release(), 3);
}

#[test]
fn e2e_a_release_command_that_fails_switches_nothing() {
    let mut bed = Bed::up(Settings::default());
    let load = Load::start(&bed.address(), 2);
    bed.change(|settings| settings.extra = "release: 'echo no such table >&2; exit 3'".to_owned());
    let failed = bed.pando(&["deploy"]);
    let said = told(&failed);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.contains("exit code 3") && said.contains("no such table"), "{said}");
    assert_eq!(bed.release(), 1);
    bed.change(|settings| settings.extra = "release: bin/hits migrate".to_owned());
    bed.ok(&["deploy"]);
    load.stop_flawless();
}

#[test]
fn e2e_a_worker_that_dies_at_once_is_no_release() {
    let mut bed = Bed::up(Settings { worker: true, replicas: 1, ..Settings::default() });
    let load = Load::start(&bed.address(), 1);
    bed.change(|_| {});
    for (dies, words) in
        [("echo no such luck; exit 3", "exit code 3"), ("sleep 1; echo no such luck", "exit code 0")]
    {
        let text = fs::read_to_string(bed.path("pando.yaml")).unwrap();
        let changed = text.replace("bin/hits worker", dies);
        assert_ne!(changed, text);
        fs::write(bed.path("pando.yaml"), changed).unwrap();
        let failed = bed.pando(&["deploy"]);
        let said = told(&failed);
        assert_eq!(failed.status.code(), Some(1), "{said}");
        assert!(said.contains("worker-1") && said.contains(words) && said.contains("no such luck"), "{said}");
        bed.change(|_| {});
    }
    assert_eq!(bed.release(), 1);
    bed.wait_for("the old worker", 30, |status| {
        let replicas = status["replicas"].as_array().into_iter().flatten();
        let held: Vec<_> = replicas.map(|one| (one["replica"].clone(), one["release"].clone())).collect();
        held == [("web-1".into(), 1.into()), ("worker-1".into(), 1.into())]
    });
    load.stop_flawless();
}

#[test]
fn e2e_a_second_deploy_waits_or_is_refused() {
    let mut bed = Bed::up(Settings { extra: "min_ready_seconds: 1".to_owned(), ..Settings::default() });
    bed.change(|_| {});
    let quiet = || Stdio::null();
    let mut first = bed.command(&["deploy"]).stdout(quiet()).stderr(quiet()).spawn().unwrap();
    bed.wait_for("a deploy under way", 20, |status| !status["deployment"].is_null());
    let refused = bed.pando(&["deploy", "--no-wait-turn"]);
    assert!(!refused.status.success(), "{}", told(&refused));
    let second = bed.pando(&["deploy"]);
    assert!(second.status.success(), "{}", told(&second));
    assert!(first.wait().unwrap().success());
    assert_eq!(bed.release(), 3);
}

#[test]
fn e2e_an_interrupted_deploy_goes_on() {
    let mut bed = Bed::up(Settings { extra: "min_ready_seconds: 1".to_owned(), ..Settings::default() });
    bed.change(|_| {});
    let deploying = bed.command(&["deploy"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    bed.wait_for("a deploy under way", 20, |status| !status["deployment"].is_null());
    let pid = rustix::process::Pid::from_raw(i32::try_from(deploying.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ended = deploying.wait_with_output().unwrap();
    let said = told(&ended);
    assert!(!ended.status.success() && said.contains("goes on"), "{said}");
    bed.wait_for("the new release", 30, |status| status["release"] == 2 && status["deployment"].is_null());
}

#[test]
fn e2e_what_does_not_fit_is_refused_with_the_arithmetic() {
    let mut bed = Bed::up(Settings { replicas: 1, ..Settings::default() });
    bed.change(|settings| {
        settings.replicas = 500;
        settings.extra = "resources: {memory: 8GB}".to_owned();
    });
    let refused = bed.pando(&["deploy"]);
    let said = told(&refused);
    assert_eq!(refused.status.code(), Some(4), "{said}");
    assert!(said.contains("× 8 GB") && said.contains("is more"), "{said}");
    assert_eq!(bed.release(), 1);
}

#[test]
fn e2e_bad_files_are_told_whole() {
    let bed = Bed::up(Settings { replicas: 1, ..Settings::default() });
    let good = fs::read_to_string(bed.path("pando.yaml")).unwrap();
    for (text, word) in [
        ("", "empty"),
        ("name: hits\nreplica: 3\n", "replicas"),
        ("name: [", "pando.yaml:"),
        ("name: Hits!\nsource: .\nreplicas: many\n", "replicas"),
    ] {
        fs::write(bed.path("pando.yaml"), text).unwrap();
        let refused = bed.pando(&["deploy"]);
        let said = told(&refused);
        assert_eq!(refused.status.code(), Some(2), "{said}");
        assert!(said.contains(word), "{text:?}: {said}");
    }
    fs::write(bed.path("pando.yaml"), good).unwrap();
    assert_eq!(bed.release(), 1);
}

#[test]
fn e2e_a_full_disk_keeps_the_old_release() {
    let mut bed = Bed::up(Settings::default());
    let load = Load::start(&bed.address(), 2);
    // More than a small disk holds: the releases lie on one of 20 MB from now on.
    let releases = bed.path(".pando/releases/hits");
    let small = SmallDisk::mount(&releases, 20);
    let noise: Vec<u8> = (0..40_u32 << 20).map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()[2]).collect();
    fs::write(bed.path("big.bin"), noise).unwrap();
    bed.change(|_| {});
    let failed = bed.pando(&["deploy"]);
    let said = told(&failed);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.to_lowercase().contains("space") || said.contains("full"), "{said}");
    fs::remove_file(bed.path("big.bin")).unwrap();
    std::thread::sleep(Duration::from_millis(1));
    assert_eq!(bed.release(), 1);
    load.stop_flawless();
    drop(small);
}

/// A file system of so many megabytes, over what lies there already: running replicas keep what they opened.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(path: &std::path::Path, megabytes: u32) -> Self {
        let size = format!("size={megabytes}m,mode=755");
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(path)
            .status()
            .unwrap();
        assert!(mounted.success(), "this test mounts a small disk: run it as root");
        Self(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
