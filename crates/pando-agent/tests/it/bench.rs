//! An agent under test, and short ways to say what it is assigned.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use pando_agent::{Agent, EntryKeeper, Leader, Membership, Settings, Trust};
use pando_api::auth::Bearer;
use pando_model::app::{HealthCheck, HealthKind};
use pando_model::assignment::{AssignedInstance, AssignedRelease, Assignment, Peer};
use pando_model::id::{InstanceId, ServerId, Version};
use pando_model::observed::{AgentReport, InstanceState};
use pando_model::release::{Digest, ReleaseNumber};
use pando_model::resources::Resources;
use pando_model::time::Millis;
use pando_rt::shutdown::Shutdown;
use pando_runtime::RunKey;
use pando_runtime::logs::{LogSettings, LogStore};
use pando_runtime::memory::MemoryRuntime;
use sha2::Digest as _;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;

use crate::authority::Cluster;
use crate::control::{self, Control};
use crate::proxy::Proxy;

pub(crate) const TOKEN: &str = "pando_for-the-agent";
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn server() -> ServerId {
    ServerId::from_uuid(Uuid::from_u128(7))
}

pub(crate) fn instance_id(n: u128) -> InstanceId {
    InstanceId::from_uuid(Uuid::from_u128(n))
}

pub(crate) fn run(n: u128, attempt: u32) -> RunKey {
    RunKey { id: Uuid::from_u128(n), attempt }
}

/// A packed release, and its digest.
pub(crate) fn packed(files: &[(&str, &str)]) -> (Bytes, Digest) {
    let mut pack = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
    for (path, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        header.set_size(content.len() as u64);
        pack.append_data(&mut header, path, content.as_bytes()).unwrap();
    }
    let bytes = Bytes::from(pack.into_inner().unwrap().finish().unwrap());
    let digest = Digest::new(hex::encode(sha2::Sha256::digest(&bytes))).unwrap();
    (bytes, digest)
}

pub(crate) fn instance(n: u16, port: u16) -> AssignedInstance {
    AssignedInstance {
        app: "hits".parse().unwrap(),
        process: "web".parse().unwrap(),
        replica: format!("web-{n}").parse().unwrap(),
        release: ReleaseNumber(1),
        command: "bin/web".to_owned(),
        container: None,
        port,
        env: BTreeMap::from([("COLOUR".to_owned(), "green".to_owned())]),
        health: HealthCheck {
            kind: HealthKind::Tcp,
            interval: Millis(50),
            timeout: Millis(1000),
            healthy: 1,
            unhealthy: 2,
            start_timeout: Millis(60_000),
        },
        stop_timeout: Millis(5000),
        resources: Resources::default(),
    }
}

pub(crate) fn is(report: &AgentReport, n: u128, state: &InstanceState) -> bool {
    report.instances.get(&instance_id(n)).is_some_and(|status| status.state == *state)
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(DEADLINE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.unwrap_or_else(|_| panic!("{what}"));
}

/// A server: its disk, its runs, its proxy, and (from time to time) its agent.
pub(crate) struct Bench {
    pub(crate) server: ServerId,
    pub(crate) control: Control,
    pub(crate) runtime: MemoryRuntime,
    pub(crate) proxy: Proxy,
    pub(crate) directory: TempDir,
    pub(crate) digest: Digest,
    pub(crate) address: SocketAddr,
    with_proxy: bool,
    keeper: Option<Arc<dyn EntryKeeper>>,
    /// Where the cluster has certificates.
    pub(crate) membership: Option<Membership>,
    /// Between the agent and the control plane.
    wire: Option<SocketAddr>,
    agent: Option<(Shutdown, JoinHandle<()>)>,
}

impl Bench {
    /// Everything but the agent, with release 1 at the control plane.
    pub(crate) async fn new() -> Self {
        let control = Control::start().await;
        let (content, digest) = packed(&[("bin/web", "#!/bin/sh\n"), ("note.txt", "hello\n")]);
        control.store(digest.as_str(), content);
        Self::of(server(), control, digest)
    }

    /// The same, in a cluster with certificates.
    pub(crate) async fn certified() -> Self {
        let control = Control::certified(Arc::new(Cluster::new())).await;
        let (content, digest) = packed(&[("bin/web", "#!/bin/sh\n")]);
        control.store(digest.as_str(), content);
        Self::of(server(), control, digest)
    }

    /// Another server of the same cluster, with the same release.
    pub(crate) fn beside(&self, n: u128) -> Self {
        Self::of(ServerId::from_uuid(Uuid::from_u128(n)), self.control.clone(), self.digest.clone())
    }

    fn of(server: ServerId, control: Control, digest: Digest) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let membership = control.cluster().map(|cluster| cluster.membership(server));
        Self {
            server,
            control,
            runtime: MemoryRuntime::new(),
            proxy: Proxy::at(&directory.path().join("proxy.sock")),
            directory,
            digest,
            address: "127.0.0.1:0".parse().unwrap(),
            with_proxy: false,
            keeper: None,
            membership,
            wire: None,
            agent: None,
        }
    }

    pub(crate) fn with_proxy(mut self) -> Self {
        self.with_proxy = true;
        self
    }

    /// The agent reaches the control plane by this alone.
    pub(crate) fn over(mut self, wire: SocketAddr) -> Self {
        self.wire = Some(wire);
        self
    }

    /// The proxy runs when the assignment says so.
    pub(crate) fn with_keeper(mut self, keeper: Arc<dyn EntryKeeper>) -> Self {
        self.keeper = Some(keeper);
        self
    }

    pub(crate) fn logs(&self) -> LogStore {
        LogStore::new(self.directory.path().join("logs"), LogSettings::default())
    }

    pub(crate) async fn start_agent(&mut self) {
        // The next agent listens where the one before did.
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.address = listener.local_addr().unwrap();
        let settings = self.settings(listener);
        let shutdown = Shutdown::new();
        let logs = self.logs();
        let (runtime, ending) = (Arc::new(self.runtime.clone()), shutdown.clone());
        let agent = tokio::spawn(async move { Agent::run(settings, runtime, logs, ending).await.unwrap() });
        self.agent = Some((shutdown, agent));
    }

    pub(crate) fn settings(&self, listener: TcpListener) -> Settings {
        Settings {
            server: self.server,
            name: "main".parse().unwrap(),
            state_dir: self.directory.path().to_owned(),
            control_url: self.wire.map_or_else(|| self.control.url(), |wire| format!("https://{wire}")),
            trust: match &self.membership {
                Some(membership) => Trust::Certificates(membership.clone()),
                None => Trust::Tokens {
                    control: Bearer::new(control::TOKEN).unwrap(),
                    own: Bearer::new(TOKEN).unwrap(),
                },
            },
            listener,
            proxy_socket: self.with_proxy.then(|| self.directory.path().join("proxy.sock")),
            entry_keeper: self.keeper.clone(),
            users: false,
            address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 77)),
            firewall: false,
            leader: Leader { program: env!("CARGO_BIN_EXE_agent-test").into(), args: vec!["leader".into()] },
            commands: None,
            containers: None,
            default_env: BTreeMap::new(),
            engine: pando_image::engine::DEFAULT_SOCKET.into(),
            prune_below: 0,
        }
    }

    /// As others know it. It must have been started.
    pub(crate) fn peer(&self) -> Peer {
        Peer { server: self.server, name: "other".parse().unwrap(), agent_address: self.address }
    }

    /// Asks the agent to end, and waits for it.
    pub(crate) async fn stop_agent(&mut self) {
        let (shutdown, agent) = self.agent.take().unwrap();
        shutdown.begin();
        tokio::time::timeout(DEADLINE, agent).await.expect("the agent ends in time").unwrap();
        self.runtime = self.runtime.reopen();
    }

    /// Release 1, and these instances.
    pub(crate) fn assignment(&self, revision: u64, instances: &[(u16, u16)]) -> Assignment {
        let mut assignment = Assignment::empty(self.server);
        assignment.version = Version::new(1, revision);
        assignment.releases = vec![
            AssignedRelease {
                app: "hits".parse().unwrap(),
                release: ReleaseNumber(1),
                artifact: Some(self.digest.clone()),
                image: None,
                prepare: None,
                asset_path: None,
                env: BTreeMap::new(),
            }
            .into(),
        ];
        for (n, port) in instances {
            assignment.instances.insert(instance_id(u128::from(*n)), instance(*n, *port).into());
        }
        assignment
    }
}

/// A port on which the test listens, as a replica would: away from where end-to-end tests beside it run real
/// replicas.
pub(crate) async fn listening() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.77:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}
