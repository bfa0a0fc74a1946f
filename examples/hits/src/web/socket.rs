//! `GET /ws`: a WebSocket that says who answers, then echoes every message.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

use super::App;

/// A message larger than this ends the connection.
const LARGEST_MESSAGE: usize = 1 << 20;
/// How long a peer may take to answer our close frame.
const CLOSING: std::time::Duration = std::time::Duration::from_secs(5);

pub async fn upgrade(State(app): State<Arc<App>>, mut request: Request) -> Response {
    let Some(accept) = accept_key(request.headers()) else {
        let headers = [(CONNECTION, "upgrade"), (UPGRADE, "websocket"), (SEC_WEBSOCKET_VERSION, "13")];
        return (StatusCode::UPGRADE_REQUIRED, headers, "This is a WebSocket (version 13).\n")
            .into_response();
    };
    let upgraded = hyper::upgrade::on(&mut request);
    let sockets = app.sockets.clone();
    sockets.spawn(converse(app, upgraded));
    let headers: [(HeaderName, String); 3] = [
        (CONNECTION, "upgrade".to_owned()),
        (UPGRADE, "websocket".to_owned()),
        (SEC_WEBSOCKET_ACCEPT, accept),
    ];
    (StatusCode::SWITCHING_PROTOCOLS, headers, Body::empty()).into_response()
}

/// The answer to the client's key, if the request is a WebSocket handshake as RFC 6455 wants it.
fn accept_key(headers: &HeaderMap) -> Option<String> {
    let says = |name: HeaderName, wanted: &str| {
        headers
            .get_all(name)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .any(|value| value.split(',').any(|word| word.trim().eq_ignore_ascii_case(wanted)))
    };
    let asks = says(CONNECTION, "upgrade") && says(UPGRADE, "websocket") && says(SEC_WEBSOCKET_VERSION, "13");
    let key = headers.get(SEC_WEBSOCKET_KEY)?;
    asks.then(|| derive_accept_key(key.as_bytes()))
}

async fn converse(app: Arc<App>, upgraded: OnUpgrade) {
    // A client that goes away before the switch leaves nothing to do.
    let Ok(upgraded) = upgraded.await else { return };
    let config = WebSocketConfig::default()
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE));
    let mut socket =
        WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    // The peer may break off at any moment; that ends the conversation and is nobody's fault.
    let _ = echo_until_stopped(&app, &mut socket).await;
}

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

async fn echo_until_stopped(app: &App, socket: &mut Socket) -> Result<(), Error> {
    let who = &app.who;
    socket.send(Message::text(format!("{} {} {}", who.replica, who.release, who.instance))).await?;
    loop {
        // Both are cancel-safe: a message is taken whole or stays with the socket.
        let message = tokio::select! {
            message = socket.next() => message,
            () = app.stopping.cancelled() => return close(socket).await,
        };
        match message.transpose()? {
            Some(message @ (Message::Text(_) | Message::Binary(_))) => socket.send(message).await?,
            Some(_) => {}
            None => return Ok(()),
        }
    }
}

/// Says "going away" and waits for the peer's own close frame.
async fn close(socket: &mut Socket) -> Result<(), Error> {
    let frame = CloseFrame { code: CloseCode::Away, reason: "this replica is stopping".into() };
    socket.close(Some(frame)).await?;
    let rest = async { while let Some(Ok(_)) = socket.next().await {} };
    // A peer that does not answer in time is left behind.
    let _ = tokio::time::timeout(CLOSING, rest).await;
    Ok(())
}
