//! How runs begin and end: nothing of a run is left when its end is told, and the report says how it ended.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use pando_model::time::Millis;
use pando_runtime::logs::Stream;
use pando_runtime::{Place, RunSpec, Runtime, StartError};

use crate::support::{Fixture, SHIM, is_running, kill, spec, until, written};

#[tokio::test]
async fn a_plain_command_is_the_main_process_itself() {
    let mut fixture = Fixture::new();
    let held = fixture.run("sleep 1000").await;
    until_it_is_sleep(held.pid.unwrap()).await;
    fixture.stop(held.spec.key, Millis::from_secs(60)).await;
    fixture.ended(held.spec.key).await;
}

/// The shell has become the program.
async fn until_it_is_sleep(pid: u32) {
    let name = || std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
    until("the shell became the program", || name() == "sleep\n").await;
}

#[tokio::test]
async fn a_signal_reaches_every_process_of_a_shell_line() {
    let mut fixture = Fixture::new();
    let file = fixture.root.path().join("pids");
    let held = fixture
        .run(&format!("sleep 1000 & echo $! > {}; sleep 1001 | sleep 1002; wait", file.display()))
        .await;
    let background: u32 = written(&file).await.parse().unwrap();
    fixture.stop(held.spec.key, Millis::from_secs(60)).await;
    assert_eq!(fixture.ended(held.spec.key).await.signal, Some(15));
    assert!(!is_running(background));
}

#[tokio::test]
async fn an_orderly_end_has_its_whole_time_even_when_the_shell_before_it_is_gone() {
    let mut fixture = Fixture::new();
    let directory = fixture.root.path().display().to_string();
    // The shell ends by SIGTERM at once; the app needs longer than leftovers of a crash are given.
    let app = format!(
        "sh -c 'trap \"sleep 1.5; echo orderly > {directory}/end; exit 0\" TERM; echo up > {directory}/up; while true; do sleep 0.02; done'; true"
    );
    let held = fixture.run(&app).await;
    written(&fixture.root.path().join("up")).await;
    fixture.stop(held.spec.key, Millis::from_secs(60)).await;
    fixture.ended(held.spec.key).await;
    assert_eq!(written(&fixture.root.path().join("end")).await, "orderly");
}

#[tokio::test]
async fn what_escapes_its_group_and_session_is_ended_too() {
    let mut fixture = Fixture::new();
    let file = fixture.root.path().join("pid");
    // A daemon of the old kind: session of its own, parent gone, SIGTERM ignored.
    let escape = format!(
        "setsid sh -c 'trap \"\" TERM; (echo $$ > {}; while true; do sleep 1000; done) & ' & sleep 1000",
        file.display()
    );
    let held = fixture.run(&escape).await;
    written(&file).await;
    let shim = fixture.shim_pid(held.spec.key);
    let escaped =
        || -> Vec<u32> { children_of(shim).into_iter().filter(|pid| Some(*pid) != held.pid).collect() };
    until("the escaped process lost its parent", || !escaped().is_empty()).await;
    let escaped = escaped();
    kill(held.pid.unwrap());
    let exit = fixture.ended(held.spec.key).await;
    assert_eq!(exit.signal, Some(9));
    for pid in escaped {
        assert!(!is_running(pid), "{pid} is left");
    }
    assert_eq!(
        fixture.remarks("web-1").await[1..],
        ["the main process ended by SIGKILL; ending what it left running", "ended by SIGKILL"]
    );
}

fn children_of(pid: u32) -> Vec<u32> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let files = tasks.map(|task| task.unwrap().path().join("children"));
    files
        .flat_map(|file| {
            std::fs::read_to_string(file)
                .unwrap()
                .split_whitespace()
                .map(|pid| pid.parse().unwrap())
                .collect::<Vec<u32>>()
        })
        .collect()
}

#[tokio::test]
async fn a_crash_with_workers_left_frees_the_port_before_it_is_told() {
    let mut fixture = Fixture::new();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let file = fixture.root.path().join("up");
    let worker = format!("(trap '' TERM; exec {SHIM} listen {port} {}) & sleep 1000", file.display());
    let first = RunSpec { port: Some(port), ..spec(&worker) };
    let held = fixture.start(&first).await;
    written(&file).await;
    let second = RunSpec { key: spec("").key, ..first.clone() };
    let taken = fixture.runtime.start(second.clone()).await;
    assert!(matches!(taken, Err(StartError::PortTaken(address)) if address == port), "{taken:?}");
    kill(held.pid.unwrap());
    fixture.ended(first.key).await;
    assert!(TcpListener::bind(port).is_ok());
    let third = fixture.start(&second).await;
    fixture.stop(third.spec.key, Millis::ZERO).await;
    fixture.ended(third.spec.key).await;
}

#[tokio::test]
async fn output_is_kept_to_the_last_byte_with_streams_and_remarks() {
    let mut fixture = Fixture::new();
    let held = fixture.run("echo out; echo err >&2; printf 'no line end'; exit 7").await;
    let exit = fixture.ended(held.spec.key).await;
    assert_eq!(exit.code, Some(7));
    let mut log = fixture.log("web-1").await;
    assert_eq!(log.remove(0), (Stream::Pando, format!("started, pid {}", held.pid.unwrap())));
    assert_eq!(log.pop(), Some((Stream::Pando, "ended with exit code 7".to_owned())));
    log.sort();
    let expected = [(Stream::Stdout, "no line end"), (Stream::Stdout, "out"), (Stream::Stderr, "err")]
        .map(|(s, t)| (s, t.to_owned()));
    assert_eq!(log, expected);
}

#[tokio::test]
async fn much_output_is_kept_whole_and_the_report_has_the_end_of_it() {
    let mut fixture = Fixture::new();
    let held = fixture.run("seq 1 50000; printf '%0100000d\\n' 0").await;
    let exit = fixture.ended(held.spec.key).await;
    let log = fixture.log("web-1").await;
    let lines: Vec<&str> =
        log.iter().filter(|(s, _)| *s == Stream::Stdout).map(|(_, t)| t.as_str()).collect();
    assert!(lines[..50_000].iter().enumerate().all(|(n, line)| *line == (n + 1).to_string()));
    assert_eq!(
        lines[50_000..].iter().map(|part| part.len()).collect::<Vec<_>>(),
        [64 * 1024, 100_000 - 64 * 1024]
    );
    assert_eq!((exit.last_lines.len(), exit.last_lines[17].as_str()), (20, "50000"));
}

#[tokio::test]
async fn a_full_disk_costs_log_lines_and_nothing_else() {
    let mut fixture = Fixture::new();
    let (log, go) = (fixture.root.path().join("logs/shop/web-1.log"), fixture.root.path().join("go"));
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    std::os::unix::fs::symlink("/dev/full", &log).unwrap();
    let file = fixture.root.path().join("said");
    let app = format!(
        "echo one; echo said > {}; while ! [ -e {} ]; do sleep 0.02; done; echo two",
        file.display(),
        go.display()
    );
    let held = fixture.run(&app).await;
    written(&file).await;
    // The shim takes what is in the pipe at once, or with the rest: lost or not, each line is accounted for.
    std::fs::remove_file(&log).unwrap();
    std::fs::write(&go, "").unwrap();
    let exit = fixture.ended(held.spec.key).await;
    assert_eq!((exit.code, exit.last_lines), (Some(0), vec!["one".to_owned(), "two".to_owned()]));
    let log = fixture.log("web-1").await;
    let lost = &log[0].1;
    assert!(lost.contains("lines were lost here: No space left on device"), "{log:?}");
    let lost: usize = lost.split(' ').next().unwrap().parse().unwrap();
    // Started, one, two, ended; and the remark.
    assert_eq!(log.len() - 1 + lost, 4, "{log:?}");
}

#[tokio::test]
async fn the_environment_is_what_was_given_and_five_more() {
    let mut fixture = Fixture::new();
    let mut spec = spec("env");
    spec.env.insert("PORT".to_owned(), "20001".to_owned());
    spec.env.insert("TZ".to_owned(), "Europe/Paris".to_owned());
    let output = fixture.output_of(&spec).await;
    let mut names: Vec<&str> =
        output.iter().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
    // The shell's own.
    names.retain(|name| !matches!(*name, "PWD" | "OLDPWD" | "SHLVL" | "_"));
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LANG", "PATH", "PORT", "TZ", "USER"]);
    assert!(
        output.contains(&"TZ=Europe/Paris".to_owned()) && output.contains(&"LANG=C.UTF-8".to_owned()),
        "{output:?}"
    );
}

#[tokio::test]
async fn a_run_has_no_input_no_terminal_and_no_descriptors_but_its_own() {
    let mut fixture = Fixture::new();
    let mut output =
        fixture.output_of(&spec("ps -o tty= -p $$; readlink /proc/self/fd/0; ls -v /proc/self/fd")).await;
    assert_eq!(output.drain(..2).collect::<Vec<_>>(), ["?", "/dev/null"]);
    // Whoever runs this test may leave descriptors open in everything below; 3, or the next, is the directory that `ls` reads.
    let foreign = inheritable();
    output.retain(|fd| !foreign.contains(fd));
    assert_eq!(output.len(), 4, "{output:?} and {foreign:?}");
    assert_eq!(output[..3], ["0", "1", "2"]);
}

#[tokio::test]
async fn signals_have_their_ordinary_meaning_in_a_run() {
    let mut fixture = Fixture::new();
    let held = fixture.run("sleep 1000").await;
    // What whoever runs this test made ignored below it stays so; but for SIGPIPE, which Rust's own start-up ignores.
    let own = signals("self", "SigIgn") & !(1 << 12);
    until_it_is_sleep(held.pid.unwrap()).await;
    let pid = held.pid.unwrap().to_string();
    assert_eq!((signals(&pid, "SigBlk"), signals(&pid, "SigIgn"), signals(&pid, "SigCgt")), (0, own, 0));
    fixture.stop(held.spec.key, Millis::ZERO).await;
    fixture.ended(held.spec.key).await;
}

fn signals(pid: &str, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    // Those from 32 on belong to the C library and to nobody else.
    u64::from_str_radix(line.trim_start_matches(':').trim(), 16).unwrap() & 0x7fff_ffff
}

/// Descriptors of this process, but for the standard ones, that its children get.
fn inheritable() -> Vec<String> {
    const CLOEXEC: u32 = 0o2_000_000;
    let fds = std::fs::read_dir("/proc/self/fdinfo").unwrap().map(|fd| fd.unwrap().path());
    let inherited = fds.filter(|path| {
        let info = std::fs::read_to_string(path).unwrap_or_default();
        let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
        flags.is_some_and(|flags| u32::from_str_radix(flags.trim(), 8).unwrap() & CLOEXEC == 0)
    });
    inherited
        .map(|path| path.file_name().unwrap().to_str().unwrap().to_owned())
        .filter(|fd| fd.as_str() > "2" || fd.len() > 1)
        .collect()
}

#[tokio::test]
async fn secrets_are_readable_by_nobody_else() {
    use std::os::unix::fs::MetadataExt;
    let mut fixture = Fixture::new();
    let held = fixture.run("sleep 1000").await;
    let mode = |path: &str| std::fs::metadata(fixture.dir(held.spec.key).join(path)).unwrap().mode() & 0o777;
    assert_eq!((mode("."), mode("spec.json"), mode("..")), (0o700, 0o600, 0o700));
    fixture.stop(held.spec.key, Millis::ZERO).await;
    fixture.ended(held.spec.key).await;
}

#[tokio::test]
async fn unfit_specs_are_refused_in_words() {
    let fixture = Fixture::new();
    let nowhere = fixture.root.path().join("nowhere");
    let file = fixture.root.path().join("file");
    std::fs::write(&file, "").unwrap();
    let cases = [
        (RunSpec { name: "../x".to_owned(), ..spec("true") }, "can't be the name of a log"),
        (RunSpec { command: "  ".to_owned(), ..spec("") }, "there is no command"),
        (RunSpec { place: Place::Directory("here".into()), ..spec("true") }, "is not absolute"),
        (RunSpec { place: Place::Directory(nowhere), ..spec("true") }, "No such file or directory"),
        (RunSpec { place: Place::Directory(file), ..spec("true") }, "is not a directory"),
        (RunSpec { user: Some("Not A User".to_owned()), ..spec("true") }, "can't be a system user"),
        (spec("true\0"), "nul byte"),
    ];
    for (spec, why) in cases {
        let refused = fixture.runtime.start(spec.clone()).await.unwrap_err().to_string();
        assert!(refused.contains(why), "{refused} should say {why}");
        assert!(!fixture.dir(spec.key).exists());
    }
    assert!(fixture.runtime.adopt().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_missing_shim_is_named() {
    let root = tempfile::tempdir().unwrap();
    let settings = pando_runtime::process::ProcessSettings {
        shim_program: "/nowhere/pando".into(),
        ..crate::support::settings(root.path())
    };
    let runtime =
        pando_runtime::process::ProcessRuntime::open(settings, &pando_rt::shutdown::Shutdown::new()).unwrap();
    let refused = runtime.start(spec("true")).await.unwrap_err().to_string();
    assert!(refused.contains("`/nowhere/pando` can't be started"), "{refused}");
    assert!(runtime.adopt().await.unwrap().is_empty());
}

#[tokio::test]
async fn many_runs_start_and_end_quickly() {
    let mut fixture = Fixture::new();
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let begin = Instant::now();
        let held = fixture.run("sleep 1000").await;
        starts.push(begin.elapsed());
        let begin = Instant::now();
        fixture.stop(held.spec.key, Millis::from_secs(60)).await;
        fixture.ended(held.spec.key).await;
        ends.push(begin.elapsed());
    }
    starts.sort_unstable();
    ends.sort_unstable();
    println!(
        "start: median {:?}, most {:?}; stop: median {:?}, most {:?}",
        starts[10], starts[19], ends[10], ends[19]
    );
    // A hundred times what it takes on an idle machine: this is about waiting where nothing is to be waited for.
    assert!(starts[10] < Duration::from_millis(1000) && ends[10] < Duration::from_millis(1000));
}

#[tokio::test]
async fn a_shim_is_small() {
    let mut fixture = Fixture::new();
    let held = fixture.run("echo a line; sleep 1000").await;
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", fixture.shim_pid(held.spec.key))).unwrap();
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
    };
    println!("shim: {} kB resident, {} kB of its own", field("VmRSS"), field("RssAnon"));
    // Pages of the executable are shared by all shims; these are not.
    assert!(field("RssAnon") < 1500);
    fixture.stop(held.spec.key, Millis::ZERO).await;
    fixture.ended(held.spec.key).await;
}
