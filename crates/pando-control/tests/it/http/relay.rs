//! Logs and exec, relayed to agents: two of them here, in this process, on real sockets.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Query, Request};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, TryStreamExt};
use http::{HeaderMap, StatusCode};
use hyper_util::rt::TokioIo;
use pando_api::ErrorCode;
use pando_api::auth::Bearer;
use pando_api::stream::{Channel, ExecEnd, Frame, Frames};
use pando_api::v1::agents::{ExecStart, LogLine, LogQuery, LogStream, TerminalSize};
use pando_api::v1::logs::AppLogQuery;
use pando_model::id::{ServerId, Version};
use pando_model::name::{AppName, ReplicaName};
use pando_model::observed::{AgentReport, Observed, ReleaseState, ReleaseStatus};
use pando_model::release::ReleaseNumber;
use pando_model::time::Timestamp;
use pando_plan::input::heard;
use pando_rt::clock::Clock;
use pando_trust::tls::{Callers, accept, server_config};
use pando_trust::{Identity, LiveIdentity, Subject};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio_util::codec::Framed;

use crate::cluster::{Cluster, PATIENCE, app, id, spec};

const TOKEN: &str = "pando_between-control-and-agents";

/// What the fake agents are asked, and what they answer.
#[derive(Clone, Default)]
struct Agent {
    lines: Arc<Vec<LogLine>>,
    live: Arc<Mutex<Option<mpsc::Receiver<LogLine>>>>,
    asked: Arc<Mutex<Vec<LogQuery>>>,
    /// By mutual TLS, to the control plane alone. `None`: plain, to whoever has the token.
    identity: Option<Identity>,
}

impl Agent {
    async fn serve(self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let by_token = self.identity.is_none();
        let control = Callers::Known(Arc::new(|peer| peer.subject == Subject::Control));
        let tls = self.identity.clone().map(LiveIdentity::new);
        let tls = tls.map(|identity| server_config(&identity, control, &Clock::system()).unwrap());
        let routes = axum::Router::new()
            .route("/v1/logs", get(move |headers, query| self.logs(headers, query)))
            .route("/v1/exec", post(move |request| exec(by_token, request)));
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                match &tls {
                    None => drop(tokio::spawn(requests(stream, routes.clone()))),
                    Some(config) => {
                        let accepted = accept(stream, config, PATIENCE).await;
                        drop(accepted.map(|stream| tokio::spawn(requests(stream, routes.clone()))));
                    }
                }
            }
        });
        address
    }

    async fn logs(self, headers: HeaderMap, Query(query): Query<LogQuery>) -> Response {
        if self.identity.is_none() && !is_control(&headers) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let history = futures_util::stream::iter((*self.lines).clone());
        let live = if query.follow { self.live.lock().unwrap().take() } else { None };
        self.asked.lock().unwrap().push(query);
        let live = futures_util::stream::unfold(live, |live| async move {
            let mut live = live?;
            Some((live.recv().await?, Some(live)))
        });
        let text = |line: LogLine| Ok::<_, std::io::Error>(serde_json::to_string(&line).unwrap() + "\n");
        Body::from_stream(history.chain(live).map(text)).into_response()
    }
}

async fn requests(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, routes: axum::Router) {
    let service = hyper_util::service::TowerToHyperService::new(routes);
    let http = hyper::server::conn::http1::Builder::new();
    // Whoever leaves early is looked at from its own side.
    let _ = http.serve_connection(TokioIo::new(stream), service).with_upgrades().await;
}

fn is_control(headers: &HeaderMap) -> bool {
    let bearer = headers.get("authorization").and_then(Bearer::from_header);
    bearer.is_some_and(|bearer| bearer.reveal() == TOKEN)
}

/// Says what it was told to run, echoes its input in capitals, and ends with 7.
async fn exec(by_token: bool, mut request: Request) -> Response {
    if by_token && !is_control(request.headers()) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let mut frames = Framed::new(TokioIo::new(upgrade.await.unwrap()), Frames);
        while let Some(Ok(frame)) = frames.next().await {
            let (channel, payload) = match frame.channel {
                Channel::Start | Channel::Resize => (Channel::Stderr, frame.payload),
                Channel::Stdin if frame.payload.is_empty() => {
                    let end = serde_json::to_vec(&ExecEnd { code: 7, error: None }).unwrap();
                    (Channel::End, end.into())
                }
                _ => (Channel::Stdout, frame.payload.to_ascii_uppercase().into()),
            };
            frames.send(Frame { channel, payload }).await.unwrap();
            if channel == Channel::End {
                break;
            }
        }
    });
    let headers = [("connection", "upgrade"), ("upgrade", "pando-exec")];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

fn line(millis: i64, source: &str) -> LogLine {
    let text = format!("{source} at {millis}");
    LogLine { time: Timestamp::from_millis(millis), source: source.into(), stream: LogStream::Stdout, text }
}

async fn cluster() -> Cluster {
    let cluster = Cluster::with(|settings| settings.agent_token = Some(Bearer::new(TOKEN).unwrap())).await;
    cluster.deploy(spec("hits")).await;
    cluster
}

async fn texts(cluster: &Cluster, query: &AppLogQuery) -> Vec<String> {
    let lines = cluster.client.logs(&app("hits"), query).await.unwrap();
    lines.map_ok(|line| line.text).try_collect().await.unwrap()
}

#[tokio::test]
async fn lines_of_all_servers_come_in_order() {
    let cluster = cluster().await;
    let agents = [&[1, 3, 5][..], &[2, 4]].map(|times| Agent {
        lines: Arc::new(times.iter().map(|millis| line(*millis, "web-1")).collect()),
        ..Agent::default()
    });
    cluster.add_server("main", cluster.server, agents[0].clone().serve().await).await;
    cluster.add_server("two", ServerId::from_uuid(id(2)), agents[1].clone().serve().await).await;
    let all: Vec<String> = (1..6).map(|millis| format!("web-1 at {millis}")).collect();
    assert_eq!(texts(&cluster, &AppLogQuery::default()).await, all);
    let newest = AppLogQuery { tail: Some(2), since_millis: Some(1), ..AppLogQuery::default() };
    assert_eq!(texts(&cluster, &newest).await, all[3..]);
    let asked = agents[1].asked.lock().unwrap();
    assert_eq!((asked[0].app.as_ref(), asked[0].tail), (Some(&app("hits")), Some(100)));
    assert_eq!((asked[1].tail, asked[1].since_millis), (Some(2), Some(1)));
}

#[tokio::test]
async fn new_lines_come_as_they_are_written() {
    let cluster = cluster().await;
    let (write, read) = mpsc::channel(8);
    let agent = Agent {
        lines: Arc::new(vec![line(1, "web-1")]),
        live: Arc::new(Mutex::new(Some(read))),
        ..Agent::default()
    };
    cluster.add_server("main", cluster.server, agent.serve().await).await;
    let query = AppLogQuery { follow: true, ..AppLogQuery::default() };
    let mut lines = cluster.client.logs(&app("hits"), &query).await.unwrap();
    for millis in 1..5 {
        let next = tokio::time::timeout(PATIENCE, lines.next()).await.unwrap();
        assert_eq!(next.unwrap().unwrap(), line(millis, "web-1"));
        write.send(line(millis + 1, "web-1")).await.unwrap();
    }
    // Once the reader is gone, so is the agent's side.
    drop(lines);
    tokio::time::timeout(PATIENCE, async {
        while write.send(line(9, "web-1")).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_server_that_cannot_be_asked_says_so_in_the_stream() {
    let cluster = cluster().await;
    let lines = texts(&cluster, &AppLogQuery::default()).await;
    assert_eq!(lines.len(), 1);
    assert!(lines[0].starts_with("the logs of main can't be read: can't reach"), "{lines:?}");
    let error = cluster.client.logs(&app("shop"), &AppLogQuery::default()).await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NotFound));
}

fn start(app: AppName, replica: Option<&str>) -> ExecStart {
    ExecStart {
        app,
        replica: replica.map(|name| name.parse::<ReplicaName>().unwrap()),
        release: None,
        env: Default::default(),
        like: None,
        command: "cat".to_owned(),
        terminal: Some(TerminalSize { columns: 80, rows: 24 }),
        timeout: None,
    }
}

fn frame(channel: Channel, payload: &'static str) -> Frame {
    Frame { channel, payload: Bytes::from(payload) }
}

/// The frames until the end, and what the agent was told to run.
async fn run(cluster: &Cluster, start: &ExecStart) -> (Option<ExecStart>, Vec<Frame>, ExecEnd) {
    let mut frames = cluster.client.exec(start).await.unwrap();
    for sent in [frame(Channel::Stdin, "hello"), frame(Channel::Stdin, "")] {
        // The other side may have ended it already; what it said is read below.
        let _ = frames.send(sent).await;
    }
    let (mut told, mut others) = (None, Vec::new());
    loop {
        let frame = tokio::time::timeout(PATIENCE, frames.next()).await.unwrap().unwrap().unwrap();
        match frame.channel {
            Channel::End => return (told, others, serde_json::from_slice(&frame.payload).unwrap()),
            Channel::Stderr if told.is_none() => told = Some(serde_json::from_slice(&frame.payload).unwrap()),
            _ => others.push(frame),
        }
    }
}

#[tokio::test]
async fn a_command_runs_beside_a_replica() {
    let cluster = cluster().await;
    cluster.add_server("main", cluster.server, Agent::default().serve().await).await;
    let wanted = start(app("hits"), Some("web-1"));
    let (told, frames, end) = run(&cluster, &wanted).await;
    assert_eq!(told, Some(wanted));
    assert_eq!(frames, [frame(Channel::Stdout, "HELLO")]);
    assert_eq!(end, ExecEnd { code: 7, error: None });
}

fn unpacked(cluster: &Cluster) {
    let release = ReleaseStatus { app: app("hits"), release: ReleaseNumber(1), state: ReleaseState::Ready };
    let report = AgentReport {
        server: cluster.server,
        boot: id(5),
        sequence: 1,
        assignment: Version::default(),
        instances: Default::default(),
        tasks: Default::default(),
        releases: vec![release],
        proxy: None,
        capacity: Default::default(),
        firewall: None,
        warnings: vec![],
    };
    let now = cluster.now();
    let seen = heard(None, report, now).into();
    let observed = Observed { since: now, servers: [(cluster.server, seen)].into() };
    cluster.shared.observed.send_replace(Arc::new(observed));
}

#[tokio::test]
async fn a_one_off_gets_the_release_and_environment_of_the_app() {
    let cluster = cluster().await;
    cluster.add_server("main", cluster.server, Agent::default().serve().await).await;
    let mut wanted = start(app("hits"), None);
    // What the caller would slip in is not what it runs with.
    wanted.env.insert("COLOR".to_owned(), "red".to_owned());
    let (_, _, end) = run(&cluster, &wanted).await;
    assert_eq!(end.code, 126);
    assert!(end.error.unwrap().contains("no server has v1"));

    unpacked(&cluster);
    let (told, _, end) = run(&cluster, &wanted).await;
    let told = told.unwrap();
    assert_eq!((told.release, end.code), (Some(ReleaseNumber(1)), 7));
    let env: Vec<(&str, &str)> =
        told.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let expected = [
        ("COLOR", "blue"),
        ("PANDO_APP", "hits"),
        ("PANDO_RELEASE", "v1"),
        ("PANDO_ROLES", "lb,web"),
        ("PANDO_SERVER", "main"),
    ];
    assert_eq!(env, expected);
}

#[tokio::test]
async fn a_command_that_cannot_run_ends_with_words() {
    let cluster = cluster().await;
    for (wanted, words) in [
        (start(app("hits"), Some("web-9")), "there is no replica web-9 (there are: web-1)"),
        (start(app("hits"), Some("web-1")), "main can't do it: can't reach"),
        (ExecStart { release: Some(ReleaseNumber(8)), ..start(app("hits"), None) }, "no release v8"),
    ] {
        let (_, _, end) = run(&cluster, &wanted).await;
        assert_eq!(end.code, 126);
        assert!(end.error.as_ref().unwrap().contains(words), "{end:?}");
    }
}

#[tokio::test]
async fn a_command_for_another_app_than_the_path_says_is_refused() {
    let cluster = cluster().await;
    let token = cluster.token(pando_api::Scope::Deploy { apps: vec![app("hits")] }, None).await;
    let (url, token) = (cluster.address, token.reveal().to_owned());
    let mut stream = tokio::net::TcpStream::connect(url).await.unwrap();
    let head = format!(
        "POST /v1/apps/hits/exec HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         connection: upgrade\r\nupgrade: pando-exec\r\n\r\n"
    );
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    assert!(answer.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&answer));
    let mut frames = Framed::new(stream, Frames);
    let payload = serde_json::to_vec(&start(app("shop"), Some("web-1"))).unwrap().into();
    frames.send(Frame { channel: Channel::Start, payload }).await.unwrap();
    let end = tokio::time::timeout(PATIENCE, frames.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(end.channel, Channel::End);
    let end: ExecEnd = serde_json::from_slice(&end.payload).unwrap();
    assert_eq!(end.error.unwrap(), "this is about `hits`, not `shop`");
}

#[tokio::test]
async fn the_end_of_the_control_plane_ends_streams() {
    let mut cluster = cluster().await;
    let (_write, read) = mpsc::channel(8);
    let agent = Agent { live: Arc::new(Mutex::new(Some(read))), ..Agent::default() };
    cluster.add_server("main", cluster.server, agent.serve().await).await;
    let query = AppLogQuery { follow: true, ..AppLogQuery::default() };
    let mut lines = cluster.client.logs(&app("hits"), &query).await.unwrap();
    let mut frames = cluster.client.exec(&start(app("hits"), Some("web-1"))).await.unwrap();
    let told = tokio::time::timeout(PATIENCE, frames.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(told.channel, Channel::Stderr);
    assert!(cluster.stop().await);
    assert!(tokio::time::timeout(PATIENCE, lines.next()).await.unwrap().is_none());
    // The end of the connection, as an end or as an error.
    assert!(!matches!(tokio::time::timeout(PATIENCE, frames.next()).await.unwrap(), Some(Ok(_))));
}

#[tokio::test]
async fn by_certificate_agents_are_reached_for_who_they_are() {
    let (cluster, _) = Cluster::secured().await;
    cluster.deploy(spec("hits")).await;
    let certified = |server| Agent {
        lines: Arc::new(vec![line(1, "web-1")]),
        identity: Some(cluster.identity(server)),
        ..Agent::default()
    };
    cluster.add_server("main", cluster.server, certified(cluster.server).serve().await).await;
    assert_eq!(texts(&cluster, &AppLogQuery::default()).await, ["web-1 at 1"]);
    let wanted = start(app("hits"), Some("web-1"));
    let (told, frames, end) = run(&cluster, &wanted).await;
    assert_eq!((told, frames), (Some(wanted.clone()), vec![frame(Channel::Stdout, "HELLO")]));
    assert_eq!(end, ExecEnd { code: 7, error: None });

    // Another server of the cluster answers at the address.
    let other = certified(ServerId::from_uuid(id(2))).serve().await;
    cluster.add_server("main", cluster.server, other).await;
    let said = texts(&cluster, &AppLogQuery::default()).await;
    assert!(said.len() == 1 && said[0].contains("is not the cluster that you know"), "{said:?}");
    let (told, _, end) = run(&cluster, &wanted).await;
    assert!(told.is_none() && end.code == 126, "{end:?}");
}
