//! A control plane that says what a test tells it and remembers what it is told, over real HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::header::{AUTHORIZATION, RANGE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use pando_api::v1::agents::{AgentTarget, ReportBody, TargetQuery};
use pando_model::assignment::Assignment;
use pando_model::id::{ServerId, Version};
use pando_model::observed::AgentReport;
use pando_routing::Table;
use pando_rt::slots::{Slot, Slots};
use pando_trust::SignedBytes;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

pub(crate) const TOKEN: &str = "pando_for-control";

const DEADLINE: Duration = Duration::from_secs(20);

/// Clones share everything.
#[derive(Clone)]
pub(crate) struct Control {
    shared: Arc<Shared>,
}

struct Shared {
    target: watch::Sender<Targets>,
    reports: watch::Sender<Vec<ReportBody>>,
    artifacts: Mutex<BTreeMap<String, Bytes>>,
    handouts: Mutex<Handouts>,
    address: Mutex<SocketAddr>,
    server: Mutex<Option<JoinHandle<()>>>,
    /// How many more questions for its health are answered; the others wait for ever.
    healthy_for: AtomicU64,
}

#[derive(Default)]
struct Targets {
    assignments: BTreeMap<ServerId, Assignment>,
    table: Option<Table>,
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
    pub(crate) async fn start() -> Self {
        let control = Self::new();
        control.come_back().await;
        control
    }

    /// On a listener of whichever network.
    pub(crate) fn start_on(listener: std::net::TcpListener) -> Self {
        let control = Self::new();
        listener.set_nonblocking(true).unwrap();
        control.serve(TcpListener::from_std(listener).unwrap());
        control
    }

    fn new() -> Self {
        let shared = Shared {
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
            .route("/v1/artifacts/{digest}", get(artifact))
            .with_state(self.clone());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        *self.shared.server.lock().unwrap() = Some(server);
    }

    /// Refuses connections from now on. Those that are open stay so until the runtime ends; the agent's are cut.
    pub(crate) async fn go_away(&self) {
        let server = self.shared.server.lock().unwrap().take();
        if let Some(server) = server {
            server.abort();
            let _ = server.await;
        }
        // The polls under way end.
        self.shared.target.send_modify(|_| {});
    }

    /// Answers so many more questions for its health, and no other on a new connection.
    pub(crate) fn stay_healthy_for(&self, answers: u64) {
        self.shared.healthy_for.store(answers, Ordering::SeqCst);
    }

    pub(crate) fn address(&self) -> SocketAddr {
        *self.shared.address.lock().unwrap()
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.shared.address.lock().unwrap())
    }

    pub(crate) fn assign(&self, assignment: Assignment) {
        self.shared.target.send_modify(|target| {
            target.assignments.insert(assignment.server, assignment);
        });
    }

    pub(crate) fn publish(&self, table: Table) {
        self.shared.target.send_modify(|target| target.table = Some(table));
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

fn is_allowed(headers: &HeaderMap) -> bool {
    headers.get(AUTHORIZATION).is_some_and(|value| value == &format!("Bearer {TOKEN}"))
}

async fn target(
    State(control): State<Control>,
    Path(server): Path<ServerId>,
    Query(have): Query<TargetQuery>,
    headers: HeaderMap,
) -> Response {
    if !is_allowed(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let mut seen = control.shared.target.subscribe();
    let wait = Duration::from_millis(have.wait_millis);
    let deadline = tokio::time::Instant::now() + wait;
    loop {
        let newer = newer(&seen.borrow_and_update(), server, &have);
        let away = control.shared.server.lock().unwrap().is_none();
        if newer.assignment.is_some() || newer.table.is_some() || away {
            return Json(newer).into_response();
        }
        if tokio::time::timeout_at(deadline, seen.changed()).await.is_err() {
            return Json(AgentTarget::default()).into_response();
        }
    }
}

fn newer(target: &Targets, server: ServerId, have: &TargetQuery) -> AgentTarget {
    let version = |table: &Table| Version::new(table.version.epoch, table.version.revision);
    let assignment = target.assignments.get(&server).filter(|one| one.version > have.assignment());
    AgentTarget {
        assignment: assignment.map(unsigned),
        table: target.table.as_ref().filter(|one| version(one) > have.table()).map(unsigned),
    }
}

/// An agent without a signing key does not look at signatures.
fn unsigned(value: &impl serde::Serialize) -> SignedBytes {
    SignedBytes { payload: serde_json::to_string(value).unwrap(), signature: String::new() }
}

async fn report(
    State(control): State<Control>,
    headers: HeaderMap,
    Json(body): Json<ReportBody>,
) -> StatusCode {
    if !is_allowed(&headers) {
        return StatusCode::UNAUTHORIZED;
    }
    if control.shared.server.lock().unwrap().is_none() {
        return StatusCode::SERVICE_UNAVAILABLE;
    }
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
