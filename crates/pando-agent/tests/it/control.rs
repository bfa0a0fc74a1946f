//! A control plane that says what a test tells it and remembers what it is told, over real HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{AUTHORIZATION, RANGE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Extension, Json, Router};
use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use pando_api::v1::agents::{AgentTarget, CertificateIssued, CertificateRequest, ReportBody, TargetQuery};
use pando_api::v1::join::{JoinAnswer, JoinRequest};
use pando_model::assignment::Assignment;
use pando_model::id::{ServerId, Version};
use pando_model::observed::AgentReport;
use pando_model::time::Timestamp;
use pando_routing::{SecretMark, Secrets, Table, TicketKey};
use pando_rt::slots::{Slot, Slots};
use pando_trust::{Kind, PeerIdentity, SignedBytes, Subject, peer_identity, request_key, tls};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use uuid::Uuid;

use crate::authority::Cluster;

pub(crate) const TOKEN: &str = "pando_for-control";

const DEADLINE: Duration = Duration::from_secs(20);

/// Clones share everything.
#[derive(Clone)]
pub(crate) struct Control {
    shared: Arc<Shared>,
}

struct Shared {
    cluster: Option<Arc<Cluster>>,
    signer: Mutex<Option<Arc<Cluster>>>,
    caller: Mutex<Option<PeerIdentity>>,
    joins: Mutex<Joins>,
    renewals: Mutex<Renewals>,
    target: watch::Sender<Targets>,
    reports: watch::Sender<Vec<ReportBody>>,
    artifacts: Mutex<BTreeMap<String, Bytes>>,
    handouts: Mutex<Handouts>,
    address: Mutex<SocketAddr>,
    server: Mutex<Option<JoinHandle<()>>>,
    /// How many more questions for its health are answered; the others wait for ever.
    healthy_for: AtomicU64,
}

/// Who joined, by the key that asked.
#[derive(Default)]
struct Joins {
    servers: BTreeMap<String, ServerId>,
    lost: usize,
}

/// How often a new certificate was asked for, and how often it still is refused.
#[derive(Default)]
struct Renewals {
    asked: usize,
    refuse: usize,
}

#[derive(Default)]
struct Targets {
    assignments: BTreeMap<ServerId, Assignment>,
    table: Option<Table>,
    secrets: Option<Secrets>,
}

/// How packed releases are handed out, and what came of it.
struct Handouts {
    slots: Arc<Slots<String>>,
    /// Between two pieces of 64 KiB.
    pace: Duration,
    /// From which byte on, and how often somebody was sent away.
    offsets: Vec<u64>,
    refused: usize,
}

impl Default for Handouts {
    fn default() -> Self {
        Self {
            slots: Slots::new(3, Duration::from_secs(5)),
            pace: Duration::ZERO,
            offsets: Vec::new(),
            refused: 0,
        }
    }
}

impl Control {
    /// Plain, with a token.
    pub(crate) async fn start() -> Self {
        Self::of(None).await
    }

    /// By TLS, with certificates of this cluster.
    pub(crate) async fn certified(cluster: Arc<Cluster>) -> Self {
        Self::of(Some(cluster)).await
    }

    async fn of(cluster: Option<Arc<Cluster>>) -> Self {
        let control = Self::new(cluster);
        control.come_back().await;
        control
    }

    /// On a listener of whichever network.
    pub(crate) fn start_on(listener: std::net::TcpListener) -> Self {
        let control = Self::new(None);
        listener.set_nonblocking(true).unwrap();
        control.serve(TcpListener::from_std(listener).unwrap());
        control
    }

    fn new(cluster: Option<Arc<Cluster>>) -> Self {
        let shared = Shared {
            cluster,
            signer: Mutex::default(),
            caller: Mutex::default(),
            joins: Mutex::default(),
            renewals: Mutex::default(),
            target: watch::Sender::default(),
            reports: watch::Sender::new(Vec::new()),
            artifacts: Mutex::default(),
            handouts: Mutex::default(),
            address: Mutex::new("127.0.0.1:0".parse().unwrap()),
            server: Mutex::default(),
            healthy_for: AtomicU64::new(u64::MAX),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Listens where it listened before.
    pub(crate) async fn come_back(&self) {
        let address = *self.shared.address.lock().unwrap();
        self.serve(TcpListener::bind(address).await.unwrap());
    }

    fn serve(&self, listener: TcpListener) {
        *self.shared.address.lock().unwrap() = listener.local_addr().unwrap();
        let router = Router::new()
            .route("/healthz", get(health))
            .route("/v1/agents/{server}/target", get(target))
            .route("/v1/agents/{server}/reports", post(report))
            .route("/v1/agents/{server}/certificate", post(renew))
            .route("/v1/artifacts/{digest}", get(artifact))
            .layer(from_fn_with_state(self.clone(), gate))
            .route("/v1/join", post(join))
            .with_state(self.clone());
        let server = tokio::spawn(serve(listener, router, self.shared.cluster.clone()));
        *self.shared.server.lock().unwrap() = Some(server);
    }

    /// Refuses connections from now on, and breaks those that are open.
    pub(crate) async fn go_away(&self) {
        let server = self.shared.server.lock().unwrap().take();
        if let Some(server) = server {
            server.abort();
            let _ = server.await;
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        *self.shared.address.lock().unwrap()
    }

    pub(crate) fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.shared.cluster.as_ref()
    }

    /// What it publishes is signed by another cluster's authority from now on; `None`: by its own.
    pub(crate) fn sign_as(&self, other: Option<Arc<Cluster>>) {
        *self.shared.signer.lock().unwrap() = other;
        self.shared.target.send_modify(|_| {});
    }

    /// Answers so many more questions for its health, and no other on a new connection.
    pub(crate) fn stay_healthy_for(&self, answers: u64) {
        self.shared.healthy_for.store(answers, Ordering::SeqCst);
    }

    /// Answers to requests to join are lost on their way, so many times; then all is well.
    pub(crate) fn lose_joins(&self, count: usize) {
        self.shared.joins.lock().unwrap().lost = count;
    }

    /// Answers so many requests for a new certificate with an error; then all is well.
    pub(crate) fn refuse_renewals(&self, count: usize) {
        self.shared.renewals.lock().unwrap().refuse = count;
    }

    /// How often a new certificate was asked for.
    pub(crate) fn renewals(&self) -> usize {
        self.shared.renewals.lock().unwrap().asked
    }

    /// The servers that were asked for, by their keys.
    pub(crate) fn joined(&self) -> Vec<ServerId> {
        self.shared.joins.lock().unwrap().servers.values().copied().collect()
    }

    /// Whose certificate it saw last, and until when that is good.
    pub(crate) fn last_caller(&self) -> Option<PeerIdentity> {
        *self.shared.caller.lock().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        let scheme = if self.shared.cluster.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.shared.address.lock().unwrap())
    }

    pub(crate) fn assign(&self, assignment: Assignment) {
        self.shared.target.send_modify(|target| {
            target.assignments.insert(assignment.server, assignment);
        });
    }

    pub(crate) fn publish(&self, table: Table) {
        self.shared.target.send_modify(|target| (target.table, target.secrets) = (Some(table), None));
    }

    /// With keys, for servers that are assigned to be entry points.
    pub(crate) fn publish_with_keys(&self, table: Table, mark: &str) {
        let mark = SecretMark(mark.to_owned());
        let table = table.marked(mark.clone());
        let secrets = Secrets { mark, ticket_keys: vec![TicketKey([0xab; 32])], ..Secrets::default() };
        self.shared.target.send_modify(|target| {
            (target.table, target.secrets) = (Some(table), Some(secrets));
        });
    }

    pub(crate) fn store(&self, digest: &str, content: Bytes) {
        self.shared.artifacts.lock().unwrap().insert(digest.to_owned(), content);
    }

    /// Sends packed releases to so many at once, slowly.
    pub(crate) fn hand_out(&self, at_once: usize, pace: Duration) {
        let slots = Slots::new(at_once, Duration::from_secs(60));
        *self.shared.handouts.lock().unwrap() = Handouts { slots, pace, ..Handouts::default() };
    }

    /// From which bytes on packed releases were sent, and how often somebody was sent away.
    pub(crate) fn handed_out(&self) -> (Vec<u64>, usize) {
        let handouts = self.shared.handouts.lock().unwrap();
        (handouts.offsets.clone(), handouts.refused)
    }

    pub(crate) fn reports(&self) -> Vec<ReportBody> {
        self.shared.reports.borrow().clone()
    }

    pub(crate) fn forget_reports(&self) {
        self.shared.reports.send_modify(Vec::clear);
    }

    /// Waits for so many more reports. While nothing changes, they are heartbeats, two seconds apart.
    pub(crate) async fn further(&self, reports: usize) {
        self.forget_reports();
        let mut seen = self.shared.reports.subscribe();
        let heard = tokio::time::timeout(DEADLINE, seen.wait_for(|held| held.len() >= reports)).await;
        heard.unwrap_or_else(|_| panic!("{reports} further reports: {}", self.reports().len())).unwrap();
    }

    /// The first report, from now on the last or a later one, that `holds`.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&AgentReport) -> bool) -> ReportBody {
        self.until_of(what, |_| true, holds).await
    }

    /// The same, of a server.
    pub(crate) async fn until_of(
        &self,
        what: &str,
        server: impl Fn(ServerId) -> bool,
        holds: impl Fn(&AgentReport) -> bool,
    ) -> ReportBody {
        let mut seen = self.shared.reports.subscribe();
        let last_of =
            |reports: &Vec<ReportBody>| reports.iter().rev().find(|body| server(body.report.server)).cloned();
        let last = |reports: &Vec<ReportBody>| last_of(reports).is_some_and(|body| holds(&body.report));
        let found = tokio::time::timeout(DEADLINE, seen.wait_for(last)).await;
        match found {
            Ok(found) => last_of(&found.unwrap()).unwrap(),
            Err(_) => panic!("{what}: {:#?}", self.reports().last()),
        }
    }
}

async fn health(State(control): State<Control>) -> StatusCode {
    let left = &control.shared.healthy_for;
    if left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
        std::future::pending::<()>().await;
    }
    StatusCode::NO_CONTENT
}

/// Connections end with it.
async fn serve(listener: TcpListener, router: Router, cluster: Option<Arc<Cluster>>) {
    let config = cluster.as_ref().map(|cluster| {
        let identity = cluster.live(Subject::Control);
        tls::server_config(&identity, tls::Callers::Anyone, &cluster.clock).unwrap()
    });
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let (router, config) = (router.clone(), config.clone());
        connections.spawn(async move {
            let Some(config) = config else { return exchange(stream, router).await };
            let accepted = tls::accept(stream, &config, Duration::from_secs(5)).await;
            if let Ok(stream) = accepted {
                let chain = stream.get_ref().1.peer_certificates();
                let peer = peer_identity(chain, Timestamp::from_millis(0)).unwrap();
                exchange(stream, router.layer(Extension(peer))).await;
            }
        });
    }
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router) {
    let service = TowerToHyperService::new(router);
    // How it ends is for the test to see at the other end.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Known by a token, or by a certificate for the server in the path.
async fn gate(State(control): State<Control>, request: Request, next: Next) -> Response {
    let allowed = match &control.shared.cluster {
        None if request.uri().path().starts_with("/v1/artifacts/") => true,
        None => request.headers().get(AUTHORIZATION).is_some_and(|value| value == &format!("Bearer {TOKEN}")),
        Some(_) => {
            let peer = request.extensions().get::<Option<PeerIdentity>>().copied().flatten();
            *control.shared.caller.lock().unwrap() = peer;
            let server = peer.and_then(|peer| peer.subject.server());
            let path = request.uri().path();
            server.is_some_and(|id| !path.starts_with("/v1/agents/") || path.contains(&id.to_string()))
        }
    };
    if allowed { next.run(request).await } else { StatusCode::UNAUTHORIZED.into_response() }
}

async fn renew(
    State(control): State<Control>,
    Path(server): Path<ServerId>,
    Json(request): Json<CertificateRequest>,
) -> Response {
    let refused = {
        let mut renewals = control.shared.renewals.lock().unwrap();
        renewals.asked += 1;
        let refused = renewals.refuse > 0;
        renewals.refuse = renewals.refuse.saturating_sub(1);
        refused
    };
    if refused {
        let body = serde_json::json!({"code": "unavailable", "message": "not now"});
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    }
    let cluster = control.shared.cluster.clone().unwrap();
    let subject = Subject::Server(server);
    let certificate = cluster.authority.issue(&request.request, subject, cluster.now()).unwrap();
    Json(CertificateIssued { certificate, authority: cluster.authority.anchor().clone() }).into_response()
}

async fn join(
    State(control): State<Control>,
    headers: HeaderMap,
    Json(request): Json<JoinRequest>,
) -> Response {
    let cluster = control.shared.cluster.clone().unwrap();
    let known = headers
        .get(AUTHORIZATION)
        .is_some_and(|value| value == &format!("Bearer {}", cluster.secret.reveal()));
    if !known {
        let body = serde_json::json!({"code": "unauthorized", "message": "the token is not known"});
        return (StatusCode::UNAUTHORIZED, Json(body)).into_response();
    }
    let key = request_key(&request.request).unwrap().to_string();
    let mut joins = control.shared.joins.lock().unwrap();
    let next = ServerId::from_uuid(Uuid::from_u128(100 + joins.servers.len() as u128));
    let server = *joins.servers.entry(key).or_insert(next);
    if joins.lost > 0 {
        joins.lost -= 1;
        let broken = futures_util::stream::iter([Err::<Bytes, _>(std::io::Error::other("cut"))]);
        return Body::from_stream(broken).into_response();
    }
    let certificate =
        cluster.authority.issue(&request.request, Subject::Server(server), cluster.now()).unwrap();
    let authority = cluster.authority.anchor().clone();
    Json(JoinAnswer { server, name: request.name, certificate, authority }).into_response()
}

async fn target(
    State(control): State<Control>,
    Path(server): Path<ServerId>,
    Query(have): Query<TargetQuery>,
) -> Response {
    let mut seen = control.shared.target.subscribe();
    let wait = Duration::from_millis(have.wait_millis);
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let newer = control.newer(&seen.borrow_and_update(), server, &have);
        if newer != AgentTarget::default() {
            return Json(newer).into_response();
        }
        if tokio::time::timeout_at(deadline, seen.changed()).await.is_err() {
            return Json(AgentTarget::default()).into_response();
        }
    }
}

impl Control {
    fn newer(&self, target: &Targets, server: ServerId, have: &TargetQuery) -> AgentTarget {
        let version = |table: &Table| Version::new(table.version.epoch, table.version.revision);
        let assignment = target.assignments.get(&server).filter(|one| one.version > have.assignment());
        let table = target.table.as_ref().filter(|one| version(one) > have.table());
        let entry = target.assignments.get(&server).is_some_and(|one| one.entry.is_some());
        let secrets = target.secrets.as_ref().filter(|one| entry && one.mark != have.secrets);
        AgentTarget {
            secrets: secrets.map(|one| self.sign(Kind::Secrets, one)),
            assignment: assignment.map(|one| self.sign(Kind::Assignment, one)),
            table: table.map(|one| self.sign(Kind::Table, one)),
        }
    }

    /// An agent without a signing key does not look at signatures.
    fn sign(&self, kind: Kind, value: &impl serde::Serialize) -> SignedBytes {
        let signer = self.shared.signer.lock().unwrap().clone().or_else(|| self.shared.cluster.clone());
        match signer {
            Some(cluster) => cluster.authority.sign(kind, value).unwrap().bytes,
            None => SignedBytes { payload: serde_json::to_string(value).unwrap(), signature: String::new() },
        }
    }
}

async fn report(State(control): State<Control>, Json(body): Json<ReportBody>) -> StatusCode {
    control.shared.reports.send_modify(|reports| reports.push(body));
    StatusCode::NO_CONTENT
}

async fn artifact(
    State(control): State<Control>,
    Path(digest): Path<String>,
    headers: HeaderMap,
) -> Response {
    let Some(content) = control.shared.artifacts.lock().unwrap().get(&digest).cloned() else {
        let body = serde_json::json!({"code": "not_found", "message": "there is no such artifact"});
        return (StatusCode::NOT_FOUND, Json(body)).into_response();
    };
    let range = headers.get(RANGE).and_then(|value| value.to_str().ok()?.strip_prefix("bytes="));
    let from = range.and_then(|range| range.strip_suffix('-')?.parse::<usize>().ok());
    let mut handouts = control.shared.handouts.lock().unwrap();
    let Some(slot) = handouts.slots.take(digest) else {
        handouts.refused += 1;
        let body = serde_json::json!({"code": "unavailable", "message": "it is sent to others"});
        return (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response();
    };
    handouts.offsets.push(from.unwrap_or(0) as u64);
    let status = if from.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    (status, slowly(content.slice(from.unwrap_or(0)..), handouts.pace, slot)).into_response()
}

/// The place is given back at the end.
fn slowly(content: Bytes, pace: Duration, slot: Slot<String>) -> Body {
    let pieces = futures_util::stream::unfold((content, slot), move |(mut rest, slot)| async move {
        let piece = rest.split_to(rest.len().min(64 * 1024));
        tokio::time::sleep(pace).await;
        (!piece.is_empty()).then_some((Ok::<_, std::io::Error>(piece), (rest, slot)))
    });
    Body::from_stream(pieces)
}
