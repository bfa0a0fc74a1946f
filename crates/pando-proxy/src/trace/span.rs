//! A recorded request: what is known when it was read, what happened to it, how it ended.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use pando_http::{Known, Span as Place, Version};

use super::{SpanId, Trace, TraceId};
use crate::access_log::{Ended, Outcome};
use crate::asked::Paper;
use crate::client::Client;
use crate::rules::RouteLive;

/// What a client sends is recorded up to here.
const LONGEST: usize = 2 << 10;

/// A request is not tried more often than this.
const MOST_EVENTS: usize = 32;

/// What is written down while a request is under way.
#[derive(Debug)]
pub(crate) struct Notes {
    pub(super) trace: TraceId,
    pub(super) span: SpanId,
    pub(super) parent: Option<SpanId>,
    pub(super) method: String,
    pub(super) version: Version,
    pub(super) secure: bool,
    pub(super) client: IpAddr,
    pub(super) host: String,
    pub(super) path: String,
    /// Without what opens doors.
    pub(super) query: Option<String>,
    pub(super) user_agent: Option<String>,
    /// The list of other tracing systems, as it goes up.
    pub(super) state: String,
    /// Each at its moment.
    pub(super) events: Vec<(u64, Event)>,
}

/// What happens to a request on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// It is asked of that endpoint.
    Asked(SocketAddr),
    /// Not the first time.
    Retried,
    /// The head of an answer is there.
    Answered,
}

/// A request that is over. Moments are those of `balance::moment`.
#[derive(Debug)]
pub(crate) struct Span {
    pub(super) notes: Box<Notes>,
    pub(super) began: u64,
    pub(super) took: Duration,
    /// 0: the client gave up before there was an answer.
    pub(super) status: u16,
    pub(super) bytes: u64,
    pub(super) pool: Option<String>,
    pub(super) endpoint: Option<SocketAddr>,
    /// The label of its rule, and the path that the rule is for.
    pub(super) route: Option<(String, String)>,
    pub(super) retries: u32,
    pub(super) outcome: Outcome,
}

impl Notes {
    pub(super) fn of(trace: &Trace, paper: &Paper, client: &Client) -> Box<Self> {
        let (head, bytes) = (&paper.head, paper.bytes.bytes());
        let text = |place: Place| bounded(place.bytes(bytes));
        let origin = text(head.origin);
        let (path, query) = match origin.split_once('?') {
            Some((path, query)) => (path.to_owned(), Some(redacted(query))),
            None => (origin, None),
        };
        let [_, (_, state)] = paper.trace.each();
        let state = state.strip_prefix(b"tracestate: ").unwrap_or_default().trim_ascii_end();
        Box::new(Self {
            trace: trace.id,
            span: trace.span,
            parent: trace.parent,
            method: text(head.method_text),
            version: head.version,
            secure: client.secure,
            client: client.address,
            host: text(head.host),
            path: if path.is_empty() { "/".to_owned() } else { path },
            query,
            user_agent: head.fields.first(Known::UserAgent).map(|field| text(field.value)),
            state: String::from_utf8_lossy(state).into_owned(),
            events: Vec::new(),
        })
    }

    pub(super) fn add(&mut self, at: u64, event: Event) {
        if self.events.len() < MOST_EVENTS {
            self.events.push((at, event));
        }
    }
}

impl Span {
    pub(super) fn of(notes: Box<Notes>, ended: &Ended<'_>, began: u64, route: Option<&RouteLive>) -> Self {
        Self {
            notes,
            began,
            took: ended.took,
            status: ended.status,
            bytes: ended.bytes,
            pool: ended.pool.map(str::to_owned),
            endpoint: ended.endpoint,
            route: route.map(|route| (route.label.to_string(), route.path().to_string())),
            retries: ended.retries,
            outcome: ended.outcome,
        }
    }
}

fn bounded(text: &[u8]) -> String {
    String::from_utf8_lossy(&text[..text.len().min(LONGEST)]).into_owned()
}

/// Parameters that grant access by themselves, as the conventions of OpenTelemetry name them, and their like.
const SECRET: [&str; 9] = [
    "awsaccesskeyid",
    "signature",
    "sig",
    "x-goog-signature",
    "x-amz-signature",
    "x-amz-security-token",
    "access_token",
    "token",
    "password",
];

fn redacted(query: &str) -> String {
    let part = |part: &str| match part.split_once('=') {
        Some((name, _)) if SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret)) => {
            format!("{name}=REDACTED")
        }
        _ => part.to_owned(),
    };
    query.split('&').map(part).collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_doors_is_not_recorded() {
        assert_eq!(
            redacted("a=1&Sig=abc&b&X-Amz-Signature=x=y&token"),
            "a=1&Sig=REDACTED&b&X-Amz-Signature=REDACTED&token"
        );
        assert_eq!(redacted(""), "");
    }

    #[test]
    fn long_values_are_cut() {
        assert_eq!(bounded(&vec![b'a'; LONGEST + 1]).len(), LONGEST);
    }
}
