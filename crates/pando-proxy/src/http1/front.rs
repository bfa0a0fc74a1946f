//! One exchange's client over HTTP/1.

use std::io;
use std::task::{Context, Poll, ready};

use pando_http::{Decoder, RequestHead, Trailers, Version, write};

use crate::front::{Answer, AnswerBody, BodyError, Front};
use crate::inbox::Inbox;
use crate::outbox::Outbox;
use crate::time::date;
use crate::wire::Wire;

/// What a client may send ahead of its turn. More is left in the kernel, which slows the client down.
const MOST_AHEAD: usize = 64 << 10;

/// Bytes of a body that go along with what is queued: copying them costs less than a vectored write.
const SMALL: usize = 4 << 10;

/// Queued bytes that are worth a write.
const ENOUGH: usize = 32 << 10;

/// A client's connection.
#[derive(Debug)]
pub(crate) struct Http1 {
    pub(super) wire: Wire,
    inbox: Inbox,
    pub(super) outbox: Outbox,
    /// Of the current request's body.
    decoder: Decoder,
    /// Bytes of the body at the inbox's start.
    available: usize,
    version: Version,
    persistent: bool,
    /// The answer's body is sent in chunks.
    chunked: bool,
    ended: bool,
}

impl Http1 {
    pub(super) fn new(wire: Wire) -> Self {
        Self {
            wire,
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            decoder: Decoder::default(),
            available: 0,
            version: Version::Http11,
            persistent: true,
            chunked: false,
            ended: false,
        }
    }

    /// The request whose head was read is what follows.
    pub(super) fn begin(&mut self, head: &RequestHead) {
        self.decoder = Decoder::from(head.framing);
        (self.version, self.persistent) = (head.version, head.persistent);
        (self.available, self.chunked, self.ended) = (0, false, false);
    }

    pub(super) fn input(&self) -> &[u8] {
        self.inbox.bytes()
    }

    pub(super) fn has_input(&self) -> bool {
        !self.inbox.is_empty()
    }

    pub(super) fn skip(&mut self, count: usize) {
        self.inbox.consume(count);
    }

    /// The first `len` bytes, without a copy; what follows stays.
    pub(super) fn take_input(&mut self, len: usize) -> Inbox {
        let rest = self.inbox.split_off(len);
        std::mem::replace(&mut self.inbox, rest)
    }

    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.wire.poll_fill(cx, &mut self.inbox)
    }

    /// The bare connection, and what the client has sent already.
    pub(super) fn into_parts(self) -> (Wire, Inbox) {
        (self.wire, self.inbox)
    }

    fn write_head(&mut self, answer: &Answer<'_>) {
        let out = self.outbox.queue();
        write::status_line(out, answer.status, answer.reason);
        let mut dated = false;
        if let Some(passed) = &answer.passed {
            write::fields(out, passed.bytes, &passed.head.fields, passed.clean);
            dated = passed.head.fields.first(pando_http::Known::Date).is_some();
        }
        for (name, value) in answer.own {
            write::field(out, name.as_bytes(), value);
        }
        if !dated && answer.status >= 200 {
            date(|date| write::field(out, b"date", date));
        }
    }

    fn write_connection(&mut self) {
        let out = self.outbox.queue();
        match (self.version, self.persistent) {
            (_, false) => out.extend_from_slice(b"connection: close\r\n"),
            (Version::Http10, true) => out.extend_from_slice(b"connection: keep-alive\r\n"),
            (_, true) => {}
        }
    }
}

impl Front for Http1 {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, BodyError>> {
        loop {
            if self.available > 0 || self.decoder.is_done() {
                return Poll::Ready(Ok(self.available));
            }
            let piece = self.decoder.decode(self.inbox.bytes())?;
            // What stands before the data is framing; nothing stands after it.
            self.inbox.consume(piece.data.start);
            self.available = piece.data.len();
            if piece.consumed == 0 && !self.decoder.is_done() && ready!(self.poll_fill(cx))? == 0 {
                self.decoder.close()?;
            }
        }
    }

    fn body(&self) -> &[u8] {
        &self.inbox.bytes()[..self.available]
    }

    fn consume(&mut self, count: usize) {
        self.inbox.consume(count);
        self.available -= count;
    }

    fn trailers(&self) -> Option<&Trailers> {
        self.decoder.trailers()
    }

    fn is_body_over(&self) -> bool {
        self.decoder.is_done() && self.available == 0
    }

    fn goes_on(&self) -> bool {
        self.persistent && self.is_body_over()
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.inbox.len() < MOST_AHEAD {
            match ready!(self.poll_fill(cx)) {
                Ok(1..) => {}
                Ok(0) | Err(_) => return Poll::Ready(()),
            }
        }
        Poll::Pending
    }

    fn interim(&mut self, answer: &Answer<'_>) {
        if self.version == Version::Http11 {
            self.write_head(answer);
            self.outbox.queue().extend_from_slice(b"\r\n");
        }
    }

    fn head(&mut self, answer: &Answer<'_>) {
        self.persistent &= !answer.close;
        self.write_head(answer);
        if answer.body == AnswerBody::Open {
            self.chunked = self.version == Version::Http11;
            self.persistent &= self.chunked;
            if self.chunked {
                self.outbox.queue().extend_from_slice(b"transfer-encoding: chunked\r\n");
            }
        }
        if answer.status != 101 {
            self.write_connection();
        }
        self.outbox.queue().extend_from_slice(b"\r\n");
    }

    fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if !self.chunked {
            if !self.outbox.is_empty() && data.len() <= SMALL {
                self.outbox.queue().extend_from_slice(data);
                return Poll::Ready(Ok(data.len()));
            }
            return self.outbox.poll_write(cx, &mut self.wire, data);
        }
        if self.outbox.len() >= ENOUGH {
            ready!(self.poll_flush(cx))?;
        }
        write::chunk(self.outbox.queue(), data);
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.outbox.poll_write(cx, &mut self.wire, &[]).map_ok(|_| ())
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, trailers: Option<&Trailers>) -> Poll<io::Result<()>> {
        if self.chunked && !self.ended {
            self.ended = true;
            write::end(self.outbox.queue(), trailers);
        }
        if !self.persistent {
            self.wire.part();
        }
        self.poll_flush(cx)
    }
}
