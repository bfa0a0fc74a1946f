//! The client's side of a request that a rule is for: its body on the way up, the answer on its way down, both as the rule
//! would have them.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use pando_http::{ResponseHead, Trailers};
use pando_routing::rule::answers::Encoding;

use super::cors;
use super::down::Down;
use super::route::Route;
use super::squeeze::{self, Squeezer};
use super::up::{self, Taken, Up};
use crate::asked::Paper;
use crate::forward::{ID_HEADER, Wants, stand_in};
use crate::front::{Answer, AnswerBody, BodyError, Front, Passed};
use crate::settings::Limits;

/// A front behind which a rule's filters work.
#[derive(Debug)]
pub(super) struct Door<'f, F> {
    inner: &'f mut F,
    route: Arc<Route>,
    /// What goes along with the answer, whoever gives it.
    fields: Vec<(Arc<str>, Vec<u8>)>,
    /// The client as a reader of pages.
    wants: Wants,
    id: Vec<u8>,
    /// In place of what the replica says.
    instead: Option<Instead>,
    /// What was taken of the request's body.
    pub(super) up: Up,
    /// The answer's body, where it doesn't go straight to the client.
    down: Option<Down>,
    /// What the client would have an answer compressed by.
    encoding: Option<Encoding>,
}

/// A page, as far as it is sent.
#[derive(Debug)]
struct Instead {
    text: Vec<u8>,
    sent: usize,
}

impl<'f, F: Front> Door<'f, F> {
    pub(super) fn new(inner: &'f mut F, route: &Arc<Route>, wants: Wants, id: &[u8]) -> Self {
        let (route, id) = (Arc::clone(route), id.to_vec());
        let (up, down) = (Up::default(), None);
        Self { inner, route, fields: Vec::new(), wants, id, instead: None, up, down, encoding: None }
    }

    /// Compresses the answer so, if it may be.
    pub(super) fn squeeze(&mut self, encoding: Option<Encoding>) {
        self.encoding = encoding;
    }

    /// Takes at most `most` bytes of the request's body.
    pub(super) async fn take(&mut self, paper: &mut Paper, most: u64, limits: &Limits) -> Taken {
        self.up.take(self.inner, paper, most, limits).await
    }

    /// Sends what is left of an answer that the replica is done with.
    ///
    /// # Errors
    /// The client has gone, or takes nothing for too long.
    pub(super) async fn finish(&mut self, stall: Duration) -> io::Result<()> {
        let Some(down) = self.down.as_mut().filter(|down| down.has_rest()) else { return Ok(()) };
        loop {
            let before = down.left();
            let ended = poll_fn(|cx| match down.poll_rest(cx, self.inner) {
                Poll::Pending if down.left() < before => Poll::Ready(Ok(false)),
                ended => ended.map_ok(|()| true),
            });
            match tokio::time::timeout(stall, ended).await {
                Ok(Ok(true)) => return Ok(()),
                Ok(Ok(false)) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }

    pub(super) fn add(&mut self, name: impl Into<Arc<str>>, value: Vec<u8>) {
        self.fields.push((name.into(), value));
    }

    /// Whether the rule has the last word about that field of an answer.
    fn takes(&self, name: &[u8]) -> bool {
        let changes = &self.route.filters.response_headers;
        let mut names = changes.remove.iter().chain(changes.set.keys());
        names.any(|taken| taken.as_bytes().eq_ignore_ascii_case(name))
            || (self.route.filters.cors.is_some() && cors::is_ours(name))
    }

    /// Whether a page stands in for what the replica says.
    fn stands_in(&self, answer: &Answer<'_>) -> bool {
        let pages = self.route.pages.as_ref().filter(|pages| pages.replica_errors);
        let has_page = pages.is_some_and(|pages| pages.find(answer.status).is_some());
        has_page && answer.status >= 500 && answer.passed.is_some() && !self.wants.is_grpc()
    }

    fn head_of(&mut self, answer: &Answer<'_>, passed: Option<Passed<'_>>, own: &[(&str, &[u8])]) {
        let own = own.iter().filter(|(name, _)| !self.takes(name.as_bytes())).copied();
        let fields = self.fields.iter().map(|(name, value)| (&**name, &**value));
        let own: Vec<(&str, &[u8])> = own.chain(fields).collect();
        self.inner.head(&Answer { passed, own: &own, ..*answer });
    }

    /// The coding of an answer that is to be compressed, and the fields that tell of it.
    fn encode(
        &self,
        answer: &Answer<'_>,
        passed: &Passed<'_>,
    ) -> (Option<Squeezer>, Vec<(&'static str, Vec<u8>)>) {
        let Some(compression) = &self.route.filters.compression else { return (None, Vec::new()) };
        if !squeeze::varies(compression, answer, passed) {
            return (None, Vec::new());
        }
        let mut fields = vec![("vary", b"Accept-Encoding".to_vec())];
        if !squeeze::may(compression, answer, passed) {
            return (None, fields);
        }
        let squeezer = self.encoding.and_then(|encoding| Some((encoding, Squeezer::new(encoding).ok()?)));
        let Some((encoding, squeezer)) = squeezer else { return (None, fields) };
        fields.push(("content-encoding", encoding.as_str().into()));
        let named = passed
            .head
            .fields
            .iter()
            .find(|field| !field.dropped && field.name.bytes(passed.bytes).eq_ignore_ascii_case(b"etag"));
        fields.extend(named.map(|field| ("etag", squeeze::weak(field.value.bytes(passed.bytes)))));
        (Some(squeezer), fields)
    }

    /// An answer of the replica's.
    fn pass(&mut self, answer: &Answer<'_>, passed: &Passed<'_>) {
        let mut head: ResponseHead = passed.head.clone();
        head.fields.drop_if(|field| self.takes(field.name.bytes(passed.bytes)));
        let (squeezer, told) = self.encode(answer, &Passed { head: &head, ..*passed });
        let mut body = answer.body;
        if squeezer.is_some() {
            head.fields.drop_if(|field| squeeze::is_untrue(field.name.bytes(passed.bytes)));
            body = AnswerBody::Open;
        }
        let held = self.route.filters.buffer_response.map_or(0, |buffer| buffer.max_bytes);
        let has_body = body != AnswerBody::None && answer.status != 101;
        if has_body && (squeezer.is_some() || held > 0) {
            self.down = Some(Down::new(squeezer, held));
        }
        let mut own = answer.own.to_vec();
        own.extend(told.iter().map(|(name, value)| (*name, &**value)));
        self.head_of(&Answer { body, ..*answer }, Some(Passed { head: &head, ..*passed }), &own);
    }

    /// The page's head.
    fn replace(&mut self, answer: &Answer<'_>) {
        let (kind, text) = stand_in(answer.status, self.wants, &self.id, self.route.pages.as_deref());
        let length = text.len().to_string();
        let mut own: Vec<(&str, &[u8])> = vec![
            ("content-type", kind.as_bytes()),
            ("content-length", length.as_bytes()),
            ("cache-control", b"no-store"),
        ];
        own.extend(answer.own.iter().filter(|(name, _)| *name == ID_HEADER));
        let body = if answer.body == AnswerBody::None { AnswerBody::None } else { AnswerBody::Sized };
        let text = if body == AnswerBody::None { Vec::new() } else { text.into_bytes() };
        self.head_of(&Answer { body, ..*answer }, None, &own);
        self.instead = Some(Instead { text, sent: 0 });
    }
}

impl<F: Front> Front for Door<'_, F> {
    fn poll_body(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, BodyError>> {
        up::poll_body(&self.up, self.inner, cx)
    }

    fn body(&self) -> &[u8] {
        match self.up.rest() {
            b"" => self.inner.body(),
            rest => rest,
        }
    }

    fn consume(&mut self, count: usize) {
        match self.up.rest() {
            b"" => self.inner.consume(count),
            _ => self.up.consume(count),
        }
    }

    fn trailers(&self) -> Option<&Trailers> {
        self.inner.trailers()
    }

    fn is_body_over(&self) -> bool {
        self.up.rest().is_empty() && self.inner.is_body_over()
    }

    fn goes_on(&self) -> bool {
        self.inner.goes_on()
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.inner.poll_gone(cx)
    }

    fn agrees(&self, passed: &Passed<'_>) -> bool {
        self.inner.agrees(passed)
    }

    fn interim(&mut self, answer: &Answer<'_>) {
        self.inner.interim(answer);
    }

    fn head(&mut self, answer: &Answer<'_>) {
        if self.stands_in(answer) {
            return self.replace(answer);
        }
        match &answer.passed {
            Some(passed) => self.pass(answer, passed),
            None => self.head_of(answer, None, answer.own),
        }
    }

    fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match (&self.instead, &mut self.down) {
            (Some(_), _) => Poll::Ready(Ok(data.len())),
            (None, Some(down)) => down.poll_data(cx, self.inner, data),
            (None, None) => self.inner.poll_data(cx, data),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.down {
            Some(down) => down.poll_flush(cx, self.inner),
            None => self.inner.poll_flush(cx),
        }
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, trailers: Option<&Trailers>) -> Poll<io::Result<()>> {
        if let Some(down) = &mut self.down {
            return down.poll_end(cx, self.inner, trailers);
        }
        let Some(instead) = &mut self.instead else { return self.inner.poll_end(cx, trailers) };
        while instead.sent < instead.text.len() {
            instead.sent += ready!(self.inner.poll_data(cx, &instead.text[instead.sent..]))?;
        }
        self.inner.poll_end(cx, None)
    }
}
