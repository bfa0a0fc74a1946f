//! A kept program: its sockets are always there, whoever is killed.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pando_runtime::keeper::{Keeper, KeeperProgram};
use pando_runtime::logs::{LogSettings, LogStore};
use pando_runtime::shim::KeepSpec;

use crate::support::{PATIENCE, SHIM, is_running, kill, read_log, until};

fn program() -> KeeperProgram {
    KeeperProgram { shim_program: SHIM.into(), shim_args: Vec::new() }
}

fn spec(root: &Path) -> KeepSpec {
    KeepSpec {
        name: "proxy".to_owned(),
        program: SHIM.into(),
        args: vec!["serve".to_owned()],
        env: BTreeMap::new(),
        user: None,
        listen: vec![SocketAddr::from(([127, 0, 0, 1], 0))],
        dir: root.join("proxy"),
        hands_over: false,
        log_directory: root.join("logs/shop"),
        log: LogSettings::default(),
    }
}

/// A shell line instead of the server.
fn shell(root: &Path, line: &str) -> KeepSpec {
    let env = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
    let args = vec!["-c".to_owned(), line.to_owned()];
    KeepSpec { program: "/bin/sh".into(), args, env, ..spec(root) }
}

/// The pid that answers.
fn ask(address: SocketAddr) -> io::Result<u32> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"?")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    line.trim().parse().map_err(|_| io::ErrorKind::ConnectionReset.into())
}

/// Connects without a break while `meanwhile` goes on; how many were answered, and every error that says that nobody listened.
async fn under_load(address: SocketAddr, meanwhile: impl AsyncFnOnce()) -> (u64, Vec<String>) {
    let (over, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let connect = || {
        let mut refused = Vec::new();
        while !over.load(Ordering::Relaxed) {
            match ask(address) {
                Ok(_) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                // The one that was being answered when the program was killed.
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
                Err(error) => refused.push(error.to_string()),
            }
        }
        refused
    };
    let refused = tokio::task::block_in_place(|| {
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..4).map(|_| scope.spawn(connect)).collect();
            tokio::runtime::Handle::current().block_on(meanwhile());
            over.store(true, Ordering::Relaxed);
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        })
    });
    (answered.load(Ordering::Relaxed), refused)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_program_is_back_and_no_connection_was_refused() {
    let root = tempfile::tempdir().unwrap();
    let keeper = Keeper::ensure(&program(), &spec(root.path())).await.unwrap();
    let address = keeper.addresses()[0];
    let mut longest = Duration::ZERO;
    let (answered, refused) = under_load(address, async || {
        for _ in 0..10 {
            let old = ask(address).unwrap_or_default();
            kill(keeper.program_pid().await.unwrap().unwrap_or(old));
            let killed = Instant::now();
            let mut new = old;
            while new == old {
                new = ask(address).unwrap_or(old);
            }
            longest = longest.max(killed.elapsed());
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    })
    .await;
    println!("{answered} answered, longest time without the program {longest:?}");
    assert!(refused.is_empty(), "{refused:?}");
    assert!(answered > 100, "{answered}");
    keeper.stop(PATIENCE).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_keeper_is_replaced_and_no_connection_was_refused() {
    let root = tempfile::tempdir().unwrap();
    let first = Keeper::ensure(&program(), &spec(root.path())).await.unwrap();
    let address = first.addresses()[0];
    // Port 0 would be another port; an operator names the port.
    let fixed = KeepSpec { listen: vec![address], ..spec(root.path()) };
    first.stop(PATIENCE).await.unwrap();
    let first = Keeper::ensure(&program(), &fixed).await.unwrap();
    let orphan = first.program_pid().await.unwrap().unwrap();
    let (answered, refused) = under_load(address, async || {
        kill(first.pid());
        until("the keeper is gone", || !is_running(first.pid())).await;
        assert!(is_running(orphan));
        let second = Keeper::ensure(&program(), &fixed).await.unwrap();
        assert_ne!(second.pid(), first.pid());
        until("the orphan is gone", || !is_running(orphan)).await;
        assert_eq!(ask(address).unwrap(), second.program_pid().await.unwrap().unwrap());
    })
    .await;
    assert!(refused.is_empty(), "{refused:?}");
    assert!(answered > 0);
    Keeper::find(&fixed.dir).await.unwrap().unwrap().stop(PATIENCE).await.unwrap();
}

/// A program that takes the place of the one before it.
fn succeeding(root: &Path, file: &Path) -> KeepSpec {
    let args = vec!["succeed".to_owned(), file.to_string_lossy().into_owned()];
    KeepSpec { args, hands_over: true, ..spec(root) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_renewal_takes_over_and_one_that_fails_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("pid");
    let first = succeeding(root.path(), &file);
    let mut keeper = Keeper::ensure(&program(), &first).await.unwrap();
    let address = keeper.addresses()[0];
    assert_eq!(keeper.is_outdated(Path::new(SHIM)).await, Some(false));
    assert_eq!(keeper.is_outdated(Path::new("/bin/sh")).await, Some(true));
    let (answered, refused) = under_load(address, async || {
        for round in 0..3 {
            let old = keeper.program_pid().await.unwrap().unwrap();
            let env = BTreeMap::from([("ROUND".to_owned(), round.to_string())]);
            let next = KeepSpec { env, ..first.clone() };
            keeper = keeper.renew(&next).await.unwrap();
            assert_eq!(keeper.spec(), &next);
            assert_ne!(keeper.program_pid().await.unwrap(), Some(old));
            until("the old one has ended", || !is_running(old)).await;
        }
        let held = (keeper.spec().clone(), keeper.program_pid().await.unwrap());
        let bad = KeepSpec { program: "/nowhere/proxy".into(), ..first.clone() };
        let error = keeper.renew(&bad).await.unwrap_err().to_string();
        assert!(error.contains("can't start `/nowhere/proxy`"), "{error}");
        keeper = Keeper::find(&first.dir).await.unwrap().unwrap();
        let ends = KeepSpec { program: "/bin/false".into(), ..first.clone() };
        let error = keeper.renew(&ends).await.unwrap_err().to_string();
        assert!(error.contains("ended with exit code 1 before it served"), "{error}");
        keeper = Keeper::find(&first.dir).await.unwrap().unwrap();
        let elsewhere = KeepSpec { listen: vec!["127.0.0.1:1".parse().unwrap()], ..first.clone() };
        assert!(keeper.renew(&elsewhere).await.is_err());
        assert_eq!((keeper.spec().clone(), keeper.program_pid().await.unwrap()), held);
    })
    .await;
    assert!(refused.is_empty(), "{refused:?}");
    assert!(answered > 0);
    keeper.stop(PATIENCE).await.unwrap();
    assert!(TcpListener::bind(address).is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_orphan_hands_over_to_what_the_next_keeper_starts() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("pid");
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let spec = KeepSpec { listen: vec![address], ..succeeding(root.path(), &file) };
    let first = Keeper::ensure(&program(), &spec).await.unwrap();
    let orphan = first.program_pid().await.unwrap().unwrap();
    until("it serves", || std::fs::read_to_string(&file).is_ok_and(|pid| pid == orphan.to_string())).await;
    kill(first.pid());
    until("the keeper is gone", || !is_running(first.pid())).await;
    let (answered, refused) = under_load(address, async || {
        Keeper::ensure(&program(), &spec).await.unwrap();
        until("the orphan is gone", || !is_running(orphan)).await;
    })
    .await;
    assert!(refused.is_empty(), "{refused:?}");
    assert!(answered > 0);
    // One that does not hand over is told to end.
    let second = Keeper::find(&spec.dir).await.unwrap().unwrap();
    let orphan = second.program_pid().await.unwrap().unwrap();
    std::fs::remove_file(&file).unwrap();
    kill(second.pid());
    until("the keeper is gone", || !is_running(second.pid())).await;
    let third = Keeper::ensure(&program(), &spec).await.unwrap();
    until("the orphan is gone", || !is_running(orphan)).await;
    third.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn one_keeper_lives_in_a_directory_however_many_ask() {
    let root = tempfile::tempdir().unwrap();
    let (program, spec) = (program(), spec(root.path()));
    let asks = (0..4).map(|_| Keeper::ensure(&program, &spec));
    let keepers: Vec<Keeper> =
        futures_util::future::join_all(asks).await.into_iter().map(Result::unwrap).collect();
    assert!(keepers.iter().all(|keeper| keeper.pid() == keepers[0].pid()));
    let other = KeepSpec { args: vec!["other".to_owned()], ..spec.clone() };
    let found = Keeper::ensure(&program, &other).await.unwrap();
    assert_eq!((found.pid(), found.spec()), (keepers[0].pid(), &spec));
    found.stop(PATIENCE).await.unwrap();
    assert!(Keeper::find(&spec.dir).await.unwrap().is_none());
}

#[tokio::test]
async fn a_stop_frees_the_addresses_and_waits_for_an_orderly_end() {
    let root = tempfile::tempdir().unwrap();
    let line = format!(
        "trap 'sleep 0.3; echo orderly > {}/end; exit' TERM; echo up; while true; do sleep 0.02; done",
        root.path().display()
    );
    let keeper = Keeper::ensure(&program(), &shell(root.path(), &line)).await.unwrap();
    let log = root.path().join("logs/shop/proxy.log");
    until("it handles SIGTERM", || std::fs::read_to_string(&log).unwrap().contains(" up")).await;
    keeper.stop(PATIENCE).await.unwrap();
    assert_eq!(std::fs::read_to_string(root.path().join("end")).unwrap(), "orderly\n");
    TcpListener::bind(keeper.addresses()[0]).unwrap();
}

#[tokio::test]
async fn a_program_that_ignores_sigterm_is_killed_after_the_timeout() {
    let root = tempfile::tempdir().unwrap();
    let line = "trap '' TERM; echo up; while true; do sleep 0.02; done";
    let keeper = Keeper::ensure(&program(), &shell(root.path(), line)).await.unwrap();
    let log = root.path().join("logs/shop/proxy.log");
    until("it ignores SIGTERM", || std::fs::read_to_string(&log).unwrap().contains(" up")).await;
    let pid = keeper.program_pid().await.unwrap().unwrap();
    keeper.stop(Duration::from_millis(200)).await.unwrap();
    assert!(!is_running(pid) && !is_running(keeper.pid()));
}

#[tokio::test]
async fn a_program_that_ends_at_once_is_started_again_and_again() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("starts");
    let line = format!("date +%s%N >> {}; exit 3", file.display());
    let keeper = Keeper::ensure(&program(), &shell(root.path(), &line)).await.unwrap();
    let starts = || -> Vec<u64> {
        std::fs::read_to_string(&file).unwrap_or_default().lines().map(|line| line.parse().unwrap()).collect()
    };
    until("it was started 8 times", || starts().len() >= 8).await;
    keeper.stop(PATIENCE).await.unwrap();
    let starts = starts();
    let pauses: Vec<u64> = starts.windows(2).map(|pair| (pair[1] - pair[0]) / 1_000_000).collect();
    assert!(pauses[4] >= 100, "no pause: {pauses:?}");
    let log = read_log(&LogStore::new(root.path().join("logs"), LogSettings::default()), "proxy").await;
    assert!(log.iter().filter(|(_, text)| text == "ended with exit code 3").count() >= 7);
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_in_words() {
    let root = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let cases = [
        (
            KeepSpec { listen: vec![address], ..spec(root.path()) },
            format!("another program listens on {address}"),
        ),
        (
            KeepSpec { program: "/nowhere/proxy".into(), ..spec(root.path()) },
            "can't start `/nowhere/proxy`".to_owned(),
        ),
        (
            KeepSpec { user: Some("Not A User".to_owned()), ..spec(root.path()) },
            "can't be a system user".to_owned(),
        ),
    ];
    for (spec, why) in cases {
        let error = Keeper::ensure(&program(), &spec).await.unwrap_err().to_string();
        assert!(
            error.contains("can't keep `proxy` running") && error.contains(&why),
            "{error} should say {why}"
        );
    }
    // A refused start is no obstacle.
    let keeper = Keeper::ensure(&program(), &spec(root.path())).await.unwrap();
    assert!(ask(keeper.addresses()[0]).is_ok());
    keeper.stop(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn the_program_becomes_another_user_after_the_sockets_are_bound() {
    if !rustix::process::geteuid().is_root() {
        let root = tempfile::tempdir().unwrap();
        let spec = KeepSpec { user: Some("root".to_owned()), ..spec(root.path()) };
        return assert!(Keeper::ensure(&program(), &spec).await.is_err());
    }
    let root = tempfile::tempdir().unwrap();
    let spec = KeepSpec { user: Some("nobody".to_owned()), ..shell(root.path(), "id -un; sleep 1000") };
    let keeper = Keeper::ensure(&program(), &spec).await.unwrap();
    let log = root.path().join("logs/shop/proxy.log");
    until("it says who it is", || std::fs::read_to_string(&log).unwrap().contains("o nobody")).await;
    let group = i32::try_from(keeper.program_pid().await.unwrap().unwrap()).unwrap();
    let group = rustix::process::Pid::from_raw(group).unwrap();
    keeper.stop(PATIENCE).await.unwrap();
    until("nothing of it is left", || rustix::process::test_kill_process_group(group).is_err()).await;
}

#[tokio::test]
async fn sockets_from_systemd_are_taken_too() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // As systemd does it: from descriptor 3 on, with the pid of the program itself.
    let line = format!("export LISTEN_PID=$$ LISTEN_FDS=1; exec {SHIM} serve 3<&0 0</dev/null");
    let mut server = Command::new("/bin/sh")
        .args(["-c", &line])
        .stdin(Stdio::from(OwnedFd::from(listener)))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    assert_eq!(ask(address).unwrap(), server.id());
    server.kill().unwrap();
    server.wait().unwrap();
}

#[test]
fn a_program_started_by_hand_inherits_nothing() {
    let output = Command::new(SHIM).arg("serve").stdin(Stdio::null()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "serving on 0 sockets\n");
    let broken =
        Command::new(SHIM).arg("serve").env("PANDO_LISTEN", "1").stdin(Stdio::null()).output().unwrap();
    assert!(
        String::from_utf8_lossy(&broken.stderr).contains("PANDO_LISTEN is set, but stdin gives no sockets")
    );
}
