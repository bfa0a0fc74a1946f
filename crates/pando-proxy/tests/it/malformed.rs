//! Requests that two readers could take for two different things, after RFC 9112 and what smuggling has been made of: each is
//! refused before a byte goes up, or passed on in one form, as it is read back from an origin that keeps every byte.

mod cases;

use std::sync::{Arc, Mutex};

use pando_http::{Decoder, Framing, HeadScan, Limits, RequestHead, Scanned};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Proxy, TableBuilder, endpoint, within};
use cases::{PASSED, REFUSED};

/// All that each connection brought.
type Heard = Arc<Mutex<Vec<Vec<u8>>>>;

/// An origin that answers each first message and keeps all bytes.
async fn raw_origin() -> (std::net::SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, heard) = (listener.local_addr().unwrap(), Heard::default());
    let all = heard.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let all = all.clone();
            tokio::spawn(async move {
                let bytes = listen(stream).await;
                // Probes say nothing.
                if !bytes.is_empty() {
                    all.lock().unwrap().push(bytes);
                }
            });
        }
    });
    (address, heard)
}

/// Until the other side closes.
async fn listen(mut stream: TcpStream) -> Vec<u8> {
    let (mut bytes, mut answered) = (Vec::new(), false);
    while stream.read_buf(&mut bytes).await.is_ok_and(|count| count > 0) {
        if !answered && message(&bytes).is_some() {
            answered = true;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
            let _ = stream.write_all(answer).await;
        }
    }
    bytes
}

/// The first message of some bytes: its head, its body, and how many bytes both take. `None`: it isn't whole, or no HTTP.
fn message(bytes: &[u8]) -> Option<(RequestHead, Vec<u8>, usize)> {
    let Scanned::Whole { len, .. } = HeadScan::default().strictly(bytes) else { return None };
    let mut head = RequestHead::default();
    head.read(&bytes[..len], &Limits::default()).ok()?;
    let (mut decoder, mut body, mut at) = (Decoder::from(head.framing), Vec::new(), len);
    while !decoder.is_done() {
        let piece = decoder.decode(&bytes[at..]).ok()?;
        body.extend_from_slice(&bytes[at..][piece.data]);
        at += piece.consumed;
        if piece.consumed == 0 && !decoder.is_done() {
            return None;
        }
    }
    Some((head, body, at))
}

/// Sends `bytes` as they are; all that the client gets until it is let go.
async fn ask(proxy: &Proxy, bytes: &[u8]) -> String {
    let mut client = proxy.client().await;
    client.send(bytes).await;
    // There is no more to come: a message that isn't whole is over.
    let _ = client.stream.get_mut().shutdown().await;
    let rest = within("an end", client.rest()).await;
    String::from_utf8_lossy(&rest).into_owned()
}

async fn set_up() -> (Proxy, Heard) {
    let (address, heard) = raw_origin().await;
    let proxy = Proxy::start().await;
    proxy.put_ready(&TableBuilder::serving(1, [&endpoint(address)])).await;
    (proxy, heard)
}

#[tokio::test]
async fn what_is_ambiguous_is_refused_before_a_byte_goes_up() {
    let (proxy, heard) = set_up().await;
    for (name, request, statuses) in REFUSED {
        let answer = ask(&proxy, request).await;
        let status = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
        assert!(status.is_some_and(|status: u16| statuses.contains(&status)), "{name}: {answer:?}");
        let answers = answer.matches("HTTP/1.1 ").count();
        assert_eq!(answers, 1, "{name}: whatever follows is not listened to: {answer:?}");
        assert!(heard.lock().unwrap().is_empty(), "{name}: {:?}", heard.lock().unwrap());
    }
}

#[tokio::test]
async fn what_passes_passes_in_one_form() {
    for (name, request, start, body) in PASSED {
        let (proxy, heard) = set_up().await;
        let mut client = proxy.client().await;
        client.send(request).await;
        let answer = within("an answer", client.response()).await;
        assert_eq!((answer.status, answer.text()), (200, "ok"), "{name}");
        // Whatever else would have gone up has gone by then.
        drop(client);
        proxy.stop().await;
        crate::support::until("the origin has heard", async || heard.lock().unwrap().len() == 1).await;
        let bytes = heard.lock().unwrap().remove(0);
        let shown = String::from_utf8_lossy(&bytes).into_owned();
        let (head, passed, taken) =
            message(&bytes).unwrap_or_else(|| panic!("{name}: no message: {shown:?}"));
        assert_eq!(taken, bytes.len(), "{name}: more than one message went up: {shown:?}");
        assert!(shown.starts_with(start), "{name}: {shown:?}");
        assert_eq!(passed, *body, "{name}");
        // One way to tell where the body ends, one host.
        let of = |wanted| head.fields.all(wanted).count();
        use pando_http::Known::{ContentLength, Host, TransferEncoding};
        let expected = match head.framing {
            Framing::Empty => 0,
            Framing::Length(_) | Framing::Chunked => 1,
        };
        let zero = of(ContentLength) == 1 && body.is_empty();
        assert!(of(ContentLength) + of(TransferEncoding) == expected || zero, "{name}: {shown:?}");
        assert_eq!(of(Host), 1, "{name}: {shown:?}");
    }
}
