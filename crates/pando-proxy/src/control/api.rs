//! What is answered to whom.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::body::Incoming;
use pando_routing::Table;
use serde::Serialize;

use super::{Control, Scope, takeover};
use crate::error::Refusal;
use crate::stats::{prometheus, report};

/// The most that a table may weigh.
const LARGEST_TABLE: usize = 16 << 20;

/// A table must be here by then.
const UPLOAD_TIME: Duration = Duration::from_secs(30);

/// What is said when something isn't done.
#[derive(Debug, Serialize)]
struct Problem {
    error: String,
    /// Each thing that is wrong with a table.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

pub(super) async fn answer(
    request: Request<Incoming>,
    control: &Arc<Control>,
    scope: Scope,
) -> Response<Bytes> {
    let method = request.method().clone();
    match (request.uri().path(), scope) {
        ("/metrics", _) => {
            only(&method, &[Method::GET], || text(prometheus::CONTENT_TYPE, prometheus::page(&control.plane)))
        }
        (_, Scope::Metrics) => nothing(),
        (crate::handover::PATH, _) if method == Method::POST => takeover::begin(request, control, scope),
        ("/v1/upgrade", _) if method == Method::POST => takeover::upgrade(control, scope).await,
        (crate::handover::PATH | "/v1/upgrade", _) => only(&method, &[Method::POST], nothing),
        ("/v1/table", _) if method == Method::PUT => put_table(request, control).await,
        ("/v1/table", _) => only(&method, &[Method::GET, Method::PUT], || get_table(control)),
        ("/v1/stats", _) if method == Method::GET => stats(&request, control).await,
        ("/v1/stats", _) => only(&method, &[Method::GET], nothing),
        _ => nothing(),
    }
}

fn nothing() -> Response<Bytes> {
    problem(StatusCode::NOT_FOUND, "there is nothing at this path")
}

/// Answers the first of the methods, refuses all but the named ones.
fn only(method: &Method, allowed: &[Method], answer: impl FnOnce() -> Response<Bytes>) -> Response<Bytes> {
    if allowed.first() == Some(method) {
        return answer();
    }
    let names = allowed.iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    let mut response = problem(StatusCode::METHOD_NOT_ALLOWED, &format!("only {names} is answered here"));
    if let Ok(names) = HeaderValue::from_str(&names) {
        response.headers_mut().insert(ALLOW, names);
    }
    response
}

fn get_table(control: &Control) -> Response<Bytes> {
    match control.plane.current() {
        Some(snapshot) => json(StatusCode::OK, &snapshot.table.public()),
        None => problem(StatusCode::NOT_FOUND, "there is no table yet"),
    }
}

async fn put_table(request: Request<Incoming>, control: &Control) -> Response<Bytes> {
    let taken = match read_table(request).await {
        Ok((table, text)) => take(table, text, control).await,
        Err(response) => Err(response),
    };
    taken.unwrap_or_else(|refused| {
        control.plane.gauges.refused_tables.fetch_add(1, Relaxed);
        refused
    })
}

async fn take(table: Table, text: Bytes, control: &Control) -> Result<Response<Bytes>, Response<Bytes>> {
    if let Some(file) = &control.table_file {
        return Err(refuse(&Refusal::FromFile(file.display().to_string())));
    }
    let taken = control.tables.offer(table, text).await;
    taken.map(|acknowledgement| json(StatusCode::OK, &acknowledgement)).map_err(|refusal| refuse(&refusal))
}

/// The table, and its text.
async fn read_table(request: Request<Incoming>) -> Result<(Table, Bytes), Response<Bytes>> {
    let body = Limited::new(request.into_body(), LARGEST_TABLE).collect();
    let read = tokio::time::timeout(UPLOAD_TIME, body).await;
    let read = read.map_err(|_| problem(StatusCode::REQUEST_TIMEOUT, "the table did not arrive in 30 s"))?;
    let bytes = read.map_err(|error| {
        if error.is::<LengthLimitError>() {
            let most = format!("a table has at most {LARGEST_TABLE} bytes");
            return problem(StatusCode::PAYLOAD_TOO_LARGE, &most);
        }
        problem(StatusCode::BAD_REQUEST, &format!("the table did not arrive whole: {error}"))
    })?;
    let text = bytes.to_bytes();
    let bytes = text.clone();
    // Thousands of endpoints take longer than probes and polls should wait.
    let read = tokio::task::spawn_blocking(move || Table::read(&bytes)).await;
    let read = read.unwrap_or_else(|error| Err(error.to_string()));
    read.map(|table| (table, text)).map_err(|why| {
        let error = "the table cannot be read".to_owned();
        json(StatusCode::BAD_REQUEST, &Problem { error, reasons: vec![why] })
    })
}

fn refuse(refusal: &Refusal) -> Response<Bytes> {
    let error = pando_rt::error_chain::error_chain(refusal);
    tracing::warn!(error, "a table was refused");
    let (status, reasons) = match refusal {
        Refusal::Invalid(reasons) => {
            (StatusCode::BAD_REQUEST, reasons.iter().map(ToString::to_string).collect())
        }
        Refusal::Lower { .. } | Refusal::Conflict(_) | Refusal::FromFile(_) => {
            (StatusCode::CONFLICT, Vec::new())
        }
        Refusal::HandedOver => (StatusCode::SERVICE_UNAVAILABLE, Vec::new()),
        Refusal::Unchecked { .. } => (StatusCode::INTERNAL_SERVER_ERROR, Vec::new()),
        Refusal::Persist { .. } => (StatusCode::INSUFFICIENT_STORAGE, Vec::new()),
    };
    json(status, &Problem { error, reasons })
}

async fn stats(request: &Request<Incoming>, control: &Control) -> Response<Bytes> {
    let query = request.uri().query().unwrap_or_default();
    match (number(query, "after"), number(query, "wait_millis")) {
        (Ok(after), Ok(wait)) => {
            // Without `after` there is nothing to wait for.
            let wait = Duration::from_millis(if after.is_some() { wait.unwrap_or(0) } else { 0 });
            json(StatusCode::OK, &report::poll(&control.plane, after.unwrap_or(0), wait).await)
        }
        (Err(error), _) | (_, Err(error)) => problem(StatusCode::BAD_REQUEST, &error),
    }
}

fn number(query: &str, name: &str) -> Result<Option<u64>, String> {
    let value = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    let parse = |(_, value): (&str, &str)| {
        value.parse().map_err(|_| format!("`{name}` must be a whole number, not `{value}`"))
    };
    value.map(parse).transpose()
}

pub(super) fn problem(status: StatusCode, error: &str) -> Response<Bytes> {
    json(status, &Problem { error: error.to_owned(), reasons: Vec::new() })
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response<Bytes> {
    match serde_json::to_vec(value) {
        Ok(bytes) => respond(status, "application/json", Bytes::from(bytes)),
        Err(error) => respond(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", error.to_string().into()),
    }
}

fn text(kind: &'static str, text: String) -> Response<Bytes> {
    respond(StatusCode::OK, kind, text.into())
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
