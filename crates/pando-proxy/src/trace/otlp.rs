//! Spans in the words of OTLP, as far as they are said here: messages of `opentelemetry.proto.collector.trace.v1` and what they hold,
//! with names from the semantic conventions of HTTP.

use std::time::Duration;

use pando_http::Version;
use prost::{Message, Oneof};

use super::span::{Event as Happened, Notes, Span as Recorded};
use crate::access_log::Outcome;

/// `ExportTraceServiceRequest`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Export {
    #[prost(message, repeated, tag = "1")]
    pub(super) resource_spans: Vec<ResourceSpans>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ResourceSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    pub(super) scope_spans: Vec<ScopeSpans>,
    #[prost(string, tag = "3")]
    pub(super) schema_url: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ScopeSpans {
    #[prost(message, optional, tag = "1")]
    pub(super) scope: Option<Scope>,
    #[prost(message, repeated, tag = "2")]
    pub(super) spans: Vec<Span>,
}

/// `InstrumentationScope`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Scope {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) version: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Span {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) trace_id: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) span_id: Vec<u8>,
    #[prost(string, tag = "3")]
    pub(super) trace_state: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) parent_span_id: Vec<u8>,
    #[prost(string, tag = "5")]
    pub(super) name: String,
    #[prost(int32, tag = "6")]
    pub(super) kind: i32,
    #[prost(fixed64, tag = "7")]
    pub(super) start_time_unix_nano: u64,
    #[prost(fixed64, tag = "8")]
    pub(super) end_time_unix_nano: u64,
    #[prost(message, repeated, tag = "9")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(message, repeated, tag = "11")]
    pub(super) events: Vec<Event>,
    #[prost(message, optional, tag = "15")]
    pub(super) status: Option<Status>,
    #[prost(fixed32, tag = "16")]
    pub(super) flags: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Event {
    #[prost(fixed64, tag = "1")]
    pub(super) time_unix_nano: u64,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "3")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Status {
    #[prost(int32, tag = "3")]
    pub(super) code: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AnyValue {
    #[prost(oneof = "Value", tags = "1, 3")]
    pub(super) value: Option<Value>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum Value {
    #[prost(string, tag = "1")]
    Text(String),
    #[prost(int64, tag = "3")]
    Number(i64),
}

/// `ExportTraceServiceResponse`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Answer {
    #[prost(message, optional, tag = "1")]
    pub(super) partial: Option<Partial>,
}

/// `ExportTracePartialSuccess`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Partial {
    #[prost(int64, tag = "1")]
    pub(super) rejected: i64,
    #[prost(string, tag = "2")]
    pub(super) message: String,
}

const KIND_SERVER: i32 = 2;
const STATUS_ERROR: i32 = 2;
/// It is known whether the parent is another process's; it is.
const PARENT_IS_REMOTE: u32 = 0x300;
/// Which edition of the names the attributes follow.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.37.0";

/// Turns moments into nanoseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Calendar {
    /// A moment in microseconds, and what the clock on the wall said then, in nanoseconds.
    pub(super) moment: u64,
    pub(super) unix_nanos: u64,
}

impl Calendar {
    fn nanos(self, moment: u64) -> u64 {
        let apart = self.moment.abs_diff(moment).saturating_mul(1000);
        if moment < self.moment {
            self.unix_nanos.saturating_sub(apart)
        } else {
            self.unix_nanos.saturating_add(apart)
        }
    }
}

/// A batch, as bytes of `ExportTraceServiceRequest`.
pub(super) fn encode(spans: &[Recorded], resource: &Resource, calendar: Calendar) -> Vec<u8> {
    let spans = spans.iter().map(|span| translate(span, calendar)).collect();
    let scope = Scope { name: "pando-proxy".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let resource_spans = vec![ResourceSpans {
        resource: Some(resource.clone()),
        scope_spans: vec![ScopeSpans { scope: Some(scope), spans }],
        schema_url: SCHEMA.to_owned(),
    }];
    Export { resource_spans }.encode_to_vec()
}

/// Who all these spans are of.
pub(super) fn resource(service: &str, instance: &str) -> Resource {
    let attributes = vec![
        text("service.name", service),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", instance),
    ];
    Resource { attributes }
}

fn translate(span: &Recorded, calendar: Calendar) -> Span {
    let start = calendar.nanos(span.began);
    let took = u64::try_from(span.took.as_nanos()).unwrap_or(u64::MAX);
    let parent = span.notes.parent.map(|parent| parent.0.to_vec());
    let remote = if parent.is_some() { PARENT_IS_REMOTE } else { 0x100 };
    let failed = span.status >= 500 || span.outcome == Outcome::Cut;
    Span {
        trace_id: span.notes.trace.0.to_vec(),
        span_id: span.notes.span.0.to_vec(),
        trace_state: span.notes.state.clone(),
        parent_span_id: parent.unwrap_or_default(),
        name: name(span),
        kind: KIND_SERVER,
        start_time_unix_nano: start,
        end_time_unix_nano: start.saturating_add(took),
        attributes: attributes(span),
        events: span.notes.events.iter().map(|(at, what)| event(calendar.nanos(*at), *what)).collect(),
        status: failed.then_some(Status { code: STATUS_ERROR }),
        flags: 1 | remote,
    }
}

fn name(span: &Recorded) -> String {
    let method = known(&span.notes.method).unwrap_or("HTTP");
    match &span.route {
        Some((_, path)) => format!("{method} {path}"),
        None => method.to_owned(),
    }
}

/// Methods that are told by name: clients could make any number of others up.
fn known(method: &str) -> Option<&str> {
    const KNOWN: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
    KNOWN.contains(&method).then_some(method)
}

fn attributes(span: &Recorded) -> Vec<KeyValue> {
    let mut all = asked(&span.notes);
    if span.status > 0 {
        all.push(number("http.response.status_code", u64::from(span.status)));
        all.push(number("http.response.body.size", span.bytes));
    }
    if let Some((label, path)) = &span.route {
        all.extend([text("http.route", path), text("pando.route", label)]);
    }
    let outcome = match span.outcome {
        Outcome::Whole => "whole",
        Outcome::Cut => "cut",
        Outcome::Cancelled => "cancelled",
    };
    match span.outcome {
        Outcome::Cut => all.push(text("error.type", outcome)),
        _ if span.status >= 500 => all.push(text("error.type", &span.status.to_string())),
        _ => {}
    }
    all.extend(span.pool.as_deref().map(|pool| text("pando.pool", pool)));
    all.extend(span.endpoint.map(|endpoint| text("pando.endpoint", &endpoint.to_string())));
    all.extend([text("pando.outcome", outcome), number("pando.retries", u64::from(span.retries))]);
    all
}

fn asked(notes: &Notes) -> Vec<KeyValue> {
    let version = match notes.version {
        Version::Http10 => "1.0",
        Version::Http11 => "1.1",
        Version::Http2 => "2",
    };
    let mut all = vec![
        text("http.request.method", known(&notes.method).unwrap_or("_OTHER")),
        text("url.scheme", if notes.secure { "https" } else { "http" }),
        text("url.path", &notes.path),
        text("client.address", &notes.client.to_string()),
        text("network.protocol.name", "http"),
        text("network.protocol.version", version),
    ];
    if known(&notes.method).is_none() {
        all.push(text("http.request.method_original", &notes.method));
    }
    all.extend(notes.query.as_deref().map(|query| text("url.query", query)));
    all.extend(notes.user_agent.as_deref().map(|agent| text("user_agent.original", agent)));
    if !notes.host.is_empty() {
        let (host, port) = match notes.host.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().ok()),
            None => (&*notes.host, None),
        };
        // An address of IPv6 has colons of its own.
        let host = if port.is_some() { host } else { &*notes.host };
        all.push(text("server.address", host));
        all.extend(port.map(|port: u16| number("server.port", u64::from(port))));
    }
    all
}

fn event(time_unix_nano: u64, what: Happened) -> Event {
    let (name, attributes) = match what {
        Happened::Asked(endpoint) => ("pando.asked", vec![text("pando.endpoint", &endpoint.to_string())]),
        Happened::Retried => ("pando.retried", Vec::new()),
        Happened::Answered => ("pando.answered", Vec::new()),
    };
    Event { time_unix_nano, name: name.to_owned(), attributes }
}

fn text(key: &str, value: &str) -> KeyValue {
    attribute(key, Value::Text(value.to_owned()))
}

fn number(key: &str, value: u64) -> KeyValue {
    attribute(key, Value::Number(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }) }
}

/// How many of a batch a receiver says that it refused, and why. What can't be read says nothing.
pub(super) fn refused(answer: &[u8]) -> (usize, String) {
    let partial = Answer::decode(answer).ok().and_then(|answer| answer.partial).unwrap_or_default();
    (usize::try_from(partial.rejected).unwrap_or(0), partial.message)
}

/// The clock on the wall.
pub(super) fn since_1970() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    u64::try_from(since.unwrap_or(Duration::ZERO).as_nanos()).unwrap_or(u64::MAX)
}
