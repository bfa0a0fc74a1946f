//! A control plane that says what a test tells it and remembers what it is told, over real HTTP.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, Query, State};
use axum::http::header::{AUTHORIZATION, RANGE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use pando_api::v1::agents::{AgentTarget, ReportBody, TargetQuery};
use pando_model::assignment::Assignment;
use pando_model::id::Version;
use pando_model::observed::AgentReport;
use pando_routing::Table;
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
    target: watch::Sender<AgentTarget>,
    reports: watch::Sender<Vec<ReportBody>>,
    artifacts: Mutex<BTreeMap<String, Bytes>>,
    address: Mutex<SocketAddr>,
    server: Mutex<Option<JoinHandle<()>>>,
}

impl Control {
    pub(crate) async fn start() -> Self {
        let shared = Shared {
            target: watch::Sender::new(AgentTarget::default()),
            reports: watch::Sender::new(Vec::new()),
            artifacts: Mutex::default(),
            address: Mutex::new("127.0.0.1:0".parse().unwrap()),
            server: Mutex::default(),
        };
        let control = Self { shared: Arc::new(shared) };
        control.come_back().await;
        control
    }

    /// Listens where it listened before.
    pub(crate) async fn come_back(&self) {
        let address = *self.shared.address.lock().unwrap();
        let listener = TcpListener::bind(address).await.unwrap();
        *self.shared.address.lock().unwrap() = listener.local_addr().unwrap();
        let router = Router::new()
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

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.shared.address.lock().unwrap())
    }

    pub(crate) fn assign(&self, assignment: Assignment) {
        self.shared.target.send_modify(|target| target.assignment = Some(assignment));
    }

    pub(crate) fn publish(&self, table: Table) {
        self.shared.target.send_modify(|target| target.table = Some(table));
    }

    pub(crate) fn store(&self, digest: &str, content: Bytes) {
        self.shared.artifacts.lock().unwrap().insert(digest.to_owned(), content);
    }

    pub(crate) fn reports(&self) -> Vec<ReportBody> {
        self.shared.reports.borrow().clone()
    }

    pub(crate) fn forget_reports(&self) {
        self.shared.reports.send_modify(Vec::clear);
    }

    /// The first report, from now on the last or a later one, that `holds`.
    pub(crate) async fn until(&self, what: &str, holds: impl Fn(&AgentReport) -> bool) -> ReportBody {
        let mut seen = self.shared.reports.subscribe();
        let last = |reports: &Vec<ReportBody>| reports.last().is_some_and(|body| holds(&body.report));
        let found = tokio::time::timeout(DEADLINE, seen.wait_for(last)).await;
        match found {
            Ok(found) => found.unwrap().last().unwrap().clone(),
            Err(_) => panic!("{what}: {:#?}", self.reports().last()),
        }
    }
}

fn is_allowed(headers: &HeaderMap) -> bool {
    headers.get(AUTHORIZATION).is_some_and(|value| value == &format!("Bearer {TOKEN}"))
}

async fn target(
    State(control): State<Control>,
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
        let newer = newer(&seen.borrow_and_update(), &have);
        let away = control.shared.server.lock().unwrap().is_none();
        if newer.assignment.is_some() || newer.table.is_some() || away {
            return Json(newer).into_response();
        }
        if tokio::time::timeout_at(deadline, seen.changed()).await.is_err() {
            return Json(AgentTarget::default()).into_response();
        }
    }
}

fn newer(target: &AgentTarget, have: &TargetQuery) -> AgentTarget {
    let version = |table: &Table| Version::new(table.version.epoch, table.version.revision);
    AgentTarget {
        assignment: target.assignment.clone().filter(|one| one.version > have.assignment()),
        table: target.table.clone().filter(|one| version(one) > have.table()),
    }
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
    match range.and_then(|range| range.strip_suffix('-')?.parse::<usize>().ok()) {
        Some(from) => (StatusCode::PARTIAL_CONTENT, content.slice(from..)).into_response(),
        None => content.into_response(),
    }
}
