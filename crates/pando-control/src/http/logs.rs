//! Log lines of all servers as one stream.

mod merge;

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State as Held;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::CONTENT_TYPE;
use pando_api::v1::agents::{LogLine, LogQuery, LogStream};
use pando_api::v1::logs::AppLogQuery;
use pando_api::{ErrorBody, ErrorCode};
use pando_model::name::AppName;
use pando_model::server::Server;
use pando_rt::error_chain::error_chain;

use super::extract::{Asked, Place};
use super::reply::Refused;
use crate::deploy::unknown_app;
use crate::shared::Shared;
use crate::state::State;
use merge::{Lines, Merge};

/// The most lines of an answer that ends.
const MAX_TAIL: usize = 100_000;
const DEFAULT_TAIL: usize = 100;

/// What the app's replicas wrote, a line of JSON each, oldest first.
#[utoipa::path(
    get, operation_id = "logs", path = "/v1/apps/{app}/logs", tag = "apps", params(("app" = AppName, Path), AppLogQuery),
    responses(
        (status = 200, content_type = "application/x-ndjson", description = "A `LogLine` in each line."),
        (status = 404, body = ErrorBody)
    )
)]
pub(crate) async fn show(
    Held(shared): Held<Arc<Shared>>,
    Place(app): Place<AppName>,
    Asked(query): Asked<AppLogQuery>,
) -> Result<Response, Refused> {
    let state = State::load_app(&*shared.store, &app).await?;
    if state.app(&app).is_none() {
        return Err(unknown_app(&app).into());
    }
    if let Some((process, replica)) = query.process.as_ref().zip(query.replica.as_ref())
        && replica.process != *process
    {
        return Err(Refused::new(ErrorCode::Invalid, format!("{replica} is no replica of `{process}`")));
    }
    let tail = tail(&query);
    let wanted = LogQuery {
        app: Some(app),
        process: query.process,
        replica: query.replica,
        since_millis: query.since_millis,
        tail: Some(tail),
        follow: query.follow,
    };
    let sources = sources(&shared, &state, &wanted).await;
    let merged = if query.follow { Merge::live(sources) } else { Merge::ending(sources) };
    let lines =
        if query.follow { merged.into_stream().left_stream() } else { merged.newest(tail).right_stream() };
    Ok(answer(&shared, lines))
}

fn tail(query: &AppLogQuery) -> usize {
    let default = if query.since_millis.is_some() { MAX_TAIL } else { DEFAULT_TAIL };
    query.tail.unwrap_or(default).min(MAX_TAIL)
}

/// A stream from each server. A server that can't be asked says so in a line of its own.
async fn sources(shared: &Shared, state: &State, wanted: &LogQuery) -> Vec<Lines> {
    let opened = state.world.servers.values().map(|server| open(shared, server, wanted));
    futures_util::future::join_all(opened).await
}

async fn open(shared: &Shared, server: &Server, wanted: &LogQuery) -> Lines {
    let now = shared.now();
    let name = server.name.clone();
    let remark = move |what: &str, error: &dyn std::error::Error| LogLine {
        time: now,
        source: name.to_string(),
        stream: LogStream::Pando,
        text: format!("the logs of {name} {what}: {}", error_chain(error)),
    };
    let client = match shared.agent(server) {
        Ok(client) => client,
        Err(error) => return futures_util::stream::iter([remark("can't be read", &error)]).boxed(),
    };
    match client.logs(wanted).await {
        Ok(lines) => lines.map(move |line| line.unwrap_or_else(|error| remark("broke off", &error))).boxed(),
        Err(error) => futures_util::stream::iter([remark("can't be read", &error)]).boxed(),
    }
}

fn answer(shared: &Arc<Shared>, lines: impl Stream<Item = LogLine> + Send + 'static) -> Response {
    let shared = Arc::clone(shared);
    // Reading on is not worth holding up the end of the control plane.
    let until_end = lines.take_until(async move { shared.shutdown.wait().await });
    let bytes = until_end.filter_map(|line| async move {
        let mut text = serde_json::to_vec(&line).ok()?;
        text.push(b'\n');
        Some(Ok::<_, std::convert::Infallible>(Bytes::from(text)))
    });
    ([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(bytes)).into_response()
}
