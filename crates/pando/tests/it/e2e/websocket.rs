//! A WebSocket that is open across a deploy is drained, not cut.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::bed::{Bed, Settings};

#[test]
fn e2e_an_open_websocket_is_drained_not_cut() {
    let mut bed = Bed::up(Settings { extra: "stop_timeout: 4s".to_owned(), ..Settings::default() });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let url = format!("ws://{}/ws", bed.address());
    let (mut socket, _) = runtime.block_on(tokio_tungstenite::connect_async(&url)).unwrap();
    runtime.block_on(exchange(&mut socket, "before"));
    bed.change(|_| {});
    bed.ok(&["deploy"]);
    // The old replica still answers: it drains.
    runtime.block_on(exchange(&mut socket, "after"));
    let close = runtime
        .block_on(async { tokio::time::timeout(Duration::from_secs(15), last_word(&mut socket)).await });
    assert_eq!(close.unwrap(), Some(CloseCode::Away), "a close frame, 1001");
    bed.wait_until_settled(3);
}

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

async fn exchange(socket: &mut Socket, text: &str) {
    socket.send(Message::text(text)).await.unwrap();
    loop {
        let message =
            tokio::time::timeout(Duration::from_secs(5), socket.next()).await.unwrap().unwrap().unwrap();
        if message.to_text().is_ok_and(|got| got.contains(text)) {
            return;
        }
    }
}

async fn last_word(socket: &mut Socket) -> Option<CloseCode> {
    while let Some(message) = socket.next().await {
        if let Ok(Message::Close(frame)) = message {
            return frame.map(|frame| frame.code);
        }
    }
    None
}
