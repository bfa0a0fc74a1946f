//! Distributed traces: which one a request belongs to, and what the next in line is told of it.
//!
//! By the W3C's Trace Context. What a client says of a trace is believed if it is well-formed, and replaced if it isn't; the proxy's
//! own part is a span, the parent of whatever the replica does. Without it both fields pass through as any other.

mod export;
mod ids;
mod otlp;
mod parent;
mod patience;
mod post;
mod queue;
mod span;
mod state;

use std::io::Write;
use std::sync::Arc;

use pando_http::Known;

use crate::access_log::Ended;
use crate::asked::Paper;
use crate::client::Client;
use crate::error::ProxyError;
use crate::rules::RouteLive;
use crate::settings::Tracing as Settings;
pub(crate) use export::Exporter;
pub(crate) use ids::{SpanId, TraceId};
use parent::Parent;
use queue::Queue;
pub(crate) use queue::{Counts, Loss};
pub(crate) use span::Event;
pub(crate) use span::Notes;
use span::Span;

/// The names of the two fields.
pub(crate) const PARENT: &str = "traceparent";
pub(crate) const STATE: &str = "tracestate";

/// How requests are traced.
#[derive(Debug)]
pub(crate) struct Tracing {
    /// Of 2⁶³ trace ids, so many are recorded where nobody before has decided.
    threshold: u64,
    /// Where spans go, if they go anywhere.
    queue: Option<Arc<Queue>>,
}

/// The part that one request has in a trace.
#[derive(Debug)]
pub(crate) struct Trace {
    pub(crate) id: TraceId,
    /// Our own.
    pub(crate) span: SpanId,
    /// Whose doing the request is, if somebody before us has said so.
    pub(crate) parent: Option<SpanId>,
    /// If it is recorded here.
    pub(crate) notes: Option<Box<Notes>>,
}

impl Trace {
    /// Writes down what happens, where that is recorded.
    pub(crate) fn note(&mut self, at: u64, event: Event) {
        if let Some(notes) = &mut self.notes {
            notes.add(at, event);
        }
    }
}

/// What a request says on its way up, in place of what its client said.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// Whole field lines.
    text: Vec<u8>,
    /// Where that of the parent ends.
    parent: usize,
}

impl Lines {
    pub(crate) fn clear(&mut self) {
        self.text.clear();
        self.parent = 0;
    }

    /// Both lines, or none.
    pub(crate) fn all(&self) -> &[u8] {
        &self.text
    }

    /// Each line by the name of its field.
    pub(crate) fn each(&self) -> [(&'static str, &[u8]); 2] {
        let (parent, state) = self.text.split_at(self.parent);
        [(PARENT, parent), (STATE, state)]
    }
}

impl Tracing {
    /// With what brings spans to their receiver, if there is one. `instance` tells this proxy from others of its service.
    ///
    /// # Errors
    /// The receiver's address is none, or there is nobody to trust for TLS.
    pub(crate) fn new(settings: &Settings, instance: &str) -> Result<(Self, Option<Exporter>), ProxyError> {
        let threshold = threshold(settings.ratio);
        let Some(otlp) = &settings.otlp else { return Ok((Self { threshold, queue: None }, None)) };
        let queue = Arc::new(Queue::new(otlp.queue, otlp.batch));
        let exporter = Exporter::new(otlp, Arc::clone(&queue), instance)?;
        Ok((Self { threshold, queue: Some(queue) }, Some(exporter)))
    }

    /// What became of spans; `None`: they go nowhere.
    pub(crate) fn counts(&self) -> Option<&Counts> {
        self.queue.as_deref().map(|queue| &queue.counts)
    }

    /// A recorded request is over. `route` is its rule.
    pub(crate) fn end(&self, notes: Box<Notes>, ended: &Ended<'_>, began: u64, route: Option<&RouteLive>) {
        if let Some(queue) = &self.queue {
            queue.push(Span::of(notes, ended, began, route));
        }
    }

    /// The request's trace: the client's, or a new one. Its lines are written into the paper, the client's own stay behind.
    pub(crate) fn begin(&self, paper: &mut Paper, client: &Client) -> Box<Trace> {
        let Paper { head, bytes, trace: lines, .. } = paper;
        let bytes = bytes.bytes();
        let parent = head.fields.only(Known::Traceparent);
        let parent = parent.and_then(|field| Parent::read(field.value.bytes(bytes)));
        let (id, sampled) = match &parent {
            Some(parent) => (parent.trace, parent.sampled),
            None => {
                let id = ids::trace();
                (id, id.chance() < self.threshold)
            }
        };
        let (span, parent) = (ids::span(), parent.map(|parent| parent.span));
        let mut trace = Box::new(Trace { id, span, parent, notes: None });
        lines.clear();
        // Writing to memory doesn't fail.
        let flags = u8::from(sampled);
        let _ = write!(lines.text, "{PARENT}: 00-{}-{}-{flags:02x}\r\n", trace.id.hex(), trace.span.hex());
        lines.parent = lines.text.len();
        let is_state = |name: &[u8]| name.eq_ignore_ascii_case(STATE.as_bytes());
        let states = head.fields.iter().filter(|field| is_state(field.name.bytes(bytes)));
        // A state without a parent says nothing.
        if trace.parent.is_some() {
            state::write(states.map(|field| field.value.bytes(bytes)), &mut lines.text);
        }
        head.fields.drop_if(|field| field.known == Known::Traceparent || is_state(field.name.bytes(bytes)));
        if sampled && self.queue.is_some() {
            trace.notes = Some(Notes::of(&trace, paper, client));
        }
        trace
    }
}

/// A ratio of 0 to 1 in parts of 2⁶³.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "of 0 to 2⁶³")]
fn threshold(ratio: f64) -> u64 {
    (ratio.clamp(0.0, 1.0) * 2f64.powi(63)) as u64
}

#[cfg(test)]
mod tests;
