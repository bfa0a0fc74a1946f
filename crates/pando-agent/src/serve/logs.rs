//! What replicas wrote, as lines of JSON.

use std::collections::BTreeSet;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::{self, Stream, StreamExt};
use pando_api::v1::agents::{LogLine, LogQuery, LogStream};
use pando_model::name::AppName;
use pando_model::time::Timestamp;
use pando_runtime::logs::{self, LogStore, Sources};
use tokio::sync::OwnedSemaphorePermit;

use super::{Api, Problem};

/// A blank line this often while nothing is written, so that either side notices when the other is gone.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);

/// With neither a time nor a count in the query.
const TAIL: usize = 100;

/// With a time and no count.
const TAIL_SINCE: usize = 100_000;

/// Log lines, oldest first.
pub type Lines = Pin<Box<dyn Stream<Item = io::Result<LogLine>> + Send>>;

/// Where log lines come from.
pub trait LogSource: Send + Sync + 'static {
    /// The lines of `app` that `query` wants; without an end when it follows.
    fn read(&self, app: &AppName, query: &LogQuery) -> Lines;
}

impl LogSource for LogStore {
    fn read(&self, app: &AppName, query: &LogQuery) -> Lines {
        let tail = query.tail.unwrap_or(if query.since_millis.is_some() { TAIL_SINCE } else { TAIL });
        let query = logs::Query {
            app: app.clone(),
            sources: sources(query),
            since: query.since_millis.map(Timestamp::from_millis),
            tail: Some(tail),
            follow: query.follow,
        };
        Box::pin(LogStore::read(self, query).into_stream().map(|line| line.map(on_the_wire)))
    }
}

fn sources(query: &LogQuery) -> Sources {
    match (&query.replica, &query.process) {
        (Some(replica), _) => Sources::Names(BTreeSet::from([replica.to_string()])),
        (None, Some(process)) => Sources::Process(process.to_string()),
        (None, None) => Sources::All,
    }
}

fn on_the_wire(line: logs::Line) -> LogLine {
    let stream = match line.stream {
        logs::Stream::Stdout => LogStream::Stdout,
        logs::Stream::Stderr => LogStream::Stderr,
        logs::Stream::Pando => LogStream::Pando,
    };
    LogLine { time: line.time, source: line.source, stream, text: line.text }
}

pub(super) async fn logs(
    State(api): State<Api>,
    query: Result<Query<LogQuery>, QueryRejection>,
) -> Result<Response, Response> {
    let Query(query) = query.map_err(|error| Problem::invalid(error.body_text()).into_response())?;
    let slot = std::sync::Arc::clone(&api.inner.limits.logs).try_acquire_owned();
    let slot = slot.map_err(|_| Problem::busy("streams of logs").into_response())?;
    let shutdown = api.inner.tasks.shutdown().clone();
    let over = async move { shutdown.wait().await };
    let lines = encoded(lines(&api, &query), slot).take_until(Box::pin(over));
    let body = Body::from_stream(lines);
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], body).into_response())
}

/// Of one app, or of every app that has something assigned here: one after the other, or as they come when followed.
fn lines(api: &Api, query: &LogQuery) -> Lines {
    let apps: BTreeSet<AppName> = match &query.app {
        Some(app) => BTreeSet::from([app.clone()]),
        None => {
            let assignment = api.inner.assignment.borrow().clone();
            assignment.instances.values().map(|instance| instance.app.clone()).collect()
        }
    };
    let each: Vec<Lines> = apps.iter().map(|app| api.inner.logs.read(app, query)).collect();
    if query.follow { Box::pin(stream::select_all(each)) } else { Box::pin(stream::iter(each).flatten()) }
}

/// A line of JSON each. `slot` is given back with the stream.
fn encoded(lines: Lines, slot: OwnedSemaphorePermit) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::unfold((lines, slot), async |(mut lines, slot)| {
        let line = match tokio::time::timeout(SIGN_OF_LIFE, lines.next()).await {
            Ok(line) => line?.and_then(|line| encode(&line)),
            Err(_) => Ok(Bytes::from_static(b"\n")),
        };
        Some((line, (lines, slot)))
    })
}

fn encode(line: &LogLine) -> io::Result<Bytes> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    Ok(bytes.into())
}
