//! What a template may name.

use std::io::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pando_http::{Known, write::number};

use super::super::line::{Asked, Ended, Outcome, quoted, time, version};

/// Known when the request was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Early {
    RemoteAddr,
    RemoteUser,
    TimeLocal,
    TimeIso8601,
    Msec,
    Request,
    RequestMethod,
    RequestUri,
    Uri,
    Args,
    ServerProtocol,
    Scheme,
    Host,
    RequestId,
    /// A field of the request, its name in small letters with `_` for `-`.
    Http(Box<str>),
}

/// Known when it is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Late {
    Status,
    BodyBytesSent,
    RequestTime,
    UpstreamAddr,
    Pool,
    Route,
    Retries,
    Outcome,
    TraceId,
    SpanId,
}

const EARLY: [(&str, Early); 15] = [
    ("remote_addr", Early::RemoteAddr),
    ("remote_user", Early::RemoteUser),
    ("time_local", Early::TimeLocal),
    ("time_iso8601", Early::TimeIso8601),
    ("msec", Early::Msec),
    ("request", Early::Request),
    ("request_method", Early::RequestMethod),
    ("request_uri", Early::RequestUri),
    ("uri", Early::Uri),
    ("args", Early::Args),
    ("query_string", Early::Args),
    ("server_protocol", Early::ServerProtocol),
    ("scheme", Early::Scheme),
    ("host", Early::Host),
    ("request_id", Early::RequestId),
];

const LATE: [(&str, Late); 10] = [
    ("status", Late::Status),
    ("body_bytes_sent", Late::BodyBytesSent),
    ("request_time", Late::RequestTime),
    ("upstream_addr", Late::UpstreamAddr),
    ("pool", Late::Pool),
    ("route", Late::Route),
    ("retries", Late::Retries),
    ("outcome", Late::Outcome),
    ("trace_id", Late::TraceId),
    ("span_id", Late::SpanId),
];

/// Fields that people name often, for suggestions.
const FIELDS: [&str; 4] = ["http_user_agent", "http_referer", "http_host", "http_accept"];

/// The known name that was meant, probably.
pub(super) fn nearest(name: &str) -> Option<String> {
    let names = EARLY.iter().map(|(name, _)| *name).chain(LATE.iter().map(|(name, _)| *name)).chain(FIELDS);
    super::likest(name, names)
}

impl Early {
    pub(super) fn named(name: &str) -> Option<Self> {
        if let Some(field) = name.strip_prefix("http_").filter(|field| !field.is_empty()) {
            return Some(Self::Http(field.to_ascii_lowercase().into()));
        }
        EARLY.iter().find(|(known, _)| *known == name).map(|(_, variable)| variable.clone())
    }

    pub(super) fn write(&self, asked: &Asked<'_>, out: &mut Vec<u8>) {
        let (head, bytes) = (&asked.paper.head, asked.paper.bytes.bytes());
        match self {
            Self::RemoteAddr => out.extend_from_slice(asked.client.ip.bytes()),
            Self::RemoteUser => value(user(asked).as_deref().unwrap_or_default(), out),
            Self::TimeLocal => time::apache(asked.at_millis, out),
            Self::TimeIso8601 => time::rfc3339(asked.at_millis, out),
            Self::Msec => {
                let (seconds, millis) = (asked.at_millis.div_euclid(1000), asked.at_millis.rem_euclid(1000));
                // Writing to memory doesn't fail.
                let _ = write!(out, "{seconds}.{millis:03}");
            }
            Self::Request => {
                quoted(head.method_text.bytes(bytes), out);
                out.push(b' ');
                quoted(head.target.bytes(bytes), out);
                out.push(b' ');
                out.extend_from_slice(version(head.version).as_bytes());
            }
            Self::RequestMethod => value(head.method_text.bytes(bytes), out),
            Self::RequestUri => value(head.target.bytes(bytes), out),
            Self::Uri => value(asked.paper.path(), out),
            Self::Args => {
                let query = head.origin.bytes(bytes).splitn(2, |byte| *byte == b'?').nth(1);
                value(query.unwrap_or_default(), out);
            }
            Self::ServerProtocol => out.extend_from_slice(version(head.version).as_bytes()),
            Self::Scheme => out.extend_from_slice(if asked.client.secure { b"https" } else { b"http" }),
            Self::Host => value(head.host.bytes(bytes), out),
            Self::RequestId => value(asked.id.text(bytes), out),
            Self::Http(name) => value(field(asked, name).unwrap_or_default(), out),
        }
    }
}

/// The first of that name.
fn field<'a>(asked: &Asked<'a>, name: &str) -> Option<&'a [u8]> {
    let bytes = asked.paper.bytes.bytes();
    let plain = |byte: &u8| if *byte == b'-' { b'_' } else { byte.to_ascii_lowercase() };
    let is_it = |found: &[u8]| found.len() == name.len() && found.iter().map(plain).eq(name.bytes());
    let found = asked.paper.head.fields.iter().find(|field| is_it(field.name.bytes(bytes)))?;
    Some(found.value.bytes(bytes))
}

/// Who the client says that it is, by basic authentication; checked or not.
fn user(asked: &Asked<'_>) -> Option<Vec<u8>> {
    let value = asked.paper.head.fields.first(Known::Authorization)?.value.bytes(asked.paper.bytes.bytes());
    let (scheme, coded) = value.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let mut user = STANDARD.decode(coded.trim_ascii()).ok()?;
    // Without a password it is nobody.
    let end = user.iter().position(|byte| *byte == b':')?;
    user.truncate(end);
    Some(user)
}

fn value(value: &[u8], out: &mut Vec<u8>) {
    match value {
        b"" => out.push(b'-'),
        value => quoted(value, out),
    }
}

impl Late {
    pub(super) fn named(name: &str) -> Option<Self> {
        LATE.iter().find(|(known, _)| *known == name).map(|(_, variable)| *variable)
    }

    pub(super) fn write(self, ended: &Ended<'_>, out: &mut Vec<u8>) {
        let text = |text: Option<&str>, out: &mut Vec<u8>| value(text.unwrap_or_default().as_bytes(), out);
        // Writing to memory doesn't fail.
        let _ = match self {
            Self::Status => {
                return number(out, u64::from(if ended.status == 0 { 499 } else { ended.status }));
            }
            Self::BodyBytesSent => return number(out, ended.bytes),
            Self::Retries => return number(out, u64::from(ended.retries)),
            Self::Pool => return text(ended.pool, out),
            Self::Route => return text(ended.route, out),
            Self::Outcome => return out.extend_from_slice(outcome(ended.outcome).as_bytes()),
            Self::RequestTime => {
                let millis = ended.took.as_millis();
                write!(out, "{}.{:03}", millis / 1000, millis % 1000)
            }
            Self::UpstreamAddr => match ended.endpoint {
                Some(endpoint) => write!(out, "{endpoint}"),
                None => return out.push(b'-'),
            },
            Self::TraceId => match ended.trace {
                Some(trace) => write!(out, "{}", trace.id.hex()),
                None => return out.push(b'-'),
            },
            Self::SpanId => match ended.trace {
                Some(trace) => write!(out, "{}", trace.span.hex()),
                None => return out.push(b'-'),
            },
        };
    }
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Whole => "whole",
        Outcome::Cut => "cut",
        Outcome::Cancelled => "cancelled",
    }
}

/// Every name, as the reference lists them.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    EARLY.iter().map(|(name, _)| *name).chain(LATE.iter().map(|(name, _)| *name))
}
