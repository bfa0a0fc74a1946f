//! Log lines of this server, a line of JSON each.

use std::collections::{BTreeSet, VecDeque};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Query as Asked, State as Held};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use http::Uri;
use http::header::CONTENT_TYPE;
use pando_api::ErrorCode;
use pando_api::v1::agents::{LogLine, LogQuery, LogStream};
use pando_model::name::AppName;
use pando_model::time::Timestamp;
use pando_rt::clock::Clock;
use pando_runtime::logs::{Line, LogStore, Query, Sources, Stream as Kind};

use super::reply::Refused;
use super::server::Served;

const DEFAULT_TAIL: usize = 100;

/// The most lines before following.
const MOST_TAIL: usize = 100_000;

/// How long a followed log may be quiet before an empty line says that it is still followed.
const QUIET: Duration = Duration::from_secs(10);

/// The lines that the query wants, oldest first.
pub(super) async fn show(Held(served): Held<Arc<Served>>, uri: Uri) -> Result<Response, Refused> {
    let invalid = |text: String| Refused::new(ErrorCode::Invalid, text);
    let asked = Asked::<LogQuery>::try_from_uri(&uri);
    let Asked(wanted) =
        asked.map_err(|error| invalid(format!("the query is wrong: {}", error.body_text())))?;
    let query = query(&wanted).map_err(invalid)?;
    let shutdown = served.tasks.shutdown().clone();
    let lines = futures_util::stream::once(open(served.state.logs.clone(), query));
    // A reader may follow for weeks; that is not worth holding up the end of the agent.
    let bytes = lines.flatten().take_until(async move { shutdown.wait().await });
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(bytes)).into_response())
}

/// The error is a sentence.
fn query(wanted: &LogQuery) -> Result<Query, String> {
    let app = wanted.app.clone().ok_or("an app must be named, as `app=NAME`")?;
    let sources = match (&wanted.replica, &wanted.process) {
        (Some(replica), Some(process)) if replica.process != *process => {
            return Err(format!("{replica} is no replica of `{process}`"));
        }
        (Some(replica), _) => Sources::Names(BTreeSet::from([replica.to_string()])),
        (None, Some(process)) => Sources::Process(process.to_string()),
        (None, None) => Sources::All,
    };
    let since = wanted.since_millis.map(Timestamp::from_millis);
    let default = if since.is_some() { MOST_TAIL } else { DEFAULT_TAIL };
    let tail = Some(wanted.tail.unwrap_or(default).min(MOST_TAIL));
    Ok(Query { app, sources, since, tail, follow: wanted.follow })
}

async fn open(store: LogStore, query: Query) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    let (app, begun) = (query.app.clone(), begin(&store, query).await);
    let lines = match begun {
        Ok((query, skipped)) => store.read(query).into_stream().skip(skipped).left_stream(),
        Err(error) => futures_util::stream::iter([Err(error)]).right_stream(),
    };
    let answered = lines.map(move |line| encode(&line.map_or_else(|error| broken(&app, &error), api_line)));
    signs_of_life(answered.boxed())
}

/// The same stream, with an empty line whenever it was quiet for long.
fn signs_of_life(lines: BoxStream<'static, Bytes>) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
    futures_util::stream::unfold(lines, async |mut lines| {
        // Giving up on `next` loses nothing: what it waits for is kept in the stream.
        match tokio::time::timeout(QUIET, lines.next()).await {
            Ok(line) => line.map(|line| (Ok(line), lines)),
            Err(_) => Some((Ok(Bytes::from_static(b"\n")), lines)),
        }
    })
}

/// The query to read with, and how many lines at its beginning are not wanted.
///
/// The store keeps a short tail in memory. For a longer one, a first pass finds the oldest time in it: eight bytes a line
/// instead of the line; and a second how many lines since then come before it. Times may go back a little from line to line: streams of
/// a container overtake each other. Lines that are written in between come on top.
async fn begin(store: &LogStore, query: Query) -> io::Result<(Query, usize)> {
    let Some(tail) = query.tail.filter(|tail| *tail > Query::MOST_TAIL) else { return Ok((query, 0)) };
    let (mut newest, mut more) = (VecDeque::new(), false);
    let mut lines = store.read(Query { tail: None, follow: false, ..query.clone() });
    while let Some(line) = lines.next().await {
        newest.push_back(line?.time);
        if newest.len() > tail {
            newest.pop_front();
            more = true;
        }
    }
    if !more {
        return Ok((Query { tail: None, ..query }, 0));
    }
    let since = newest.iter().min().copied();
    let mut lines = store.read(Query { tail: None, follow: false, since, ..query.clone() });
    let mut count = 0_usize;
    while let Some(line) = lines.next().await {
        line?;
        count += 1;
    }
    Ok((Query { tail: None, since, ..query }, count.saturating_sub(newest.len())))
}

fn api_line(line: Line) -> LogLine {
    let stream = match line.stream {
        Kind::Stdout => LogStream::Stdout,
        Kind::Stderr => LogStream::Stderr,
        Kind::Pando => LogStream::Pando,
    };
    LogLine { time: line.time, source: line.source, stream, text: line.text }
}

/// The head of the answer is long sent: what is wrong now can be said in a line alone.
fn broken(app: &AppName, error: &io::Error) -> LogLine {
    tracing::warn!("the logs of {app} can't be read: {error}");
    let time = Timestamp::from_millis(Clock::system().now_millis());
    let text = format!("the logs can't be read on: {error}");
    LogLine { time, source: app.to_string(), stream: LogStream::Pando, text }
}

fn encode(line: &LogLine) -> Bytes {
    // It can't fail for a struct of texts and numbers; if it ever does, an empty line is what readers leave out.
    let mut text = serde_json::to_vec(line).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

#[cfg(test)]
mod tests;
