//! A served API with one replica and one release, and a caller.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use pando_agent::leader::Leader;
use pando_agent::serve::{Admission, Ground, Neighbours, Place, Places, ServeState, serve};
use pando_api::client::ExecStream;
use pando_api::stream::{Channel, ExecEnd, Frame};
use pando_api::v1::agents::{ExecLike, ExecStart, RelayedReport};
use pando_api::{AgentClient, Bearer, ErrorBody, ErrorCode};
use pando_model::id::{ServerId, Version};
use pando_model::name::{AppName, ReplicaName};
use pando_model::release::ReleaseNumber;
use pando_model::resources::Resources;
use pando_rt::shutdown::Shutdown;
use pando_runtime::RunKey;
use pando_runtime::logs::{LogSettings, LogStore};
use pando_runtime::process::{Limits, ProcessRuntime, ProcessSettings};
use pando_trust::SignedBytes;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

pub(super) const TOKEN: &str = "pando_agent_token";

/// Far more than anything here takes.
const DEADLINE: Duration = Duration::from_secs(60);

pub(super) struct Served {
    pub(super) root: tempfile::TempDir,
    pub(super) address: SocketAddr,
    pub(super) logs: LogStore,
    pub(super) shutdown: Shutdown,
    pub(super) serving: JoinHandle<()>,
    /// Where commands have limits.
    pub(super) runtime: Option<ProcessRuntime>,
}

/// `web-1` of `shop` runs in ROOT/replica, its release 7 lies in ROOT/release.
struct OneReplica {
    root: PathBuf,
    place: Place,
}

impl Places for OneReplica {
    fn replica(&self, app: &AppName, replica: &ReplicaName) -> Option<Place> {
        (app.as_str() == "shop" && replica.to_string() == "web-1").then(|| self.place.clone())
    }

    fn release(&self, app: &AppName, release: ReleaseNumber, like: Option<&ExecLike>) -> Option<Ground> {
        let known = app.as_str() == "shop" && release == ReleaseNumber(7);
        let limits = Limits::Alone(like.map(|like| like.resources).unwrap_or_default());
        known.then(|| Ground::Directory(self.root.join("release"), limits))
    }
}

/// Nobody else is cut off.
struct Nobody;

impl Neighbours for Nobody {
    fn newest_table(&self, _: Version) -> Option<SignedBytes> {
        None
    }

    fn relay(&self, server: ServerId, _: RelayedReport) -> Result<(), ErrorBody> {
        Err(ErrorBody::new(ErrorCode::Unavailable, format!("{server} can't be helped")))
    }
}

impl Served {
    pub(super) async fn start() -> Self {
        Self::with(None, None).await
    }

    pub(super) async fn admitting(admission: Admission) -> Self {
        Self::made(None, None, admission, None).await
    }

    /// With real limits. The replica is that run, if it runs.
    pub(super) async fn limited(replica: RunKey) -> Self {
        Self::made(None, None, Admission::Token(Bearer::new(TOKEN).unwrap()), Some(replica)).await
    }

    /// The replica runs as `user` in `directory`.
    pub(super) async fn with(user: Option<String>, directory: Option<&Path>) -> Self {
        Self::made(user, directory, Admission::Token(Bearer::new(TOKEN).unwrap()), None).await
    }

    async fn made(
        user: Option<String>,
        directory: Option<&Path>,
        admission: Admission,
        replica: Option<RunKey>,
    ) -> Self {
        let root = tempfile::tempdir().unwrap();
        for name in ["replica", "release"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        let directory = directory.map_or_else(|| root.path().join("replica"), Path::to_owned);
        let limits =
            Limits::Beside(replica.unwrap_or(RunKey { id: Uuid::nil(), attempt: 0 }), Resources::default());
        let ground = Ground::Directory(directory, limits);
        let runtime = replica.map(|_| open(root.path()));
        let commands = runtime.as_ref().map(ProcessRuntime::commands);
        let place = Place { ground, env: map(&[("GREETING", "hello"), ("TZ", "Asia/Tokyo")]), user };
        let logs = LogStore::new(root.path().join("logs"), LogSettings { file_bytes: 1000, files: 4 });
        let state = ServeState {
            admission,
            logs: logs.clone(),
            neighbours: Arc::new(Nobody),
            places: Arc::new(OneReplica { root: root.path().to_owned(), place }),
            leader: Leader { program: env!("CARGO_BIN_EXE_agent-test").into(), args: vec!["leader".into()] },
            default_env: map(&[("TZ", "UTC"), ("LANG", "C.UTF-8")]),
            users: false,
            commands,
            containers: None,
            releases: root.path().join("releases"),
            engine: root.path().join("no-engine.sock"),
            pruner: None,
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown) = (listener.local_addr().unwrap(), Shutdown::new());
        let ending = shutdown.clone();
        let serving = tokio::spawn(async move { serve(listener, Arc::new(state), ending).await.unwrap() });
        Self { root, address, logs, shutdown, serving, runtime }
    }

    pub(super) fn client(&self) -> AgentClient {
        AgentClient::new(self.address, Some(Bearer::new(TOKEN).unwrap())).unwrap()
    }

    pub(super) async fn exec(&self, start: &ExecStart) -> ExecStream {
        self.client().exec(start).await.unwrap()
    }

    /// Runs it beside the replica, without input, to its end.
    pub(super) async fn run(&self, command: &str) -> Ended {
        read(&mut self.exec(&beside(command)).await).await
    }
}

/// A runtime whose runs have limits, as far as this machine allows it.
pub(super) fn open(state_dir: &Path) -> ProcessRuntime {
    let settings = ProcessSettings {
        state_dir: state_dir.to_owned(),
        shim_program: env!("CARGO_BIN_EXE_agent-test").into(),
        shim_args: vec!["shim".to_owned()],
        log: LogSettings::default(),
        use_cgroups: true,
        default_env: BTreeMap::new(),
    };
    ProcessRuntime::open(settings, &Shutdown::new()).unwrap()
}

pub(super) fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A command beside the replica.
pub(super) fn beside(command: &str) -> ExecStart {
    ExecStart {
        app: AppName::new("shop").unwrap(),
        replica: Some("web-1".parse().unwrap()),
        release: None,
        env: BTreeMap::new(),
        like: None,
        command: command.to_owned(),
        terminal: None,
        timeout: None,
    }
}

/// All that a command said, and how it ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    pub(super) end: ExecEnd,
}

impl Ended {
    pub(super) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).replace('\r', "")
    }
}

/// Reads to the end frame, and sees that nothing follows it.
pub(super) async fn read(
    stream: &mut (impl StreamExt<Item = Result<Frame, pando_api::stream::FrameError>> + Unpin),
) -> Ended {
    within(async {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        loop {
            let frame = stream.next().await.expect("an end frame comes last").unwrap();
            match frame.channel {
                Channel::Stdout => stdout.extend_from_slice(&frame.payload),
                Channel::Stderr => stderr.extend_from_slice(&frame.payload),
                Channel::End => {
                    assert!(stream.next().await.is_none(), "nothing follows the end");
                    let end = serde_json::from_slice(&frame.payload).unwrap();
                    return Ended { stdout, stderr, end };
                }
                other => panic!("a frame of {other:?}"),
            }
        }
    })
    .await
}

/// The output up to and with `until`.
pub(super) async fn read_until(stream: &mut ExecStream, until: &str) -> String {
    within(async {
        let mut text = String::new();
        while !text.contains(until) {
            let frame = stream.next().await.expect("more output").unwrap();
            assert_eq!(frame.channel, Channel::Stdout, "{frame:?} after {text:?}");
            text.push_str(&String::from_utf8_lossy(&frame.payload));
        }
        text
    })
    .await
}

/// The number in the first line of the output.
pub(super) async fn read_pid(stream: &mut ExecStream) -> u32 {
    let text = read_until(stream, "\n").await;
    // What comes after it, such as a prompt, may have come with it.
    text.lines().next().unwrap_or_default().trim().parse().unwrap()
}

pub(super) async fn send(stream: &mut ExecStream, channel: Channel, payload: impl Into<Vec<u8>>) {
    let frame = Frame { channel, payload: payload.into().into() };
    within(stream.send(frame)).await.unwrap();
}

/// Whether the process is there and not merely waiting to be reaped.
pub(super) fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub(super) async fn until(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, waiting).await.is_ok(), "never: {what}");
}

pub(super) async fn until_gone(pid: u32) {
    until("the process is gone", || !is_alive(pid)).await;
}

pub(super) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, work).await.expect("it is done within the deadline")
}
