//! One exchange's client over a stream.

use std::io;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::HeaderMap;
use pando_http::{Malformed, Method, ResponseFraming, Trailers};

use super::answer;
use super::extended::{Key, StreamIo};
use crate::front::{Answer, AnswerBody, BodyError, Front, Passed};

/// What is handed to the connection at once.
const PIECE: usize = 64 << 10;

/// A client's stream.
#[derive(Debug)]
pub(super) struct Http2Stream {
    receive: RecvStream,
    respond: SendResponse<Bytes>,
    /// Once the head of the answer was sent.
    send: Option<SendStream<Bytes>>,
    /// Of the request's body.
    piece: Bytes,
    body_over: bool,
    trailers: Option<Trailers>,
    is_head: bool,
    key: Option<Key>,
    /// What the answer's body still lacks, where its head said so.
    left: Option<u64>,
    /// The answer is whole.
    ended: bool,
    /// The answer can't be sent.
    failed: bool,
}

impl Http2Stream {
    pub(super) fn new(
        receive: RecvStream,
        respond: SendResponse<Bytes>,
        method: Method,
        key: Option<Key>,
    ) -> Self {
        Self {
            body_over: receive.is_end_stream() || key.is_some(),
            receive,
            respond,
            send: None,
            piece: Bytes::new(),
            trailers: None,
            is_head: method == Method::Head,
            key,
            left: None,
            ended: false,
            failed: false,
        }
    }

    /// The answer broke off: the client must not take what it has for the whole.
    pub(super) fn cut(mut self) {
        self.respond.send_reset(Reason::INTERNAL_ERROR);
    }

    /// What an agreed tunnel goes through.
    pub(super) fn into_io(self) -> Option<StreamIo> {
        let Self { receive, send, piece, .. } = self;
        Some(StreamIo { receive, send: send?, piece, ended: false })
    }

    fn keep_trailers(&mut self, map: &HeaderMap) -> Result<(), BodyError> {
        let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if map.values().any(|value| is_space(value.as_bytes().first()) || is_space(value.as_bytes().last())) {
            return Err(Malformed::Trailers.into());
        }
        let fields = map.iter().map(|(name, value)| (name.as_str().as_bytes(), value.as_bytes()));
        self.trailers = Some(Trailers::of(fields)?);
        Ok(())
    }
}

/// What the `h2` crate says, as others say it.
pub(crate) fn broken(error: h2::Error) -> io::Error {
    if error.is_io() {
        return error.into_io().unwrap_or_else(|| io::ErrorKind::ConnectionAborted.into());
    }
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

/// How many of `wanted` bytes, which is not 0, the client's windows and our own buffers have room for: at least one.
pub(crate) fn poll_room(
    send: &mut SendStream<Bytes>,
    cx: &mut Context<'_>,
    wanted: usize,
) -> Poll<io::Result<usize>> {
    let wanted = wanted.min(PIECE);
    send.reserve_capacity(wanted);
    loop {
        let room = send.capacity().min(wanted);
        if room > 0 {
            return Poll::Ready(Ok(room));
        }
        match ready!(send.poll_capacity(cx)) {
            Some(more) => more.map_err(broken)?,
            None => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
        };
    }
}

impl Front for Http2Stream {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, BodyError>> {
        while self.piece.is_empty() && !self.body_over {
            match ready!(self.receive.poll_data(cx)) {
                Some(piece) => self.piece = piece.map_err(broken)?,
                None => {
                    if let Some(map) = ready!(self.receive.poll_trailers(cx)).map_err(broken)? {
                        self.keep_trailers(&map)?;
                    }
                    self.body_over = true;
                }
            }
        }
        Poll::Ready(Ok(self.piece.len()))
    }

    fn body(&self) -> &[u8] {
        &self.piece
    }

    fn consume(&mut self, count: usize) {
        self.piece.advance(count);
        // Failing means that the stream is over, which the next poll tells.
        let _ = self.receive.flow_control().release_capacity(count);
    }

    fn trailers(&self) -> Option<&Trailers> {
        self.trailers.as_ref()
    }

    fn is_body_over(&self) -> bool {
        self.body_over && self.piece.is_empty()
    }

    fn goes_on(&self) -> bool {
        true
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.send {
            Some(send) => send.poll_reset(cx).map(|_| ()),
            None => self.respond.poll_reset(cx).map(|_| ()),
        }
    }

    fn agrees(&self, passed: &Passed<'_>) -> bool {
        match &self.key {
            // 2xx would mean to the client that the tunnel is there.
            Some(key) if matches!(passed.head.status, 101 | 200..=299) => {
                key.is_answered_by(passed.head, passed.bytes)
            }
            _ => true,
        }
    }

    fn interim(&mut self, answer: &Answer<'_>) {
        if let Some(response) = answer::response(answer, answer.status) {
            // A stream that is over will say so when it matters.
            let _ = self.respond.send_informational(response);
        }
    }

    fn head(&mut self, answer: &Answer<'_>) {
        let status = if answer.status == 101 { 200 } else { answer.status };
        let Some(mut response) = answer::response(answer, status) else {
            self.failed = true;
            return;
        };
        if answer.status == 101 {
            response.headers_mut().remove("sec-websocket-accept");
        }
        let is_empty = answer.passed.is_some_and(|passed| passed.head.framing == ResponseFraming::Empty);
        let is_bodiless = answer.body == AnswerBody::None || is_empty || self.is_head;
        self.left = answer::length(&response).filter(|_| answer.body == AnswerBody::Sized);
        self.ended = is_bodiless && answer.status != 101;
        match self.respond.send_response(response, self.ended) {
            Ok(send) => self.send = Some(send),
            Err(_) => self.failed = true,
        }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let (Some(send), false) = (&mut self.send, self.ended || data.is_empty()) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        let room = ready!(poll_room(send, cx, data.len()))?;
        self.left = self.left.map(|left| left.saturating_sub(room as u64));
        self.ended = self.left == Some(0);
        send.send_data(Bytes::copy_from_slice(&data[..room]), self.ended).map_err(broken)?;
        Poll::Ready(Ok(room))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was handed over goes out by itself.
        Poll::Ready(if self.failed { Err(io::ErrorKind::ConnectionReset.into()) } else { Ok(()) })
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, trailers: Option<&Trailers>) -> Poll<io::Result<()>> {
        ready!(self.poll_flush(cx))?;
        if let (Some(send), false) = (&mut self.send, std::mem::replace(&mut self.ended, true)) {
            match trailers {
                Some(trailers) => send.send_trailers(answer::trailers(trailers)),
                None => send.send_data(Bytes::new(), true),
            }
            .map_err(broken)?;
        }
        Poll::Ready(Ok(()))
    }
}
