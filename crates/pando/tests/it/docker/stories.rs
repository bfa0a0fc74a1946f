//! What a deploy promises holds for images too.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::image;
use crate::answer::told;
use crate::e2e::bed::{Bed, Settings, kill};
use crate::e2e::load::Load;

fn settings() -> Settings {
    Settings { image: Some(image::hits()), ..Settings::default() }
}

/// Ids of the containers that this bed's cluster runs.
fn containers(bed: &Bed) -> Vec<String> {
    let owner = std::fs::read_to_string(bed.path(".pando/containers/owner")).unwrap();
    let mut asked = Command::new("docker");
    asked.args(["ps", "--no-trunc", "-q", "--filter", &format!("label=pando.owner={owner}")]);
    let mut ids: Vec<String> =
        String::from_utf8(image::run(&mut asked).stdout).unwrap().lines().map(str::to_owned).collect();
    ids.sort();
    ids
}

#[test]
fn rolling_deploys_of_images_fail_no_request_and_broken_ones_go_back() {
    let mut bed = Bed::up(settings());
    let load = Load::start(&bed.address(), 3);
    for _ in 0..10 {
        bed.change(|_| {});
        let deployed = bed.pando(&["deploy"]);
        assert!(deployed.status.success(), "{}\n{}", told(&deployed), bed.daemon_log());
        assert!(told(&deployed).contains(" 0 failed"), "{}", told(&deployed));
        load.wait_for_requests(10);
    }
    let good = bed.release();
    for (mode, word) in [("unhealthy", "503 from /health"), ("crash", "exit code 1")] {
        bed.change(|settings| settings.mode = mode.to_owned());
        goes_back(&bed, word);
        assert_eq!(bed.release(), good);
    }
    bed.change(|settings| {
        settings.mode = "ok".to_owned();
        settings.image = Some("pando-test/nowhere:1".to_owned());
    });
    goes_back(&bed, "pando-test/nowhere:1");
    assert_eq!(bed.release(), good);
    let requests = load.stop_flawless();
    assert_eq!(containers(&bed).len(), 3);
    println!("10 rolling deploys of an image and 3 broken ones: {requests} requests, 0 failed");
}

fn goes_back(bed: &Bed, word: &str) {
    let failed = bed.pando(&["deploy"]);
    let said = told(&failed);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.contains(word), "{said}\n{}", bed.daemon_log());
    bed.wait_until_settled(3);
}

#[test]
fn containers_outlive_the_daemon_and_are_found_again() {
    let bed = Bed::up(settings());
    let load = Load::start(&bed.address(), 2);
    let before = containers(&bed);
    assert_eq!(before.len(), 3);
    let mut following = bed
        .command(&["logs", "--follow", "--replica", "web-1"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = following.stdout.take().unwrap();
    let first = BufReader::new(lines).lines().next().unwrap().unwrap();
    assert!(first.contains("started in container") || first.contains("listening"), "{first}");
    for _ in 0..3 {
        let daemon = bed.daemon_pid();
        kill(daemon);
        let deadline = Instant::now() + Duration::from_secs(10);
        while bed.daemon_pid() == daemon {
            assert!(Instant::now() < deadline, "the daemon is not started again");
        }
        bed.wait_until_settled(3);
        load.wait_for_requests(20);
    }
    assert_eq!(containers(&bed), before, "the same containers serve");
    let _ = following.kill();
    let _ = following.wait();
    let requests = load.stop_flawless();
    println!("3 kills of the daemon: {requests} requests, 0 failed");
}

#[test]
fn a_container_that_dies_after_a_restart_of_the_daemon_is_started_again_beside_the_others() {
    let bed = Bed::up(settings());
    let daemon = bed.daemon_pid();
    kill(daemon);
    bed.wait_for("the next daemon", 10, |_| bed.daemon_pid() != daemon);
    let before = bed.wait_until_settled(3)["replicas"][0]["pid"].clone();
    kill(u32::try_from(before.as_u64().unwrap()).unwrap());
    bed.wait_for("another run of it", 30, |status| {
        let now = &status["replicas"][0];
        now["state"] == "serving" && now["pid"] != before
    });
}

/// As by `docker system prune --all` in the moment between a container's end and the next start.
#[test]
fn an_image_that_is_removed_while_nothing_runs_of_it_is_brought_again() {
    let own = image::built("removed", &["LABEL removed=yes"]);
    let bed = Bed::up(Settings { replicas: 1, image: Some(own.name().to_owned()), ..Settings::default() });
    let mut asked = Command::new("docker");
    asked.args(["image", "inspect", "--format", "{{.Id}}", own.name()]);
    let id = String::from_utf8(image::run(&mut asked).stdout).unwrap().trim().to_owned();
    bed.wait_for("a moment in which nothing uses the image", 60, |_| {
        for container in containers(&bed) {
            image::run(Command::new("docker").args(["rm", "--force", &container]));
        }
        image::run(Command::new("docker").args(["image", "rm", "--force", &id])).status.success()
    });
    bed.wait_for("it serves again", 60, |status| status["replicas"][0]["state"] == "serving");
    bed.wait_until_settled(1);
}

#[test]
fn exec_and_run_have_their_input_output_and_exit_codes() {
    let bed = Bed::up(Settings { replicas: 1, ..settings() });
    let said = bed.pando(&["exec", "web-1", "--", "echo $PANDO_REPLICA on $PORT; exit 7"]);
    assert_eq!(
        (said.status.code(), told(&said).contains("web-1 on 9000")),
        (Some(7), true),
        "{}",
        told(&said)
    );
    let mut cat = bed
        .command(&["run", "--", "cat; echo $PANDO_APP"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    cat.stdin.take().unwrap().write_all(b"through and through\n").unwrap();
    let cat = cat.wait_with_output().unwrap();
    assert!(told(&cat).contains("through and through") && told(&cat).contains("hits"), "{}", told(&cat));
    for words in [&["exec", "web-1", "--", "bin/nothing"][..], &["run", "--", "bin/nothing"]] {
        let said = bed.pando(words);
        assert_eq!(said.status.code(), Some(1), "{}", told(&said));
        assert!(told(&said).contains("no program named `bin/nothing` in the image"), "{}", told(&said));
        assert!(!told(&said).contains("OCI"), "{}", told(&said));
    }
    assert_eq!(containers(&bed).len(), 1, "the command's own container is gone");
}

#[test]
fn an_image_may_say_how_long_it_takes_to_start() {
    let check = "HEALTHCHECK --start-period=40s --retries=1 CMD cat /tmp/up";
    let begin = "CMD [\"/bin/sh\", \"-c\", \"sleep 4; echo > /tmp/up; exec /bin/hits\"]";
    let slow = image::built("slow", &[check, begin]);
    let mut bed = Bed::up(Settings {
        replicas: 1,
        own_check: true,
        extra: "health: {start_timeout: 1s}".to_owned(),
        image: Some(slow.name().to_owned()),
        ..settings()
    });
    bed.ok(&["exec", "web-1", "--", "/bin/busybox rm /tmp/up"]);
    bed.wait_for("one failure to count", 20, |status| {
        status["replicas"].as_array().is_some_and(|all| all.iter().any(|one| one["state"] == "unhealthy"))
    });
    // What it grants is no more than that: without it, a second has to do.
    let never = image::built("never", &["HEALTHCHECK CMD cat /tmp/up"]);
    bed.change(|settings| settings.image = Some(never.name().to_owned()));
    let failed = bed.pando(&["deploy"]);
    assert_eq!(failed.status.code(), Some(1), "{}", told(&failed));
    assert!(told(&failed).contains("was not ready within 1 s"), "{}", told(&failed));
}

#[test]
fn an_image_may_check_itself() {
    let mut checked = Settings { replicas: 1, ..settings() };
    checked.own_check = true;
    let bed = Bed::up(checked);
    let said = bed.ok(&["exec", "web-1", "--", "cat /tmp/checked"]);
    assert!(said.contains("checked"), "{said}");
}

/// When each of the bed's containers was started, as the engine has it, by replica.
fn started(bed: &Bed) -> BTreeMap<String, String> {
    let mut asked = Command::new("docker");
    asked.args(["inspect", "--format", "{{index .Config.Labels \"pando.name\"}} {{.State.StartedAt}}"]);
    let said = image::run(asked.args(containers(bed)));
    let said = String::from_utf8(said.stdout).unwrap();
    said.lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, at)| (name.to_owned(), at.to_owned()))
        .collect()
}

#[test]
fn a_process_runs_as_its_user_and_starts_after_what_it_depends_on() {
    let bed = Bed::prepare(Settings { replicas: 2, ..settings() });
    let text = std::fs::read_to_string(bed.path("pando.yaml")).unwrap();
    let (own, other) =
        ("user: \"65534:65533\", depends_on: [worker]", "worker: {command: sleep 1000, role: worker}");
    let changed = text.replace("web: {role: web}", &format!("web: {{role: web, {own}}}\n  {other}"));
    assert_ne!(changed, text);
    std::fs::write(bed.path("pando.yaml"), changed).unwrap();
    // The database is that user's.
    std::fs::set_permissions(bed.dir(), std::fs::Permissions::from_mode(0o777)).unwrap();
    bed.start();
    bed.wait_until_settled(2);
    let status = bed.ok(&["exec", "web-1", "--", "cat /proc/1/status /proc/self/status"]);
    let ids = |name: &str| -> Vec<&str> {
        let lines = status.lines().filter_map(|line| line.strip_prefix(name));
        lines.filter_map(|line| line.split_whitespace().next()).collect()
    };
    assert_eq!((ids("Uid:"), ids("Gid:")), (vec!["65534"; 2], vec!["65533"; 2]), "{status}");
    let started = started(&bed);
    assert_eq!(started.keys().collect::<Vec<_>>(), ["web-1", "web-2", "worker-1"]);
    assert!(started["worker-1"] < started["web-1"] && started["worker-1"] < started["web-2"], "{started:?}");
}

#[test]
fn a_container_that_dies_at_once_is_no_release_though_nothing_is_asked_of_it() {
    let mut bed = Bed::up(Settings { replicas: 1, ..settings() });
    for health in ["", ", health: {type: none}"] {
        bed.change(|_| {});
        let text = std::fs::read_to_string(bed.path("pando.yaml")).unwrap();
        let worker = format!("worker: {{role: worker, command: \"echo no such luck; exit 3\"{health}}}");
        let changed = text.replace("web: {role: web}", &format!("web: {{role: web}}\n  {worker}"));
        std::fs::write(bed.path("pando.yaml"), changed).unwrap();
        let failed = bed.pando(&["deploy"]);
        let said = told(&failed);
        assert_eq!(failed.status.code(), Some(1), "{said}");
        assert!(said.contains("exit code 3") && said.contains("no such luck"), "{said}");
        bed.wait_until_settled(1);
    }
    assert_eq!((bed.release(), containers(&bed).len()), (1, 1));
}

/// Whom, how limited, and with which volumes.
const WHO: &str = "cat /proc/self/status; cat /sys/fs/cgroup/pids.max /sys/fs/cgroup/pids/pids.max; cat /sys/fs/cgroup/memory.max \
                   /sys/fs/cgroup/memory/memory.limit_in_bytes; cat /proc/mounts";

fn is_like_the_process(said: &str) {
    let starts = |words: &str| said.lines().any(|line| line.starts_with(words));
    assert!(starts("Uid:\t65534\t") && starts("Gid:\t65533\t"), "{said}");
    assert!(said.lines().any(|line| line == "77") && said.lines().any(|line| line == "200003584"), "{said}");
    assert!(said.contains(" /data ") && said.contains(" /notes "), "{said}");
}

#[test]
fn release_commands_and_one_offs_are_as_a_process_is() {
    let bed = Bed::prepare(Settings { replicas: 1, ..settings() });
    let text = std::fs::read_to_string(bed.path("pando.yaml")).unwrap();
    // Whole pages of memory: what the engine is told is what the kernel has.
    let own = "{role: web, user: \"65534:65533\", resources: {memory: 200003584, cpu: 0.5, pids: 77}}";
    let release = serde_json::to_string(&format!("({WHO}) > /data/release 2>&1; true")).unwrap();
    let changed = text
        .replace("web: {role: web}", &format!("web: {own}"))
        .replace("volumes: [", "volumes: [\"notes:/notes\", ")
        .replace("replicas: 1", &format!("replicas: 1\nrelease: {release}"));
    std::fs::write(bed.path("pando.yaml"), changed).unwrap();
    std::fs::set_permissions(bed.dir(), std::fs::Permissions::from_mode(0o777)).unwrap();
    bed.start();
    is_like_the_process(&std::fs::read_to_string(bed.path("release")).unwrap());
    is_like_the_process(&String::from_utf8(bed.pando(&["run", "--", WHO]).stdout).unwrap());
    // Where nothing of it runs, too.
    bed.ok(&["stop"]);
    bed.wait_for("no replica", 30, |status| status["replicas"].as_array().is_some_and(Vec::is_empty));
    is_like_the_process(&String::from_utf8(bed.pando(&["run", "--", WHO]).stdout).unwrap());
    let owner = std::fs::read_to_string(bed.path(".pando/containers/owner")).unwrap();
    let names = || {
        let said =
            image::run(Command::new("docker").args(["images", "--format", "{{.Repository}}:{{.Tag}}"]));
        let said = String::from_utf8(said.stdout).unwrap();
        said.lines().filter(|name| name.ends_with(&owner[owner.len() - 8..])).count()
    };
    assert_eq!(names(), 1);
    bed.ok(&["dev", "--stop"]);
    assert_eq!(names(), 0, "nothing of it stays in the engine");
    bed.start();
    bed.wait_until_settled(1);
    bed.ok(&["dev", "--stop"]);
    image::run(Command::new("docker").args(["volume", "rm", "pando.hits.notes"]));
}

#[test]
fn what_is_built_here_reaches_the_servers_without_a_registry() {
    let mut bed = Bed::prepare(Settings { build: true, ..settings() });
    let dockerfile = |line: &str| {
        let marked = image::marked(bed.dir());
        let text =
            format!("FROM {}\n{marked}\nARG WHAT\nENV WHAT=$WHAT\nCOPY note /note\n{line}\n", image::hits());
        std::fs::write(bed.path("Dockerfile"), text).unwrap();
    };
    dockerfile("");
    std::fs::write(bed.path(".dockerignore"), "*\n!note\n").unwrap();
    std::fs::write(bed.path("note"), "one").unwrap();
    bed.start();
    let note = |bed: &Bed| bed.ok(&["exec", "web-1", "--", "cat /note; echo $WHAT"]);
    assert!(note(&bed).contains("one") && note(&bed).contains("built"), "{}", note(&bed));
    let load = Load::start(&bed.address(), 2);
    std::fs::write(bed.path("note"), "two").unwrap();
    bed.change(|_| {});
    let deployed = bed.pando(&["deploy"]);
    assert!(deployed.status.success(), "{}\n{}", told(&deployed), bed.daemon_log());
    assert!(note(&bed).contains("two"), "{}", note(&bed));
    // A step that fails is shown, and nothing is switched.
    let good = bed.release();
    let text = std::fs::read_to_string(bed.path("Dockerfile")).unwrap();
    std::fs::write(bed.path("Dockerfile"), format!("{text}RUN sh -c 'echo no such luck; exit 9'\n")).unwrap();
    bed.change(|_| {});
    let failed = bed.pando(&["deploy"]);
    assert!(!failed.status.success() && told(&failed).contains("no such luck"), "{}", told(&failed));
    assert_eq!(bed.release(), good);
    // Back to what was, which every server still has.
    bed.ok(&["rollback"]);
    assert!(note(&bed).contains("one"), "{}", note(&bed));
    bed.wait_until_settled(3);
    let requests = load.stop_flawless();
    assert_eq!(containers(&bed).len(), 3);
    println!("built, changed, failed and rolled back: {requests} requests, 0 failed");
}

#[test]
fn without_an_engine_a_deploy_says_so_and_other_apps_run() {
    let bed = Bed::prepare(settings());
    let socket = format!("unix://{}", bed.path("none.sock").display());
    let port = bed.port.to_string();
    let mut up = bed.command(&["dev", "--detach", "--port", &port]);
    let up = up.env("DOCKER_HOST", socket).output().unwrap();
    assert!(!up.status.success(), "{}", told(&up));
    assert!(told(&up).contains("is a container engine installed"), "{}\n{}", told(&up), bed.daemon_log());
    assert!(told(&up).contains("--install-docker"), "{}", told(&up));
}
