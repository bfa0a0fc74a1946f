//! Answers that take their time: what a load balancer must not cut, buffer or
//! shorten.

use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, Request, State};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRAILER};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, stream};

use super::App;

const TICK: Duration = Duration::from_millis(250);
const LONGEST_WAIT_MS: u64 = 60_000;
const MOST_BYTES: usize = 1 << 30;
const CHUNK: usize = 16 * 1024;

type Words = Query<HashMap<String, String>>;

/// `GET /slow?ms=`: answers after so many milliseconds (default 1000).
pub async fn slow(State(app): State<Arc<App>>, Query(words): Words) -> Result<String, Refused> {
    let milliseconds = number(&words, "ms", LONGEST_WAIT_MS)?.unwrap_or(1000);
    tokio::time::sleep(Duration::from_millis(milliseconds)).await;
    Ok(format!("{} answered after {milliseconds} ms\n", app.who.replica))
}

/// `GET /stream?n=`: a server-sent event each 250 ms. With `n` it ends after so many and is
/// whole even if the process is told to stop; without, it ends then.
pub async fn ticks(
    State(app): State<Arc<App>>,
    Query(words): Words,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refused> {
    let last = number(&words, "n", u64::MAX)?;
    Ok(Sse::new(stream::unfold(1u64, move |number| {
        let app = app.clone();
        async move { next_tick(&app, number, last).await.map(|event| (Ok(event), number + 1)) }
    })))
}

async fn next_tick(app: &App, number: u64, last: Option<u64>) -> Option<Event> {
    match last {
        Some(last) if number > last => return None,
        Some(_) => tokio::time::sleep(TICK).await,
        None => tokio::select! {
            () = tokio::time::sleep(TICK) => {}
            () = app.stopping.cancelled() => return None,
        },
    }
    Some(Event::default().event("tick").id(number.to_string()).data(format!("{number} {}", app.who.replica)))
}

/// `GET /bytes?n=`: so many bytes with a `content-length`; byte *i* is *i* modulo 251, so that a
/// client can tell that what it got is whole and in order.
pub async fn bytes(Query(words): Words) -> Result<Response, Refused> {
    let length = number(&words, "n", MOST_BYTES)?.unwrap_or(1024);
    let chunks = stream::unfold(0, move |sent| async move {
        let chunk: Vec<u8> = (sent..length.min(sent + CHUNK)).map(pattern).collect();
        let next = sent + chunk.len();
        (!chunk.is_empty()).then_some((Ok::<_, Infallible>(Bytes::from(chunk)), next))
    });
    let headers =
        [(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_LENGTH, length.to_string())];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

fn pattern(index: usize) -> u8 {
    u8::try_from(index % 251).unwrap_or_default()
}

/// `POST /echo`: the body comes back as it arrives, with its type and its trailers.
pub async fn echo(request: Request) -> Response {
    let mut headers = HeaderMap::new();
    for name in [CONTENT_TYPE, TRAILER] {
        if let Some(value) = request.headers().get(&name) {
            headers.insert(name, value.clone());
        }
    }
    (headers, request.into_body()).into_response()
}

/// A mistake in the query, and what to write instead.
type Refused = (StatusCode, String);

/// The number named `key` in the query; more than `most`, or no number, is the caller's mistake.
fn number<T>(words: &HashMap<String, String>, key: &str, most: T) -> Result<Option<T>, Refused>
where
    T: FromStr + PartialOrd + Display,
{
    let Some(text) = words.get(key) else { return Ok(None) };
    match text.parse() {
        Ok(value) if value <= most => Ok(Some(value)),
        _ => Err((StatusCode::BAD_REQUEST, format!("`{key}` must be a number from 0 to {most}\n"))),
    }
}
