//! Commands on a terminal.

use std::path::Path;

use pando_api::stream::Channel;
use pando_api::v1::agents::{ExecStart, TerminalSize};

use super::support::{Served, beside, read, read_pid, read_until, send, until_gone};

fn on_terminal(command: &str) -> ExecStart {
    ExecStart { terminal: Some(TerminalSize { columns: 101, rows: 33 }), ..beside(command) }
}

#[tokio::test]
async fn the_three_streams_are_a_terminal_of_the_given_size() {
    let served = Served::start().await;
    let script =
        "test -t 0 && test -t 1 && test -t 2 && stty size && stty size </dev/tty && echo $TERM; exit 9";
    let ended = read(&mut served.exec(&on_terminal(script)).await).await;
    assert_eq!((ended.out().as_str(), ended.end.code), ("33 101\n33 101\nxterm-256color\n", 9));
}

#[tokio::test]
async fn a_new_size_is_told() {
    let served = Served::start().await;
    let mut running = served
        .exec(&on_terminal("trap 'stty size; exit 0' WINCH; echo ready; while :; do sleep 0.05; done"))
        .await;
    read_until(&mut running, "ready").await;
    send(&mut running, Channel::Resize, r#"{"columns":60,"rows":20}"#).await;
    assert!(read(&mut running).await.out().contains("20 60"));
}

#[tokio::test]
async fn the_end_of_input_is_what_a_person_would_type() {
    let served = Served::start().await;
    for (typed, seen) in [("abc\n", "abc\nabc\nover\n"), ("abc", "abcabcover\n")] {
        let mut cat = served.exec(&on_terminal("cat; echo over")).await;
        send(&mut cat, Channel::Stdin, typed).await;
        send(&mut cat, Channel::Stdin, "").await;
        assert_eq!(read(&mut cat).await.out(), seen);
    }
}

#[tokio::test]
async fn ctrl_c_interrupts_the_foreground() {
    let served = Served::start().await;
    let mut running = served.exec(&on_terminal("echo $$; exec sleep 1000")).await;
    let pid = read_pid(&mut running).await;
    send(&mut running, Channel::Stdin, "\x03").await;
    assert_eq!(read(&mut running).await.end.code, 130);
    until_gone(pid).await;
}

#[tokio::test]
async fn all_of_a_long_output_comes_before_the_end() {
    let served = Served::start().await;
    let ended = read(&mut served.exec(&on_terminal("seq 1 100000")).await).await;
    let expected: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    assert!(ended.out() == expected, "{} bytes", ended.stdout.len());
}

#[tokio::test]
async fn an_interactive_shell_with_jobs_ends_whole_when_the_caller_leaves() {
    let served = Served::start().await;
    let mut shell = served.exec(&on_terminal("set -m; sleep 1000 & echo $!; sh -i")).await;
    let job = read_pid(&mut shell).await;
    drop(shell);
    until_gone(job).await;
}

#[tokio::test]
async fn the_terminal_belongs_to_the_user() {
    let name = if rustix::process::geteuid().is_root() { "nobody" } else { return own_terminal().await };
    let served = Served::with(Some(name.to_owned()), Some(Path::new("/"))).await;
    let ended = read(&mut served.exec(&on_terminal("stat -c %U $(tty); echo again >$(tty)")).await).await;
    assert_eq!(ended.out(), "nobody\nagain\n");
}

async fn own_terminal() {
    let served = Served::start().await;
    let ended = read(&mut served.exec(&on_terminal("test -O $(tty) && echo again >$(tty)")).await).await;
    assert_eq!(ended.out(), "again\n");
}
