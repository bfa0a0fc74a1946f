//! Requests of the proxy's own to a pool, sent as those of clients are: balanced, tried again, counted.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pando_http::{Limits, MOST_FIELDS, Trailers};

use super::change::Change;
use crate::asked::Asked;
use crate::balance::moment;
use crate::client::Client;
use crate::forward::{self, Id, Routed, Tally};
use crate::front::{Answer, BodyError, Front, Passed};
use crate::inbox::Inbox;
use crate::plane::Plane;
use crate::snapshot::PoolView;
use crate::upstream::drop_claims;

/// One of them.
pub(super) struct Question<'a> {
    pub(super) pool: Arc<PoolView>,
    /// A whole head of HTTP/1.1.
    pub(super) head: Vec<u8>,
    pub(super) body: Vec<u8>,
    /// Bytes of an answer that are kept; a longer one is no answer. `None`: it is thrown away, however long.
    pub(super) most: Option<usize>,
    pub(super) patience: Duration,
    pub(super) client: &'a Client,
    /// The head says all that the proxy says.
    pub(super) complete: bool,
}

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Answered {
    pub(super) status: u16,
    /// Without those that are for one connection, and without the length.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

/// `None`: no whole answer in time.
pub(super) async fn ask(question: Question<'_>, plane: &Arc<Plane>) -> Option<Answered> {
    let Question { pool, head, body, most, patience, client, complete } = question;
    let mut asked = Asked::blank();
    asked.bytes = Inbox::holding(&head);
    let limits = Limits { head_bytes: usize::MAX, target_bytes: usize::MAX, fields: MOST_FIELDS };
    let paper = &mut *asked;
    paper.head.read(paper.bytes.bytes(), &limits).ok()?;
    paper.spell_path();
    let at_millis = moment::unix_millis(moment::now(), &plane.clock);
    let id = Id::of(&paper.head, paper.bytes.bytes(), at_millis);
    if !complete {
        drop_claims(paper);
    }
    let mut front = Asker { body, read: 0, most, answer: Answered::default() };
    let routed = Routed { pool, strip: 0, route: None, change: Some(Arc::new(Change::of_ours(complete))) };
    let carrying = forward::carry(&mut front, &mut asked, routed, client, &id, plane, Tally::quiet(plane));
    match tokio::time::timeout(patience, carrying).await {
        Ok(Ok(forward::End::Next)) => Some(front.answer),
        _ => None,
    }
}

/// Who asks, as a client.
#[derive(Debug)]
struct Asker {
    body: Vec<u8>,
    read: usize,
    most: Option<usize>,
    answer: Answered,
}

impl Front for Asker {
    fn poll_body(&mut self, _: &mut Context<'_>) -> Poll<Result<usize, BodyError>> {
        Poll::Ready(Ok(self.body.len() - self.read))
    }

    fn body(&self) -> &[u8] {
        &self.body[self.read..]
    }

    fn consume(&mut self, count: usize) {
        self.read += count;
    }

    fn trailers(&self) -> Option<&Trailers> {
        None
    }

    fn is_body_over(&self) -> bool {
        self.read == self.body.len()
    }

    fn goes_on(&self) -> bool {
        true
    }

    fn poll_gone(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// It asked for no upgrade.
    fn agrees(&self, passed: &Passed<'_>) -> bool {
        passed.head.status != 101
    }

    fn interim(&mut self, _: &Answer<'_>) {}

    fn head(&mut self, answer: &Answer<'_>) {
        self.answer.status = answer.status;
        let Some(passed) = answer.passed else { return };
        let kept = passed.head.fields.iter().filter(|field| {
            !field.dropped
                && !matches!(field.known, pando_http::Known::ContentLength | pando_http::Known::Date)
        });
        let text = |span: pando_http::Span| span.bytes(passed.bytes).to_vec();
        self.answer.fields = kept.map(|field| (text(field.name), text(field.value))).collect();
    }

    fn poll_data(&mut self, _: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        if let Some(most) = self.most {
            if self.answer.body.len() + data.len() > most {
                return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
            }
            self.answer.body.extend_from_slice(data);
        }
        Poll::Ready(Ok(data.len()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_end(&mut self, _: &mut Context<'_>, _: Option<&Trailers>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
