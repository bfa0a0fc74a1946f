//! The agent's own API: who may ask, logs, and commands beside replicas.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use pando_api::auth::Bearer;
use pando_api::client::{AgentClient, ClientError, ExecStream};
use pando_api::error::ErrorCode;
use pando_api::stream::{Channel, ExecEnd, Frame};
use pando_api::v1::agents::{ExecStart, LogQuery, LogStream, TerminalSize};
use pando_model::observed::InstanceState;
use pando_model::release::ReleaseNumber;
use pando_model::time::{Millis, Timestamp};
use pando_runtime::logs::LogWriter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bench::{Bench, DEADLINE, TOKEN, is, listening, until};

fn client(bench: &Bench) -> AgentClient {
    AgentClient::new(bench.address, Some(Bearer::new(TOKEN).unwrap())).unwrap()
}

/// An agent with one ready replica, `web-1`.
async fn ready() -> (Bench, tokio::net::TcpListener) {
    let mut bench = Bench::new().await;
    let (replica, port) = listening().await;
    bench.start_agent().await;
    bench.control.assign(bench.assignment(1, &[(1, port)]));
    bench.control.until("ready", |report| is(report, 1, &InstanceState::Ready)).await;
    (bench, replica)
}

fn beside(command: &str) -> ExecStart {
    ExecStart {
        app: "hits".parse().unwrap(),
        replica: Some("web-1".parse().unwrap()),
        release: None,
        env: std::collections::BTreeMap::new(),
        command: command.to_owned(),
        terminal: None,
        timeout: None,
    }
}

/// Sends input, then reads to the end: stdout, stderr, and how it ended.
async fn talk(frames: &mut ExecStream, input: &[&[u8]]) -> (String, String, ExecEnd) {
    for piece in input {
        send(frames, Channel::Stdin, piece).await;
    }
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    loop {
        let frame = next(frames).await.expect("an end");
        match frame.channel {
            Channel::Stdout => stdout.extend(frame.payload),
            Channel::Stderr => stderr.extend(frame.payload),
            Channel::End => {
                let end = serde_json::from_slice(&frame.payload).unwrap();
                let text = |bytes| String::from_utf8(bytes).unwrap();
                return (text(stdout), text(stderr), end);
            }
            other => panic!("{other:?}"),
        }
    }
}

async fn send(frames: &mut ExecStream, channel: Channel, payload: &[u8]) {
    frames.send(Frame { channel, payload: Bytes::copy_from_slice(payload) }).await.unwrap();
}

async fn next(frames: &mut ExecStream) -> Option<Frame> {
    let frame = tokio::time::timeout(DEADLINE, frames.next()).await.expect("a frame in time");
    frame.map(Result::unwrap)
}

/// Reads until the output holds `text`.
async fn until_says(frames: &mut ExecStream, text: &str) -> String {
    let mut said = String::new();
    while !said.contains(text) {
        let frame = next(frames).await.unwrap_or_else(|| panic!("`{text}` after {said:?}"));
        assert_eq!(frame.channel, Channel::Stdout, "{frame:?} after {said:?}");
        said.push_str(&String::from_utf8_lossy(&frame.payload));
    }
    said
}

async fn exec(bench: &Bench, start: &ExecStart) -> (String, String, ExecEnd) {
    let mut frames = client(bench).exec(start).await.unwrap();
    talk(&mut frames, &[]).await
}

fn ended(code: i32) -> ExecEnd {
    ExecEnd { code, error: None }
}

/// Whether a process with this in its command line lives.
fn lives(marker: &str) -> bool {
    let processes = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.into_iter().any(|line| {
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        line.starts_with("sleep") && line.contains(marker)
    })
}

#[tokio::test]
async fn every_path_asks_for_the_token() {
    let (mut bench, _replica) = ready().await;
    for path in ["GET /healthz", "GET /v1/logs", "POST /v1/exec", "GET /nothing", "DELETE /v1/logs"] {
        for token in ["", "Authorization: Bearer pando_wrong\r\n", "Authorization: Basic eDp4\r\n"] {
            let answer =
                raw(&bench, &format!("{path} HTTP/1.1\r\nHost: x\r\n{token}Connection: close\r\n\r\n")).await;
            assert!(answer.starts_with("HTTP/1.1 401 "), "{path} {token}: {answer}");
        }
    }
    let token = format!("Authorization: Bearer {TOKEN}\r\nConnection: close\r\n\r\n");
    for (path, status) in [
        ("GET /healthz", "204"),
        ("GET /nothing", "404"),
        ("POST /v1/exec", "400"),
        ("GET /v1/logs?tail=x", "400"),
    ] {
        let answer = raw(&bench, &format!("{path} HTTP/1.1\r\nHost: x\r\n{token}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {answer}");
    }
    bench.stop_agent().await;
}

async fn raw(bench: &Bench, request: &str) -> String {
    let mut stream = TcpStream::connect(bench.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

fn writer(bench: &Bench, name: &str) -> LogWriter {
    LogWriter::new(&bench.logs(), "hits", name)
}

fn write(writer: &mut LogWriter, millis: i64, text: &str) {
    let lines = [(pando_runtime::logs::Stream::Stdout, text.as_bytes())];
    writer.write(Timestamp::from_millis(millis), &lines);
}

#[tokio::test]
async fn logs_are_read_and_followed() {
    let (mut bench, _replica) = ready().await;
    let mut web = writer(&bench, "web-1");
    let mut other = writer(&bench, "worker-1");
    write(&mut web, 1000, "one");
    write(&mut web, 2000, "two");
    write(&mut other, 1500, "elsewhere");
    let query = |change: &dyn Fn(&mut LogQuery)| {
        let mut query = LogQuery { app: Some("hits".parse().unwrap()), ..LogQuery::default() };
        change(&mut query);
        query
    };
    let read = async |query: LogQuery| -> Vec<String> {
        let lines = client(&bench).logs(&query).await.unwrap();
        lines.map(|line| line.unwrap().text).collect().await
    };
    assert_eq!(read(query(&|_| {})).await, ["one", "elsewhere", "two"]);
    assert_eq!(read(query(&|query| query.process = Some("web".parse().unwrap()))).await, ["one", "two"]);
    assert_eq!(read(query(&|query| query.replica = Some("worker-1".parse().unwrap()))).await, ["elsewhere"]);
    assert_eq!(read(query(&|query| query.since_millis = Some(1600))).await, ["two"]);
    assert_eq!(read(query(&|query| query.tail = Some(1))).await, ["two"]);
    assert_eq!(read(LogQuery::default()).await, ["one", "elsewhere", "two"], "every app");
    let mut lines = client(&bench).logs(&query(&|query| query.follow = true)).await.unwrap();
    let next = async |lines: &mut pando_api::client::LogLines| {
        tokio::time::timeout(DEADLINE, lines.next()).await.unwrap().unwrap().unwrap()
    };
    for _ in 0..3 {
        next(&mut lines).await;
    }
    write(&mut web, 3000, "three");
    let line = next(&mut lines).await;
    assert_eq!(
        (line.text.as_str(), line.source.as_str(), line.stream),
        ("three", "web-1", LogStream::Stdout)
    );
    // A follower does not keep the agent from ending.
    bench.stop_agent().await;
}

#[tokio::test]
async fn a_command_runs_beside_its_replica() {
    let (mut bench, _replica) = ready().await;
    let command = "cat note.txt - ; echo $COLOUR $HOME; echo warning >&2; exit 7";
    let mut frames = client(&bench).exec(&beside(command)).await.unwrap();
    let (stdout, stderr, end) = talk(&mut frames, &[b"from ", b"afar\n", b""]).await;
    let home = std::env::var("HOME").unwrap_or_default();
    assert_eq!(
        (stdout, stderr, end),
        (format!("hello\nfrom afar\ngreen {home}\n"), "warning\n".to_owned(), ended(7))
    );
    assert_eq!(exec(&bench, &beside("kill -9 $$")).await.2, ended(137));
    let big = exec(&bench, &beside("head -c 3000000 /dev/zero | tr '\\0' x")).await;
    assert_eq!((big.0.len(), big.2), (3_000_000, ended(0)));
    bench.stop_agent().await;
}

#[tokio::test]
async fn a_one_off_runs_in_a_release_with_the_environment_that_it_is_given() {
    let (mut bench, _replica) = ready().await;
    let mut start = beside("cat note.txt; echo $COLOUR-$SHADE");
    start.replica = None;
    start.release = Some(ReleaseNumber(1));
    start.env.insert("SHADE".to_owned(), "dark".to_owned());
    assert_eq!(exec(&bench, &start).await, ("hello\n-dark\n".to_owned(), String::new(), ended(0)));
    bench.stop_agent().await;
}

#[tokio::test]
async fn what_can_not_run_says_why() {
    let (mut bench, _replica) = ready().await;
    let check = async |start: ExecStart, error: &str| {
        let end = exec(&bench, &start).await.2;
        assert_eq!(end, ExecEnd { code: 126, error: Some(error.to_owned()) });
    };
    let mut start = beside("true");
    start.replica = Some("web-9".parse().unwrap());
    check(start.clone(), "web-9 of hits is not on this server").await;
    start.replica = None;
    check(start.clone(), "neither a replica nor a release is named").await;
    start.release = Some(ReleaseNumber(9));
    check(start, "hits v9 is not on this server").await;
    bench.stop_agent().await;
}

#[tokio::test]
async fn a_command_ends_with_its_time_and_all_that_it_started() {
    let (mut bench, _replica) = ready().await;
    let mut start = beside("echo begun; sleep 36001 & sleep 36001");
    start.timeout = Some(Millis(300));
    let (stdout, _, end) = exec(&bench, &start).await;
    assert_eq!((stdout.as_str(), end.code), ("begun\n", 124));
    assert_eq!(end.error.as_deref(), Some("stopped after 300 ms"));
    assert!(!lives("36001"));
    // What it leaves behind holds its output open, and nobody up.
    let began = Instant::now();
    let (stdout, _, end) = exec(&bench, &beside("sleep 36002 & echo done")).await;
    assert_eq!((stdout.as_str(), end), ("done\n", ended(0)));
    assert!(began.elapsed() < Duration::from_secs(5) && !lives("36002"), "{:?}", began.elapsed());
    bench.stop_agent().await;
}

#[tokio::test]
async fn a_command_ends_when_its_caller_leaves() {
    let (mut bench, _replica) = ready().await;
    let command = "trap '' HUP; sleep 36003 & echo begun; sleep 36003";
    let mut frames = client(&bench).exec(&beside(command)).await.unwrap();
    until_says(&mut frames, "begun").await;
    until("its sleep", || lives("36003")).await;
    drop(frames);
    until("its end", || !lives("36003")).await;
    bench.stop_agent().await;
}

#[tokio::test]
async fn a_command_ends_with_the_agent_which_says_so() {
    let (mut bench, _replica) = ready().await;
    let mut frames = client(&bench).exec(&beside("echo begun; sleep 36004")).await.unwrap();
    until_says(&mut frames, "begun").await;
    let (ended, ()) = tokio::join!(talk(&mut frames, &[]), bench.stop_agent());
    assert!(ended.2.error.is_some_and(|error| error.contains("the agent is being stopped")));
    assert!(!lives("36004"));
}

fn at_terminal(command: &str) -> ExecStart {
    let mut start = beside(command);
    start.terminal = Some(TerminalSize { columns: 91, rows: 17 });
    start
}

#[tokio::test]
async fn a_terminal_is_one_with_its_size_and_kind() {
    let (mut bench, _replica) = ready().await;
    let command = "tty; test -t 1 && test -t 2 && stty size < /dev/tty; echo $TERM; cat note.txt";
    let (said, stderr, end) = exec(&bench, &at_terminal(command)).await;
    assert_eq!((stderr.as_str(), end), ("", ended(0)), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("/dev/pts/"), "{said}");
    assert_eq!(lines[1..], ["17 91", "xterm-256color", "hello"]);
    let mut own = at_terminal("echo $TERM");
    own.env.insert("TERM".to_owned(), "vt100".to_owned());
    assert_eq!(exec(&bench, &own).await.0, "vt100\r\n");
    bench.stop_agent().await;
}

#[tokio::test]
async fn a_terminal_carries_input_signals_and_changes_of_size() {
    let (mut bench, _replica) = ready().await;
    let command = "trap 'echo interrupted' INT; trap 'stty size' WINCH; echo begun; while :; do read line && echo \"<$line>\"; done";
    let mut frames = client(&bench).exec(&at_terminal(command)).await.unwrap();
    until_says(&mut frames, "begun").await;
    send(&mut frames, Channel::Stdin, b"some words\n").await;
    until_says(&mut frames, "<some words>").await;
    let size = serde_json::to_vec(&TerminalSize { columns: 120, rows: 40 }).unwrap();
    send(&mut frames, Channel::Resize, &size).await;
    until_says(&mut frames, "40 120").await;
    send(&mut frames, Channel::Stdin, &[3]).await;
    until_says(&mut frames, "interrupted").await;
    drop(frames);
    bench.stop_agent().await;
}

#[tokio::test]
async fn the_end_of_input_reaches_a_terminal() {
    let (mut bench, _replica) = ready().await;
    let mut frames =
        client(&bench).exec(&at_terminal("echo begun; cat > /dev/null; echo over")).await.unwrap();
    until_says(&mut frames, "begun").await;
    let (said, _, end) = talk(&mut frames, &[b""]).await;
    assert!(said.contains("over"), "{said}");
    assert_eq!(end, ended(0));
    bench.stop_agent().await;
}

#[tokio::test]
async fn so_many_commands_at_once_and_no_more() {
    let (mut bench, _replica) = ready().await;
    let mut open = Vec::new();
    for _ in 0..32 {
        open.push(client(&bench).exec(&beside("cat")).await.unwrap());
    }
    let error = client(&bench).exec(&beside("cat")).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::Unavailable), "{error}");
    open.clear();
    let tried = async {
        loop {
            match client(&bench).exec(&beside("cat")).await {
                Ok(_) => return,
                Err(ClientError::Refused(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(other) => panic!("{other}"),
            }
        }
    };
    tokio::time::timeout(DEADLINE, tried).await.unwrap();
    bench.stop_agent().await;
}
