//! A request that was read, with room for what it takes to answer it.
//!
//! One of these is as good as a few kilobytes; the thread keeps some for its next requests.

use std::cell::RefCell;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use pando_http::{RequestHead, ResponseHead, Span, path};

use crate::inbox::Inbox;
use crate::time::Alarm;
use crate::trace::Lines;
use crate::upstream::Reader;

/// So many are kept by each thread.
const KEPT: usize = 64;

/// A head that grew beyond this is not kept.
const LARGEST: usize = 16 << 10;

thread_local! {
    #[allow(clippy::vec_box, reason = "they travel by their boxes")]
    static FREE: RefCell<Vec<Box<Paper>>> = const { RefCell::new(Vec::new()) };
}

/// The parts of an [`Asked`].
#[derive(Debug, Default)]
pub(crate) struct Paper {
    pub(crate) head: RequestHead,
    /// What `head` was read from.
    pub(crate) bytes: Inbox,
    /// The path in its normal spelling; empty if the request spells it so.
    pub(crate) normal_path: Vec<u8>,
    pub(crate) response: ResponseHead,
    /// Values of `Cookie` fields that go up without one cookie, which is named.
    pub(crate) cookies: Cookies,
    /// What goes up of the trace that it belongs to; empty where nothing is traced.
    pub(crate) trace: Lines,
    /// What it is told of the client's certificate, in lines.
    pub(crate) shown: Option<Arc<[u8]>>,
    /// The request as the endpoint gets it.
    pub(crate) upstream: Vec<u8>,
    /// For whatever is waited for while the request is answered. It stays armed from one request to the next.
    pub(crate) alarm: Alarm,
}

impl Paper {
    /// To be called once the head was read.
    pub(crate) fn spell_path(&mut self) {
        self.normal_path.clear();
        path::normal(self.head.path.bytes(self.bytes.bytes()), &mut self.normal_path);
    }

    /// What an answer is waited for with, and read to.
    pub(crate) fn ears(&mut self) -> (&mut Alarm, Reader<'_>) {
        (&mut self.alarm, Reader { head: &mut self.response, method: self.head.method })
    }

    /// What rules are matched with.
    pub(crate) fn path(&self) -> &[u8] {
        match (self.normal_path.is_empty(), self.head.path.is_empty()) {
            (false, _) => &self.normal_path,
            (true, false) => self.head.path.bytes(self.bytes.bytes()),
            (true, true) => b"/",
        }
    }
}

/// Fields that have the proxy's own cookie in them.
#[derive(Debug, Default)]
pub(crate) struct Cookies {
    pub(crate) own: Option<Arc<str>>,
    pub(crate) values: Vec<Span>,
}

/// A request's head, and paper to work on.
#[derive(Debug)]
pub(crate) struct Asked(Option<Box<Paper>>);

impl Asked {
    pub(crate) fn blank() -> Self {
        let free = FREE.try_with(|free| free.borrow_mut().pop()).ok().flatten();
        Self(Some(free.unwrap_or_default()))
    }
}

impl Deref for Asked {
    type Target = Paper;

    #[allow(clippy::expect_used, reason = "it is taken by dropping alone")]
    fn deref(&self) -> &Paper {
        self.0.as_deref().expect("it is there until it is dropped")
    }
}

impl DerefMut for Asked {
    #[allow(clippy::expect_used, reason = "it is taken by dropping alone")]
    fn deref_mut(&mut self) -> &mut Paper {
        self.0.as_deref_mut().expect("it is there until it is dropped")
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let Some(mut paper) = self.0.take() else { return };
        paper.bytes = Inbox::default();
        paper.upstream.clear();
        paper.cookies.own = None;
        paper.trace.clear();
        paper.shown = None;
        if paper.upstream.capacity() > LARGEST {
            return;
        }
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT {
                free.push(paper);
            }
        });
    }
}
