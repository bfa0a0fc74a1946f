//! A control plane over a real socket whose answers a test writes.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::response::Response;
use futures_util::{SinkExt, StreamExt, stream};
use hyper_util::rt::TokioIo;
use pando_api::stream::{Channel, Frame, Frames};
use serde_json::Value;
use tokio_util::codec::Framed;

/// What the binary asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) token: Option<String>,
    pub(crate) body: Bytes,
}

impl Asked {
    /// `GET /v1/status`.
    pub(crate) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// What it is answered.
#[derive(Debug)]
pub(crate) enum Answer {
    Json(u16, Value),
    /// A stream of JSON lines that ends, or breaks in the middle.
    Lines(Vec<Value>, End),
    /// After the upgrade: what was sent until the end of input is handed to this, and its frames are sent back.
    Exec(fn(&[Frame]) -> Vec<Frame>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    Broken,
}

impl Answer {
    pub(crate) fn ok(value: Value) -> Self {
        Self::Json(200, value)
    }

    pub(crate) fn refused(status: u16, code: &str, message: &str) -> Self {
        Self::Json(
            status,
            serde_json::json!({ "code": code, "message": message, "hint": "do something else" }),
        )
    }
}

type Says = dyn Fn(&Asked) -> Answer + Send + Sync;

/// Answers until it is dropped.
pub(crate) struct Fake {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    /// Ends the server with the test.
    _runtime: tokio::runtime::Runtime,
}

impl Fake {
    pub(crate) fn new(says: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, says): (Arc<Mutex<Vec<Asked>>>, Arc<Says>) = (Arc::default(), Arc::new(says));
        let log = Arc::clone(&asked);
        let router = axum::Router::new()
            .fallback(move |request: Request| answer(request, Arc::clone(&says), Arc::clone(&log)));
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { url, asked, _runtime: runtime }
    }

    /// Everything that was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.asked().iter().map(Asked::line).collect()
    }

    /// The one request with this line.
    pub(crate) fn only(&self, line: &str) -> Asked {
        let mut found: Vec<Asked> = self.asked().into_iter().filter(|asked| asked.line() == line).collect();
        assert_eq!(found.len(), 1, "{line}: {:?}", self.lines());
        found.remove(0)
    }
}

async fn answer(
    mut request: Request,
    says: Arc<Says>,
    log: Arc<Mutex<Vec<Asked>>>,
) -> Result<Response, Infallible> {
    let upgrade = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let (head, body) = request.into_parts();
    let token =
        head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let asked = Asked {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        token,
        body: if upgrade.is_some() { Bytes::new() } else { to_bytes(body, 1 << 24).await.unwrap() },
    };
    log.lock().unwrap().push(asked.clone());
    Ok(match (says(&asked), upgrade) {
        (Answer::Json(status, value), _) => reply(status, Body::from(value.to_string())),
        (Answer::Lines(lines, end), _) => reply(200, line_stream(lines, end)),
        (Answer::Exec(command), Some(upgrade)) => {
            tokio::spawn(async move {
                let upgraded = upgrade.await.unwrap();
                converse(Framed::new(TokioIo::new(upgraded), Frames), command).await;
            });
            Response::builder()
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header(header::CONNECTION, "upgrade")
                .header(header::UPGRADE, "pando-exec")
                .body(Body::empty())
                .unwrap()
        }
        (Answer::Exec(_), None) => reply(400, Body::from("no upgrade")),
    })
}

fn reply(status: u16, body: Body) -> Response {
    Response::builder().status(status).header(header::CONTENT_TYPE, "application/json").body(body).unwrap()
}

fn line_stream(lines: Vec<Value>, end: End) -> Body {
    let lines = lines.into_iter().map(|line| Ok(format!("{line}\n")));
    let lines = stream::iter(lines);
    match end {
        End::Whole => Body::from_stream(lines),
        End::Broken => Body::from_stream(lines.chain(stream::once(async {
            // What was written so far goes out before the next look at the stream.
            tokio::task::yield_now().await;
            Err(std::io::Error::other("the daemon was killed"))
        }))),
    }
}

async fn converse(
    mut frames: Framed<TokioIo<hyper::upgrade::Upgraded>, Frames>,
    command: fn(&[Frame]) -> Vec<Frame>,
) {
    let mut heard = Vec::new();
    while let Some(Ok(frame)) = frames.next().await {
        let over = frame.channel == Channel::Stdin && frame.payload.is_empty();
        heard.push(frame);
        if over {
            break;
        }
    }
    for frame in command(&heard) {
        frames.send(frame).await.unwrap();
    }
}
