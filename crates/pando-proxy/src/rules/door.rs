//! The client's side of a request that a rule is for: its body on the way up, the answer on its way down, both as the rule
//! would have them.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pando_http::{ResponseHead, Trailers};

use super::cors;
use super::route::Route;
use crate::forward::{ID_HEADER, Wants, stand_in};
use crate::front::{Answer, AnswerBody, BodyError, Front, Passed};

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
        Self { inner, route, fields: Vec::new(), wants, id, instead: None }
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
        self.inner.poll_body(cx)
    }

    fn body(&self) -> &[u8] {
        self.inner.body()
    }

    fn consume(&mut self, count: usize) {
        self.inner.consume(count);
    }

    fn trailers(&self) -> Option<&Trailers> {
        self.inner.trailers()
    }

    fn is_body_over(&self) -> bool {
        self.inner.is_body_over()
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
        let Some(passed) = &answer.passed else { return self.head_of(answer, None, answer.own) };
        let mut head: ResponseHead = passed.head.clone();
        head.fields.drop_if(|field| self.takes(field.name.bytes(passed.bytes)));
        self.head_of(answer, Some(Passed { head: &head, ..*passed }), answer.own);
    }

    fn poll_data(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        match &self.instead {
            Some(_) => Poll::Ready(Ok(data.len())),
            None => self.inner.poll_data(cx, data),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner.poll_flush(cx)
    }

    fn poll_end(&mut self, cx: &mut Context<'_>, trailers: Option<&Trailers>) -> Poll<io::Result<()>> {
        let Some(instead) = &mut self.instead else { return self.inner.poll_end(cx, trailers) };
        while instead.sent < instead.text.len() {
            instead.sent += ready!(self.inner.poll_data(cx, &instead.text[instead.sent..]))?;
        }
        self.inner.poll_end(cx, None)
    }
}
