//! A control plane on a port of its own, with a server, tokens and somebody who plays the reconcile loop.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pando_api::auth::{Bearer, Scope};
use pando_api::v1::deployments::{DeployAction, DeployRequest, DeployResponse, IfBusy};
use pando_api::{Client, ClientError};
use pando_control::admission::Planner;
use pando_control::http::{self, Limits};
use pando_control::shared::{EntryPoint, Incoming, Parts, Settings, Shared};
use pando_control::state::State;
use pando_control::store::{Key, Outcome, Store, Txn, memory, sqlite};
use pando_control::tokens::{self, NewToken};
use pando_control::trust::Trust;
use pando_model::app::*;
use pando_model::desired::*;
use pando_model::id::{Entropy, InstanceId, ServerId, Version};
use pando_model::name::*;
use pando_model::observed::{AgentReport, Observed, ServerObserved};
use pando_model::release::Digest;
use pando_model::resources::Capacity;
use pando_model::server::Server;
use pando_model::time::{Millis, Timestamp};
use pando_plan::input::heard;
use pando_rt::clock::Clock;
use pando_rt::shutdown::Shutdown;
use pando_trust::tls::client_config;
use pando_trust::{Fingerprint, Identity, LiveIdentity, PendingIdentity, Subject, Vault};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// What everything that is waited for may take at most, on a machine that is busy with other tests.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Cluster {
    pub(crate) shared: Arc<Shared>,
    pub(crate) reports: mpsc::Receiver<Incoming>,
    pub(crate) address: SocketAddr,
    url: String,
    /// Holds an admin token.
    pub(crate) client: Client,
    pub(crate) server: ServerId,
    served: Option<JoinHandle<()>>,
    pub(crate) directory: tempfile::TempDir,
}

pub(crate) fn app(name: &str) -> AppName {
    AppName::new(name).unwrap()
}

pub(crate) fn id(number: u128) -> uuid::Uuid {
    uuid::Uuid::from_u128(number)
}

/// A plain web app.
pub(crate) fn spec(name: &str) -> AppSpec {
    let health = HealthCheck {
        kind: HealthKind::Http { path: "/health".to_owned() },
        interval: Millis(2000),
        timeout: Millis(2000),
        healthy: 2,
        unhealthy: 3,
        start_timeout: Millis(60_000),
    };
    let web = ProcessSpec {
        command: Some("bin/web".to_owned()),
        role: RoleName::web(),
        count: ReplicaCount::Total(2),
        container_port: None,
        health,
        stop_timeout: Millis(30_000),
        resources: Default::default(),
        servers: std::collections::BTreeSet::new(),
        labels: BTreeMap::new(),
        singleton: false,
        depends_on: Default::default(),
        user: None,
        min_ready: None,
        env: Default::default(),
    };
    AppSpec {
        name: app(name),
        run: RunSource::Directory { path: ".".to_owned() },
        prepare: None,
        release_command: None,
        keep_releases: 5,
        strategy: Strategy::default(),
        min_ready: Millis::ZERO,
        processes: [(ProcessName::web(), web)].into(),
        domains: vec![DomainSpec {
            domain: format!("{name}.example.com"),
            aliases: vec![],
            https: Default::default(),
        }],
        routes: vec![],
        balancing: Default::default(),
        pools: BTreeMap::new(),
        env: [("COLOR".to_owned(), EnvValue::Value("blue".to_owned()))].into(),
        volumes: Vec::new(),
        asset_path: None,
        services: BTreeMap::new(),
    }
}

/// What an agent says that has nothing to say.
pub(crate) fn report(server: ServerId, sequence: u64) -> AgentReport {
    AgentReport {
        server,
        boot: id(5),
        sequence,
        assignment: Version::default(),
        instances: Default::default(),
        tasks: Default::default(),
        releases: vec![],
        proxy: None,
        capacity: Capacity::default(),
        firewall: None,
        warnings: vec![],
    }
}

pub(crate) fn request(action: DeployAction) -> DeployRequest {
    DeployRequest { action, if_busy: IfBusy::Wait, dry_run: false, note: None }
}

fn vault_of(directory: &tempfile::TempDir) -> Vault {
    Vault::open(&directory.path().join("secrets.key")).unwrap()
}

impl Cluster {
    pub(crate) async fn on_disk() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = sqlite::open(&directory.path().join("store.db")).unwrap();
        Self::start(Arc::new(store), directory, |_| {}, Limits::default(), None).await
    }

    pub(crate) async fn in_memory() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let store = memory::open().unwrap();
        Self::start(Arc::new(store), tempfile::tempdir().unwrap(), change, Limits::default(), None).await
    }

    /// By TLS, with a clock that stands at the time of the call until it is advanced.
    pub(crate) async fn secured() -> (Self, Clock) {
        let clock = Clock::manual(Clock::system().now_millis());
        let (store, directory) = (memory::open().unwrap(), tempfile::tempdir().unwrap());
        let tls = Some(clock.clone());
        (Self::start(Arc::new(store), directory, |_| {}, Limits::default(), tls).await, clock)
    }

    pub(crate) async fn secured_within(limits: Limits) -> Self {
        let (store, directory) = (memory::open().unwrap(), tempfile::tempdir().unwrap());
        Self::start(Arc::new(store), directory, |_| {}, limits, Some(Clock::system())).await
    }

    pub(crate) async fn within(limits: Limits) -> Self {
        let store = memory::open().unwrap();
        Self::start(Arc::new(store), tempfile::tempdir().unwrap(), |_| {}, limits, None).await
    }

    async fn start(
        store: Arc<dyn Store>,
        directory: tempfile::TempDir,
        change: impl FnOnce(&mut Settings),
        limits: Limits,
        tls: Option<Clock>,
    ) -> Self {
        let mut settings = Settings::new(directory.path().join("artifacts"));
        settings.entry = Some(EntryPoint { host: "127.0.0.1".into(), port: 8080, https_port: Some(8443) });
        change(&mut settings);
        let (by_tls, clock) = (tls.is_some(), tls.unwrap_or_else(Clock::system));
        let trust = Trust::open(&*store, vault_of(&directory), "main", &clock).await.unwrap();
        let config = by_tls.then(|| trust.server_config().unwrap());
        let parts = Parts {
            store,
            clock,
            settings,
            admission: Box::new(Planner),
            dry_run: Box::new(Planner),
            trust,
            shutdown: Shutdown::new(),
        };
        let (shared, reports) = Shared::new(parts);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = Some(tokio::spawn(http::serve_within(listener, Arc::clone(&shared), config, limits)));
        let server = ServerId::from_uuid(id(1));
        let url = url_of(address, by_tls.then(|| shared.trust.fingerprint()));
        let client = Client::new(&url, None).unwrap();
        let mut cluster = Self { shared, reports, address, url, client, server, served, directory };
        cluster.add_server("main", server, SocketAddr::from(([127, 0, 0, 1], 9))).await;
        cluster.client = cluster.client_with(Scope::Admin).await;
        cluster
    }

    /// The same that it was started with.
    pub(crate) fn vault(&self) -> Vault {
        vault_of(&self.directory)
    }

    pub(crate) async fn add_server(&self, name: &str, id: ServerId, agent_address: SocketAddr) {
        let server = Server {
            id,
            name: ServerName::new(name).unwrap(),
            roles: [RoleName::web(), RoleName::lb()].into(),
            private_address: [127, 0, 0, 1].into(),
            agent_address,
            capacity: Capacity { cpu_millis: 4000, memory_bytes: 8_000_000_000 },
            public_address: None,
            standing: pando_model::Standing::Active,
            labels: Default::default(),
            // Long ago: its silence says something.
            joined_at: Timestamp::from_millis(0),
        };
        self.write(Txn::new().put(Key::ServerSpec(id), &server).unwrap()).await;
    }

    /// These servers were heard just now, and no other ever was. `change` is what each said.
    pub(crate) fn hear(&self, servers: &[ServerId], change: impl Fn(&mut AgentReport)) {
        let now = self.now();
        let heard = servers.iter().map(|server| {
            let mut report = report(*server, 1);
            change(&mut report);
            (*server, ServerObserved { proxy_heard_at: Some(now), ..heard(None, report, now) }.into())
        });
        let observed = Observed { since: now - Millis::from_secs(3600), servers: heard.collect() };
        self.shared.observed.send_replace(Arc::new(observed));
    }

    /// As it was heard long ago, and never since.
    pub(crate) fn lose(&self, server: ServerId) {
        let then = self.now() - Millis::from_secs(1800);
        let report = report(server, 1);
        let seen = heard(None, report, then);
        self.shared.observed.send_modify(|observed| {
            Arc::make_mut(observed).servers.insert(server, seen.into());
        });
    }

    pub(crate) async fn write(&self, txn: Txn) {
        assert!(matches!(self.shared.store.txn(txn).await.unwrap(), Outcome::Committed(_)));
    }

    pub(crate) async fn token(&self, scope: Scope, expires_in: Option<Millis>) -> Bearer {
        let bearer = tokens::draw().unwrap();
        let new = NewToken { name: "tester".to_owned(), scope, expires_in };
        tokens::install(&*self.shared.store, &bearer, &new, self.shared.now(), vec![]).await.unwrap();
        bearer
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// A server's identity, certified now by the cluster's clock.
    pub(crate) fn identity(&self, server: ServerId) -> Identity {
        let pending = PendingIdentity::make().unwrap();
        let certificate = self.shared.trust.certify(&pending.request().unwrap(), server).unwrap();
        pending.certified(&certificate, self.shared.trust.anchor().clone(), self.now()).unwrap()
    }

    /// Speaks as that server, by certificate.
    pub(crate) fn member(&self, identity: Identity) -> Client {
        let live = LiveIdentity::new(identity);
        let config = client_config(&live, Subject::Control, &Clock::system()).unwrap();
        Client::with_tls(&self.address.to_string(), None, config)
    }

    pub(crate) async fn client_with(&self, scope: Scope) -> Client {
        let bearer = self.token(scope, None).await;
        Client::new(&self.url(), Some(bearer)).unwrap()
    }

    /// Sends a packed release with this content.
    pub(crate) async fn send(&self, content: &[u8]) -> Digest {
        let (path, digest) = self.packed(content);
        self.client.put_artifact(&digest, &path, Arc::default()).await.unwrap();
        digest
    }

    pub(crate) fn packed(&self, content: &[u8]) -> (PathBuf, Digest) {
        use sha2::Digest as _;
        let path = self.directory.path().join("packed.tar.gz");
        std::fs::write(&path, content).unwrap();
        (path, Digest::new(hex::encode(sha2::Sha256::digest(content))).unwrap())
    }

    pub(crate) async fn try_deploy(&self, spec: AppSpec) -> Result<DeployResponse, ClientError> {
        let artifact = Some(self.send(b"release").await);
        let name = spec.name.clone();
        self.client.deploy(&name, &request(DeployAction::Deploy { spec: Box::new(spec), artifact })).await
    }

    /// Deploys and lets the deployment succeed.
    pub(crate) async fn deploy(&self, spec: AppSpec) -> Deployment {
        let name = spec.name.clone();
        self.try_deploy(spec).await.unwrap();
        self.finish(&name).await
    }

    pub(crate) async fn state(&self) -> State {
        State::load(&*self.shared.store).await.unwrap()
    }

    /// Plays the planner: the deployment under way succeeds, with one serving replica on the first server.
    pub(crate) async fn finish(&self, name: &AppName) -> Deployment {
        let state = self.state().await;
        let known = state.app(name).unwrap();
        let mut deployment = known.deployments.front().expect("one under way").clone();
        // Deployments of one millisecond have no order, and nobody makes any but these tests. (A clock that stands still does.)
        for _ in 0..5 {
            if self.shared.now() > deployment.created_at {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        deployment.phase = DeploymentPhase::Done { replaced: 1 };
        deployment.ended_at = Some(self.shared.now());
        let target = Target { release: deployment.release, deployment: deployment.id };
        let instance = Instance {
            replica: ReplicaName::new(ProcessName::web(), 1),
            target,
            server: self.server,
            port: 20_000,
            created_at: self.shared.now(),
            phase: Phase::Serving { since: self.shared.now() },
            unready_since: None,
        };
        let instance_id = InstanceId::new(self.shared.now(), &mut Entropy::from_seed(deployment.release.0));
        let instances = [(instance_id, instance)].into();
        let assigned = Assigned { committed: Some(target), instances, ..Assigned::default() };
        let txn = Txn::new()
            .put(Key::AppDeployment(name.clone(), deployment.id), &deployment)
            .unwrap()
            .put(Key::AppAssigned(name.clone()), &assigned)
            .unwrap();
        self.write(txn).await;
        deployment
    }

    /// Ends it as the daemon does; false: something held it up.
    pub(crate) async fn stop(&mut self) -> bool {
        self.shared.shutdown.begin();
        let Some(served) = self.served.take() else { return false };
        tokio::time::timeout(PATIENCE, served).await.is_ok()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.shared.now()
    }
}

fn url_of(address: SocketAddr, pin: Option<Fingerprint>) -> String {
    match pin {
        Some(pin) => format!("https://{address}#sha256:{pin}"),
        None => format!("http://{address}"),
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.shared.shutdown.begin();
    }
}
