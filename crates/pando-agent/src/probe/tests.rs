use std::net::SocketAddr;
use std::time::Duration;

use pando_model::app::HealthCheck;
use pando_model::time::Millis;
use pando_runtime::ImagePlace;
use pando_runtime::docker::{DockerRuntime, DockerSettings, Engine};
use pando_runtime::logs::LogSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::leader::Leader;

const DEADLINE: Duration = Duration::from_secs(20);

fn spec(kind: HealthKind, address: SocketAddr) -> CheckSpec {
    CheckSpec {
        key: RunKey { id: uuid::Uuid::nil(), attempt: 0 },
        health: HealthCheck {
            kind,
            interval: Millis(40),
            timeout: Millis(300),
            healthy: 1,
            unhealthy: 1,
            start_timeout: Millis(1000),
        },
        address,
        place: Place::Directory("/".into()),
        env: BTreeMap::new(),
        user: None,
    }
}

fn checkers() -> Checkers {
    let leader = Leader { program: "/nonexistent/leader".into(), args: Vec::new() };
    Checkers { sessions: Sessions { leader, default_env: BTreeMap::new() }, containers: None }
}

async fn http(address: SocketAddr) -> Result<(), String> {
    check_once(&spec(HealthKind::Http { path: "/health?deep=1".to_owned() }, address), &checkers(), None)
        .await
}

/// A server that answers each connection with these bytes, and gives back what it was asked last.
async fn answering(bytes: &'static [u8]) -> (SocketAddr, tokio::sync::mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, requests) = tokio::sync::mpsc::channel(100);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = vec![0; 4096];
            let count = stream.read(&mut request).await.unwrap_or(0);
            let _ = asked.try_send(String::from_utf8_lossy(&request[..count]).into_owned());
            let _ = stream.write_all(bytes).await;
        }
    });
    (address, requests)
}

/// An address where nobody listens.
async fn deserted() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn answers_from_200_to_399_pass() {
    for (answer, expected) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"[..], Ok(())),
        (b"HTTP/1.1 204 No Content\r\n\r\n", Ok(())),
        (b"HTTP/1.1 302 Found\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n", Ok(())),
        (b"HTTP/1.0 200 OK\r\n\r\nuntil the end", Ok(())),
        (b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", Err("404 from /health?deep=1")),
        (b"HTTP/1.1 503 Down\r\ncontent-length: 4\r\n\r\ndown", Err("503 from /health?deep=1")),
        (b"SSH-2.0-OpenSSH_9\r\n", Err("no HTTP from /health?deep=1")),
        (b"", Err("connection closed without an answer from /health?deep=1")),
    ] {
        let (address, _requests) = answering(answer).await;
        let expected = expected.map_err(str::to_owned);
        assert_eq!(http(address).await, expected, "{}", String::from_utf8_lossy(answer));
    }
}

#[tokio::test]
async fn the_request_names_its_host_and_path() {
    let (address, mut requests) = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    http(address).await.unwrap();
    let request = requests.recv().await.unwrap().to_lowercase();
    assert!(request.starts_with("get /health?deep=1 http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("host: {address}\r\n")), "{request}");
}

#[tokio::test]
async fn silence_and_refusal_have_words() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    assert_eq!(http(address).await, Err("no answer within 300 ms".to_owned()));
    assert_eq!(check_once(&spec(HealthKind::Tcp, address), &checkers(), None).await, Ok(()));
    let refused = Err("connection refused".to_owned());
    assert_eq!(http(deserted().await).await, refused);
    assert_eq!(check_once(&spec(HealthKind::Tcp, deserted().await), &checkers(), None).await, refused);
}

#[tokio::test]
async fn an_endless_body_does_not_hold_a_check() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[b'x'; 4096]).await.is_ok() {}
    });
    assert_eq!(http(address).await, Ok(()));
}

#[tokio::test]
async fn a_command_that_can_not_start_says_so() {
    let kind = HealthKind::Command { command: "bin/check".to_owned() };
    let said = check_once(&spec(kind, deserted().await), &checkers(), None).await.unwrap_err();
    assert!(said.starts_with("can't start `bin/check`: "), "{said}");
}

#[tokio::test]
async fn checks_are_eager_until_the_first_pass_then_keep_their_interval() {
    let tasks = Tasks::new(&Shutdown::new());
    let (sender, mut events) = mpsc::channel(100);
    let mut probes = Probes::new(checkers(), tasks.clone(), sender);
    let address = deserted().await;
    let mut slow = spec(HealthKind::Tcp, address);
    slow.health.interval = Millis(60_000);
    probes.start(slow.clone());
    for _ in 0..3 {
        // Far sooner than its interval.
        let event = tokio::time::timeout(DEADLINE, events.recv()).await.unwrap().unwrap();
        assert!(matches!(event, Event::CheckFailed { .. }), "{event:?}");
    }
    let _listener = TcpListener::bind(address).await.unwrap();
    let mut passes = 0;
    while let Ok(Some(event)) = tokio::time::timeout(Duration::from_millis(400), events.recv()).await {
        passes += u32::from(event == Event::CheckPassed(slow.key));
    }
    assert_eq!(passes, 1, "the next is a minute away");
    probes.start(spec(HealthKind::Tcp, address));
    for _ in 0..5 {
        let event = tokio::time::timeout(DEADLINE, events.recv()).await.unwrap().unwrap();
        assert_eq!(event, Event::CheckPassed(slow.key));
    }
    probes.stop(slow.key);
    assert!(tasks.finish(DEADLINE).await);
}

/// What nobody can look into is not thereby ill: it serves on, and other checks of it are made.
#[tokio::test]
async fn an_engine_that_is_away_says_nothing_of_what_runs_in_it() {
    let root = tempfile::tempdir().unwrap();
    let settings = DockerSettings {
        state_dir: root.path().join("state"),
        engine: Engine::at(root.path().join("away.sock")),
        log: LogSettings::default(),
        cluster: "of-tests".to_owned(),
    };
    let containers = DockerRuntime::open(settings, &Shutdown::new()).unwrap().containers();
    let checkers = Checkers { containers: Some(containers), ..checkers() };
    let (sender, mut events) = mpsc::channel(100);
    let address = deserted().await;
    for (kind, said) in [
        (HealthKind::Command { command: "true".to_owned() }, false),
        (HealthKind::Image { path: Some("/".to_owned()) }, false),
        (HealthKind::Http { path: "/".to_owned() }, true),
    ] {
        let place = Place::Image(Box::new(ImagePlace::of("a:1")));
        let spec = CheckSpec { place, ..spec(kind.clone(), address) };
        let some_time = Duration::from_millis(1200);
        assert!(tokio::time::timeout(some_time, check_on(&spec, &checkers, &sender)).await.is_err());
        assert_eq!(events.try_recv().is_ok(), said, "{kind:?}");
    }
}
