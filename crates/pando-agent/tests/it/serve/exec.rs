//! Commands over pipes.

use std::time::Instant;

use futures_util::{SinkExt, StreamExt};
use pando_api::stream::{Channel, Frame};
use pando_api::v1::agents::ExecStart;
use pando_model::release::ReleaseNumber;
use pando_model::time::Millis;
use sha2::{Digest, Sha256};

use super::support::{Served, beside, is_alive, map, read, read_pid, read_until, send, until_gone, within};

#[tokio::test]
async fn output_comes_on_its_channel_and_the_code_last() {
    let served = Served::start().await;
    let ended = served.run("echo out; echo err >&2; exit 7").await;
    assert_eq!((ended.stdout, ended.stderr), (b"out\n".to_vec(), b"err\n".to_vec()));
    assert_eq!((ended.end.code, ended.end.error), (7, None));
}

#[tokio::test]
async fn a_signal_counts_as_128_and_its_number() {
    let served = Served::start().await;
    assert_eq!(served.run("kill -KILL $$").await.end.code, 137);
    assert_eq!(served.run("kill -TERM $$").await.end.code, 143);
}

#[tokio::test]
async fn input_is_passed_on_to_its_end() {
    let served = Served::start().await;
    let mut cat = served.exec(&beside("cat; echo over")).await;
    send(&mut cat, Channel::Stdin, "one\n").await;
    assert_eq!(read_until(&mut cat, "\n").await, "one\n");
    send(&mut cat, Channel::Stdin, "two\n").await;
    send(&mut cat, Channel::Stdin, "").await;
    assert_eq!(read(&mut cat).await.out(), "two\nover\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_megabytes_go_through_both_ways_unchanged() {
    let served = Served::start().await;
    let sent: Vec<u8> = (0..10_000_000_u32)
        .flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 24).to_le_bytes())
        .step_by(4)
        .collect();
    let expected = Sha256::digest(&sent);
    let (mut to, mut from) = served.exec(&beside("cat")).await.split();
    let sending = tokio::spawn(async move {
        for chunk in sent.chunks(50_000).chain([&[][..]]) {
            to.send(Frame { channel: Channel::Stdin, payload: chunk.to_vec().into() }).await.unwrap();
        }
        // Leaving would end the command.
        to
    });
    let ended = read(&mut from).await;
    assert_eq!((ended.stdout.len(), ended.end.code), (10_000_000, 0));
    assert_eq!(Sha256::digest(&ended.stdout), expected);
    drop(within(sending).await.unwrap());
}

#[tokio::test]
async fn a_slow_caller_gets_everything_of_a_command_long_ended() {
    let served = Served::start().await;
    let script = "echo $$ > pid; seq 1 30000; exit 3";
    let mut slow = served.exec(&beside(script)).await;
    let file = served.root.path().join("replica/pid");
    super::support::until("it has begun", || {
        std::fs::read_to_string(&file).is_ok_and(|pid| pid.ends_with('\n'))
    })
    .await;
    until_gone(std::fs::read_to_string(&file).unwrap().trim().parse().unwrap()).await;
    let ended = read(&mut slow).await;
    let expected: String = (1..=30_000).map(|n| format!("{n}\n")).collect();
    assert!(ended.out() == expected, "{} bytes", ended.stdout.len());
    assert_eq!(ended.end.code, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_reaches_a_caller_that_sends_more_than_is_read() {
    let served = Served::start().await;
    let (mut to, mut from) = served.exec(&beside("head -c 3")).await.split();
    let sending = tokio::spawn(async move {
        // Until the other side is closed, at latest.
        for _ in 0..200 {
            let frame = Frame { channel: Channel::Stdin, payload: vec![b'x'; 50_000].into() };
            if to.send(frame).await.is_err() {
                break;
            }
        }
    });
    let ended = read(&mut from).await;
    assert_eq!((ended.out().as_str(), ended.end.code), ("xxx", 0));
    drop(from);
    within(sending).await.unwrap();
}

#[tokio::test]
async fn it_runs_in_the_replicas_place() {
    let served = Served::start().await;
    let start = ExecStart {
        env: map(&[("EXTRA", "more")]),
        ..beside("pwd; echo $GREETING $TZ $LANG $EXTRA $TERM; env")
    };
    let ended = read(&mut served.exec(&start).await).await;
    let out = ended.out();
    let directory = served.root.path().join("replica");
    assert!(out.starts_with(&format!("{}\nhello Asia/Tokyo C.UTF-8 more\n", directory.display())), "{out}");
    assert!(
        out.contains("\nPATH=/usr/local/sbin:") && out.contains("\nHOME=") && out.contains("\nUSER="),
        "{out}"
    );
    // Nothing of the agent's own environment.
    assert!(!out.contains("CARGO"), "{out}");
}

#[tokio::test]
async fn a_one_off_runs_in_its_release_with_the_given_environment() {
    let served = Served::start().await;
    let release = Some(ReleaseNumber(7));
    let start =
        ExecStart { replica: None, release, env: map(&[("A", "b")]), ..beside("pwd; echo $A$GREETING") };
    let ended = read(&mut served.exec(&start).await).await;
    assert_eq!(ended.out(), format!("{}\nb\n", served.root.path().join("release").display()));
}

#[tokio::test]
async fn it_becomes_the_replicas_user() {
    // Whoever is not root can become itself alone.
    let name = if rustix::process::geteuid().is_root() { "nobody" } else { own_name() };
    let served = Served::with(Some(name.to_owned()), Some(std::path::Path::new("/"))).await;
    let ended = served.run("id -un; echo $USER; pwd").await;
    assert_eq!(ended.out(), format!("{name}\n{name}\n/\n"));
}

fn own_name() -> &'static str {
    let output = std::process::Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned().leak()
}

#[tokio::test]
async fn what_can_not_start_says_why() {
    let served = Served::start().await;
    let missing = ExecStart { replica: Some("web-2".parse().unwrap()), ..beside("true") };
    let unpacked = ExecStart { replica: None, release: Some(ReleaseNumber(8)), ..beside("true") };
    let nowhere = ExecStart { replica: None, ..beside("true") };
    for (start, said) in [
        (missing, "there is no replica web-2 of `shop` on this server"),
        (unpacked, "of `shop` is not unpacked on this server"),
        (nowhere, "neither a replica nor a release is named"),
        (beside(""), "there is no command"),
    ] {
        let end = read(&mut served.exec(&start).await).await.end;
        assert!(end.code == 126 && end.error.as_ref().is_some_and(|error| error.contains(said)), "{end:?}");
    }
    std::fs::remove_dir(served.root.path().join("replica")).unwrap();
    let end = served.run("true").await.end;
    assert!(end.error.unwrap().ends_with("/replica` is not there"));
    let served = Served::with(Some("pando-surely-not".to_owned()), None).await;
    assert_eq!(served.run("true").await.end.error.unwrap(), "there is no user `pando-surely-not`");
}

#[tokio::test]
async fn frames_that_make_no_sense_end_it() {
    let served = Served::start().await;
    let mut running = served.exec(&beside("echo $$; exec sleep 1000")).await;
    let pid = read_pid(&mut running).await;
    send(&mut running, Channel::Resize, "wide").await;
    let end = read(&mut running).await.end;
    assert!(end.code == 143 && end.error.unwrap().contains("a Resize frame is wrong"));
    assert!(!is_alive(pid));
}

#[tokio::test]
async fn a_timeout_ends_it_even_when_it_ignores_the_request_to() {
    let served = Served::start().await;
    for command in ["echo $$; exec sleep 1000", "trap '' TERM; echo $$; while true; do sleep 1; done"] {
        let begun = Instant::now();
        let mut running = served.exec(&ExecStart { timeout: Some(Millis(300)), ..beside(command) }).await;
        let pid = read_pid(&mut running).await;
        let end = read(&mut running).await.end;
        assert!(end.code == 124 && end.error.unwrap().contains("its timeout"), "{command}");
        assert!(!is_alive(pid) && begun.elapsed().as_millis() >= 300, "{command}");
    }
}

#[tokio::test]
async fn what_is_left_in_the_background_is_heard_for_a_moment_and_ended() {
    let served = Served::start().await;
    let late = served.run("(sleep 0.1; echo late) & echo now").await;
    assert_eq!((late.out().as_str(), late.end.code), ("now\nlate\n", 0));
    let left = served.run("sleep 1000 & echo $!; exit 4").await;
    assert_eq!(left.end.code, 4);
    assert!(!is_alive(left.out().trim().parse().unwrap()));
}

#[tokio::test]
async fn who_leaves_the_session_with_its_output_holds_up_nobody() {
    let served = Served::start().await;
    let ended = served.run("setsid sh -c 'echo $$; exec sleep 1000' & exit 5").await;
    assert_eq!(ended.end.code, 5);
    let pid = rustix::process::Pid::from_raw(ended.out().trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}
