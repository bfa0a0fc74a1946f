//! WebSockets: an app that echoes, and clients of it.

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, accept_async, client_async};

use super::{Origin, Proxy, within};

/// "Going away".
pub(crate) const AWAY: u16 = 1001;

/// Echoes messages until the other side closes; says how it ended.
pub(crate) async fn echo(ends: mpsc::Sender<Option<u16>>) -> Origin {
    Origin::start(move |stream, _| {
        let ends = ends.clone();
        async move {
            // The prober's connections are not WebSockets.
            let Ok(mut socket) = accept_async(stream).await else { return };
            let mut code = None;
            while let Some(Ok(message)) = socket.next().await {
                match message {
                    Message::Close(frame) => code = frame.map(|frame| frame.code.into()),
                    Message::Text(_) | Message::Binary(_) => socket.send(message).await.unwrap(),
                    _ => {}
                }
            }
            // At the end of a test nobody may listen any more.
            let _ = ends.send(code).await;
        }
    })
    .await
}

pub(crate) async fn connect(proxy: &Proxy) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let (socket, response) =
        within("a handshake", client_async("ws://a.example/chat", stream)).await.unwrap();
    assert_eq!(response.status(), 101);
    assert!(response.headers().contains_key("x-request-id"));
    socket
}

pub(crate) async fn say(socket: &mut WebSocketStream<TcpStream>, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
    let answer = within("an echo", socket.next()).await.unwrap().unwrap();
    assert_eq!(answer.to_text().unwrap(), text);
}

/// Reads, and answers what has to be answered, until the end.
pub(crate) async fn close_code(socket: &mut WebSocketStream<TcpStream>) -> u16 {
    let mut code = None;
    while let Some(message) = within("the end of the socket", socket.next()).await {
        if let Message::Close(frame) = message.unwrap() {
            code = frame.map(|frame| frame.code.into());
        }
    }
    code.expect("a close frame with a code")
}
