//! What the reconcile loop and the API share.
//!
//! The loop owns the decisions: it sets [`Shared::observed`], [`Shared::published`]
//! and [`Shared::report`] after its transactions have committed, and receives
//! reports. The API reads those, and writes wishes to the store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use pando_api::auth::Bearer;
use pando_api::v1::agents::ReportBody;
use pando_api::{AgentClient, ClientError};
use pando_model::assignment::Assignment;
use pando_model::id::{Entropy, ServerId};
use pando_model::observed::{AgentReport, Observed};
use pando_model::release::Digest;
use pando_model::server::Server;
use pando_model::time::{Millis, Timestamp};
use pando_plan::Report;
use pando_routing::{Secrets, Table};
use pando_rt::clock::Clock;
use pando_rt::shutdown::Shutdown;
use pando_rt::slots::Slots;
use pando_rt::tasks::Tasks;
use pando_trust::{Signed, TrustError};
use tokio::sync::{Mutex, Semaphore, mpsc, watch};

use crate::admission::{Admission, DryRun};
use crate::events;
use crate::layers::Turns;
use crate::prune;
use crate::state::State;
use crate::store::{Store, StoreError, Txn};
use crate::traffic::TrafficMemory;
use crate::traffic::news::{self, News};
use crate::trust::Trust;

/// Reports that may wait for the reconcile loop. Each replaces the one before of its server, so a short queue loses nothing
/// that the next heartbeat would not tell again.
const REPORTS: usize = 64;

/// Uploads at once; each costs a file and a hash.
const UPLOADS: usize = 4;

/// Servers that one packed release is sent to at once. Each of them can hand it on, so more would only share the same line.
const HANDOUTS: usize = 3;

/// Layers that are taken at once, of all who send. Each costs a file and a core while it comes quickly.
const LAYERS: usize = 8;

/// A server that takes nothing for so long holds up no other.
const HANDOUT_STALE: Duration = Duration::from_secs(5);

/// How the control plane was set up.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where packed releases lie, beside the store. Made when missing.
    pub artifact_dir: PathBuf,
    /// The largest packed release. Default 2 GiB.
    pub max_artifact_bytes: u64,
    /// What agents on this machine know the control plane by, without TLS. `None`: it shows them its certificate.
    pub agent_token: Option<Bearer>,
    /// Where people's requests arrive; for the addresses that are shown.
    pub entry: Option<EntryPoint>,
    /// Of the program.
    pub version: String,
}

impl Settings {
    /// The default for everything that has one.
    #[must_use]
    pub fn new(artifact_dir: PathBuf) -> Self {
        Self {
            artifact_dir,
            max_artifact_bytes: 2 * 1024 * 1024 * 1024,
            agent_token: None,
            entry: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Where people's requests arrive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryPoint {
    /// A host for apps that have no domain.
    pub host: String,
    pub port: u16,
    /// Where TLS is spoken; `None`: nowhere.
    pub https_port: Option<u16>,
}

impl EntryPoint {
    /// Of an app without a domain.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of(&self.host, false)
    }

    /// Of a host, which has a certificate or not.
    #[must_use]
    pub fn url_of(&self, host: &str, certified: bool) -> String {
        match self.https_port.filter(|_| certified) {
            Some(443) => format!("https://{host}"),
            Some(port) => format!("https://{host}:{port}"),
            None if self.port == 80 => format!("http://{host}"),
            None => format!("http://{host}:{}", self.port),
        }
    }
}

/// What agents are to have, as last committed.
#[derive(Debug, Clone, Default)]
pub struct Published {
    pub assignments: BTreeMap<ServerId, Arc<Signed<Assignment>>>,
    /// Without certificates and keys.
    pub table: Option<Arc<Signed<Table>>>,
    /// Those that the table goes with, for entry points alone.
    pub secrets: Option<Arc<Signed<Secrets>>>,
}

/// A report that came in.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// By the control plane's clock.
    pub received_at: Timestamp,
    pub report: AgentReport,
    /// Another server brought it.
    pub relayed: bool,
}

/// Why an agent can't be spoken to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoAgent {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// See the module. Held by an `Arc`.
#[derive(Debug)]
pub struct Shared {
    pub store: Arc<dyn Store>,
    /// The machine's, by which certificates are judged; see [`Shared::now`] for everything else.
    pub clock: Clock,
    steady: Clock,
    pub settings: Settings,
    pub admission: Box<dyn Admission>,
    pub dry_run: Box<dyn DryRun>,
    pub trust: Trust,
    /// What agents last said; set by the reconcile loop.
    pub observed: watch::Sender<Arc<Observed>>,
    /// Set by the reconcile loop, at its start from the store and then after each commit.
    pub published: watch::Sender<Arc<Published>>,
    /// The planner's words about everything; set by the reconcile loop.
    pub report: watch::Sender<Arc<Report>>,
    pub traffic: TrafficMemory,
    /// Ends long polls and streams.
    pub shutdown: Shutdown,
    /// What a request began that goes on after its answer; [`crate::http::serve`] waits for it at the end.
    pub(crate) tasks: Tasks,
    reports: mpsc::Sender<Incoming>,
    pub(crate) uploads: Semaphore,
    pub(crate) layers: Semaphore,
    /// Who sends which layer.
    pub(crate) layer_turns: Arc<Turns>,
    /// Packed releases on their way to servers.
    pub(crate) handouts: Arc<Slots<Digest>>,
    /// Held while the packed releases are looked through for damage.
    pub(crate) scrubs: Arc<Semaphore>,
    /// Held while a server joins. There is one control plane at a time, so this is enough.
    pub(crate) joins: Mutex<()>,
    /// Held while certificates change hands: of two that come at once, each must see what the other took.
    pub(crate) certificates: Mutex<()>,
}

/// What [`Shared`] is made of.
#[derive(Debug)]
pub struct Parts {
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub settings: Settings,
    pub admission: Box<dyn Admission>,
    pub dry_run: Box<dyn DryRun>,
    pub trust: Trust,
    pub shutdown: Shutdown,
}

impl Shared {
    /// The shared part, and where the reconcile loop gets the reports.
    #[must_use]
    pub fn new(parts: Parts) -> (Arc<Self>, mpsc::Receiver<Incoming>) {
        let (reports, incoming) = mpsc::channel(REPORTS);
        let Parts { store, clock, settings, admission, dry_run, trust, shutdown } = parts;
        let since = Timestamp::from_millis(clock.now_millis());
        let observed = Observed { since, ..Observed::default() };
        let shared = Self {
            store,
            steady: clock.steady(),
            clock,
            settings,
            admission,
            dry_run,
            trust,
            observed: watch::Sender::new(Arc::new(observed)),
            published: watch::Sender::default(),
            report: watch::Sender::default(),
            traffic: TrafficMemory::default(),
            tasks: Tasks::new(&shutdown),
            shutdown,
            reports,
            uploads: Semaphore::new(UPLOADS),
            layers: Semaphore::new(LAYERS),
            layer_turns: Arc::default(),
            handouts: Slots::new(HANDOUTS, HANDOUT_STALE),
            scrubs: Arc::new(Semaphore::new(1)),
            joins: Mutex::new(()),
            certificates: Mutex::new(()),
        };
        (Arc::new(shared), incoming)
    }

    /// What the machine's clock said at the start, and steadily on since: it never goes back or jumps, and is never before what
    /// is recorded.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.steady.now_millis())
    }

    /// What the machine's clock says.
    pub(crate) fn wall_now(&self) -> Timestamp {
        Timestamp::from_millis(self.clock.now_millis())
    }

    /// Moves [`Shared::now`] on.
    pub(crate) fn advance(&self, length: Millis) {
        self.steady.advance(i64::try_from(length.0).unwrap_or(i64::MAX));
    }

    /// Fresh randomness for ids.
    ///
    /// # Errors
    /// When the system has none.
    pub fn entropy(&self) -> Result<Entropy, StoreError> {
        let seed = getrandom::u64().map_err(|error| StoreError::Failed {
            doing: "drawing an id",
            source: error.to_string().into(),
        })?;
        Ok(Entropy::from_seed(seed))
    }

    /// Speaks to the agent of a server.
    ///
    /// # Errors
    /// When it can't be spoken to at all; nothing is sent yet.
    pub(crate) fn agent(&self, server: &Server) -> Result<AgentClient, NoAgent> {
        match &self.settings.agent_token {
            Some(token) => Ok(AgentClient::new(server.agent_address, Some(token.clone()))?),
            None => Ok(self.trust.agent(server)?),
        }
    }

    /// Puts what a load balancer told among the events.
    async fn tell(&self, server: ServerId, news: &[News], now: Timestamp) -> Result<(), StoreError> {
        let state = State::load(&*self.store).await?;
        let (Some(server), Some(table)) = (state.world.servers.get(&server), &state.world.table) else {
            return Ok(());
        };
        let drafts = news::told(news, &server.name, table);
        let ops = events::put_ops(drafts, now, &mut self.entropy()?)?;
        self.store.txn(Txn::new().ops(ops)).await.map(|_| ())
    }

    /// Puts what a server did by itself among the events.
    async fn tell_news(&self, server: ServerId, news: &[String]) -> Result<(), StoreError> {
        let state = State::load(&*self.store).await?;
        let Some(server) = state.world.servers.get(&server) else { return Ok(()) };
        prune::tell_news(self, server, news).await
    }

    /// Hands a report to the reconcile loop and its counters to the traffic memory. `relayed`: another server brought it. False: the loop did not take it in time,
    /// or has ended; the agent reports again.
    pub(crate) async fn receive(&self, body: ReportBody, relayed: bool) -> bool {
        let now = self.now();
        if let Some(stats) = &body.traffic {
            let news = self.traffic.record(body.report.server, stats, now);
            if !news.is_empty()
                && let Err(error) = self.tell(body.report.server, &news, now).await
            {
                tracing::warn!(%error, "what a load balancer told is in no event");
            }
        }
        if !body.news.is_empty()
            && let Err(error) = self.tell_news(body.report.server, &body.news).await
        {
            tracing::warn!(%error, "what a server did by itself is in no event");
        }
        let incoming = Incoming { received_at: now, report: body.report, relayed };
        self.reports.send_timeout(incoming, Duration::from_secs(5)).await.is_ok()
    }
}
