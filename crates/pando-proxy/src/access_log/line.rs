//! How a request looks as a line.

use std::cell::RefCell;
use std::io::Write;
use std::net::SocketAddr;
use std::time::Duration;

use pando_http::{Known, Span, Version, write::number};

use super::LogHandle;
use crate::asked::Paper;
use crate::client::Client;
use crate::forward::Id;
use crate::settings::LogFormat;
use crate::trace::Trace;

pub(super) mod time;

/// A value in the log is at most this long: what clients send is theirs to choose.
const LONGEST_VALUE: usize = 8 << 10;

/// Texts that a thread keeps for its next lines.
const KEPT: usize = 64;

thread_local! {
    static FREE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// What is known of a request when it was read, as it will stand in the line.
#[derive(Debug)]
pub(crate) struct Begun {
    text: Vec<u8>,
    /// Where the rest of the line comes in.
    gap: usize,
}

/// A request that was read, for those who write of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) paper: &'a Paper,
    pub(super) client: &'a Client,
    pub(super) id: &'a Id,
    pub(super) at_millis: i64,
}

/// What is known when it is over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ended<'a> {
    /// 0: the client gave up before there was an answer.
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) took: Duration,
    pub(crate) pool: Option<&'a str>,
    pub(crate) endpoint: Option<SocketAddr>,
    /// The label of the rule, where it did something.
    pub(crate) route: Option<&'a str>,
    pub(crate) retries: u32,
    pub(crate) outcome: Outcome,
    pub(crate) trace: Option<&'a Trace>,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Whole,
    /// The endpoint broke off in the middle of the answer.
    Cut,
    /// The client gave up.
    Cancelled,
}

impl Begun {
    pub(crate) fn new(log: &LogHandle, paper: &Paper, client: &Client, id: &Id, at_millis: i64) -> Self {
        let mut text = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
        let gap = match &log.format {
            LogFormat::Json => begin_json(&mut text, paper, client, id, at_millis),
            LogFormat::Combined => begin_combined(&mut text, paper, client, at_millis),
            LogFormat::Template(template) => {
                template.begin(&Asked { paper, client, id, at_millis }, &mut text);
                0
            }
        };
        Self { text, gap }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        text.clear();
        let _ = FREE.try_with(|free| {
            let mut free = free.borrow_mut();
            if free.len() < KEPT && text.capacity() <= LONGEST_VALUE {
                free.push(text);
            }
        });
    }
}

/// Appends the whole line, with its end.
pub(super) fn whole(format: &LogFormat, begun: &Begun, ended: &Ended<'_>, out: &mut Vec<u8>) {
    let (before, after) = begun.text.split_at(begun.gap);
    out.extend_from_slice(before);
    match format {
        LogFormat::Json => end_json(ended, out),
        LogFormat::Combined => {
            number(out, u64::from(if ended.status == 0 { 499 } else { ended.status }));
            out.push(b' ');
            number(out, ended.bytes);
        }
        LogFormat::Template(template) => {
            template.end(after, ended, out);
            return out.push(b'\n');
        }
    }
    out.extend_from_slice(after);
    out.push(b'\n');
}

fn begin_json(out: &mut Vec<u8>, asked: &Paper, client: &Client, id: &Id, at_millis: i64) -> usize {
    let (head, bytes) = (&asked.head, asked.bytes.bytes());
    out.extend_from_slice(b"{\"time\":\"");
    time::rfc3339(at_millis, out);
    out.extend_from_slice(b"\",\"client\":\"");
    out.extend_from_slice(client.ip.bytes());
    out.push(b'"');
    let mut value = |name: &str, value: &[u8]| {
        out.extend_from_slice(b",\"");
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"\":");
        json_text(value, out);
    };
    value("method", head.method_text.bytes(bytes));
    value("host", head.host.bytes(bytes));
    value("target", head.target.bytes(bytes));
    value("version", version(head.version).as_bytes());
    value("request_id", id.text(bytes));
    value("user_agent", field(asked, Known::UserAgent));
    value("referer", field(asked, Known::Referer));
    out.len()
}

fn end_json(ended: &Ended<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"status\":");
    number(out, u64::from(ended.status));
    out.extend_from_slice(b",\"bytes\":");
    number(out, ended.bytes);
    let micros = u64::try_from(ended.took.as_micros()).unwrap_or(u64::MAX);
    out.extend_from_slice(b",\"duration_ms\":");
    number(out, micros / 1000);
    out.push(b'.');
    time::three_digits(micros % 1000, out);
    if let Some(pool) = ended.pool {
        out.extend_from_slice(b",\"pool\":");
        json_text(pool.as_bytes(), out);
    }
    if let Some(endpoint) = ended.endpoint {
        out.extend_from_slice(b",\"endpoint\":\"");
        address(endpoint, out);
        out.push(b'"');
    }
    if let Some(route) = ended.route {
        out.extend_from_slice(b",\"route\":");
        json_text(route.as_bytes(), out);
    }
    if let Some(Trace { id, span, .. }) = ended.trace {
        // Writing to memory doesn't fail.
        let _ = write!(out, ",\"trace_id\":\"{}\",\"span_id\":\"{}\"", id.hex(), span.hex());
    }
    let outcome = match ended.outcome {
        Outcome::Whole => "whole",
        Outcome::Cut => "cut",
        Outcome::Cancelled => "cancelled",
    };
    out.extend_from_slice(b",\"retries\":");
    number(out, u64::from(ended.retries));
    out.extend_from_slice(b",\"outcome\":\"");
    out.extend_from_slice(outcome.as_bytes());
    out.extend_from_slice(b"\"}");
}

/// The usual kind without the formatting machinery, which costs as much as the rest of the line.
fn address(address: SocketAddr, out: &mut Vec<u8>) {
    let SocketAddr::V4(v4) = address else {
        let _ = write!(out, "{address}");
        return;
    };
    for (n, part) in v4.ip().octets().into_iter().enumerate() {
        if n > 0 {
            out.push(b'.');
        }
        number(out, u64::from(part));
    }
    out.push(b':');
    number(out, u64::from(v4.port()));
}

fn begin_combined(out: &mut Vec<u8>, asked: &Paper, client: &Client, at_millis: i64) -> usize {
    let (head, bytes) = (&asked.head, asked.bytes.bytes());
    out.extend_from_slice(client.ip.bytes());
    out.extend_from_slice(b" - - [");
    time::apache(at_millis, out);
    out.extend_from_slice(b"] \"");
    quoted(head.method_text.bytes(bytes), out);
    out.push(b' ');
    quoted(head.target.bytes(bytes), out);
    out.push(b' ');
    out.extend_from_slice(version(head.version).as_bytes());
    out.extend_from_slice(b"\" ");
    let gap = out.len();
    for known in [Known::Referer, Known::UserAgent] {
        out.extend_from_slice(b" \"");
        match field(asked, known) {
            b"" => out.push(b'-'),
            value => quoted(value, out),
        }
        out.push(b'"');
    }
    gap
}

fn field(asked: &Paper, known: Known) -> &[u8] {
    let value = |span: Span| span.bytes(asked.bytes.bytes());
    asked.head.fields.first(known).map_or(&[], |field| value(field.value))
}

pub(super) fn version(version: Version) -> &'static str {
    match version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
        Version::Http2 => "HTTP/2.0",
    }
}

fn bounded(value: &[u8]) -> &[u8] {
    &value[..value.len().min(LONGEST_VALUE)]
}

/// Printable ASCII that no format has to quote, and no more of it than is allowed.
fn is_plain(value: &[u8]) -> bool {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') & !matches!(byte, b'"' | b'\\');
    // Without a way out of the loop, so that many are looked at at once.
    value.len() <= LONGEST_VALUE && value.iter().fold(true, |all, byte| all & plain(byte))
}

/// A JSON string. What is no text is told by its replacement character.
fn json_text(value: &[u8], out: &mut Vec<u8>) {
    let value = bounded(value);
    if is_plain(value) {
        out.push(b'"');
        out.extend_from_slice(value);
        out.push(b'"');
    } else {
        let _ = serde_json::to_writer(out, &String::from_utf8_lossy(value));
    }
}

/// As Apache does it: nothing that a client sends ends the quotes or the line.
pub(super) fn quoted(value: &[u8], out: &mut Vec<u8>) {
    if is_plain(value) {
        return out.extend_from_slice(value);
    }
    for c in String::from_utf8_lossy(bounded(value)).chars() {
        match c {
            '"' | '\\' => out.extend([b'\\', u8::try_from(c).unwrap_or(b'?')]),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::inbox::Inbox;

    fn line(format: LogFormat) -> String {
        let mut asked = crate::asked::Asked::blank();
        let paper = &mut *asked;
        paper.bytes = Inbox::holding(
            b"GET /x?q=1 HTTP/1.1\r\nhost: a.example\r\nx-request-id: id-1\r\nuser-agent: evil\"\\ \xff agent\r\n\r\n",
        );
        paper.head.read(paper.bytes.bytes(), &pando_http::Limits::default()).unwrap();
        let client = Client::new("10.0.0.1:1".parse().unwrap(), false);
        let id = Id::Given(paper.head.fields.only(Known::XRequestId).unwrap().value);
        let log =
            LogHandle { format: format.clone(), queue: mpsc::channel(1).0, dropped: Default::default() };
        let begun = Begun::new(&log, &asked, &client, &id, 1_793_614_830_456);
        let took = Duration::from_micros(1_500);
        let ended = Ended {
            status: 200,
            bytes: 12,
            took,
            pool: Some("p"),
            endpoint: None,
            route: Some("shop"),
            retries: 0,
            outcome: Outcome::Whole,
            trace: None,
        };
        let mut out = Vec::new();
        whole(&format, &begun, &ended, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn combined_lines_cannot_be_forged() {
        let expected = "10.0.0.1 - - [02/Nov/2026:10:20:30 +0000] \"GET /x?q=1 HTTP/1.1\" 200 12 \"-\" \"evil\\\"\\\\ \u{fffd} agent\"\n";
        assert_eq!(line(LogFormat::Combined), expected);
    }

    #[test]
    fn json_lines_are_whole_objects() {
        let out = line(LogFormat::Json);
        let value: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(value["time"], "2026-11-02T10:20:30.456Z");
        assert_eq!(value["status"], 200);
        assert_eq!(value["duration_ms"], 1.5);
        assert_eq!(value["request_id"], "id-1");
        assert_eq!(value["user_agent"], "evil\"\\ \u{fffd} agent");
        assert_eq!((&value["pool"], &value["outcome"]), (&"p".into(), &"whole".into()));
        assert_eq!(value["route"], "shop");
        assert_eq!(out.matches('\n').count(), 1);
    }
}
