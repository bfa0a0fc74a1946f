//! The answers that the proxy gives itself: small, plain, with the request's id.

use std::sync::Arc;

use http::StatusCode;
use pando_http::{Known, Method, RequestHead, write};

use pando_routing::rule::answers::ErrorPages;

use crate::asked::Asked;
use crate::front::{Answer, AnswerBody, Front};

/// Why an endpoint's answer isn't what the client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    BadRequest(&'static str),
    /// The client stopped sending the body.
    TooSlow,
    ConnectRefused,
    /// The request's body.
    TooLarge,
    /// It is to be had elsewhere.
    Moved,
    /// The connection was made for another host.
    Misdirected,
    /// The host is for clients that have shown a certificate.
    NotShown,
    UnknownHost,
    /// There is no table yet.
    NoTable,
    NobodyReady,
    /// Every endpoint has as many requests as it may.
    Busy,
    Unreachable,
    /// The connection broke, or what came wasn't HTTP.
    Broken,
    /// The endpoint's HTTP/2 has none of RFC 8441.
    NoWebSocket,
    Silent,
    /// A rule turns the client's address away.
    Denied,
    /// No password, or a wrong one.
    Unauthorised,
    /// More requests than a rule allows.
    TooMany,
    Maintenance,
    /// It was held for too long, or too many are.
    Paused,
    /// Who was to say whether it may pass said nothing.
    NoAuthority,
}

/// How the client would like to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wants {
    format: Format,
    is_head: bool,
    is_grpc: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Html,
    Json,
    Text,
}

impl Page {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::ConnectRefused => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Moved => StatusCode::PERMANENT_REDIRECT,
            Self::Misdirected | Self::NotShown => StatusCode::MISDIRECTED_REQUEST,
            Self::UnknownHost => StatusCode::NOT_FOUND,
            Self::NoTable | Self::NobodyReady | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreachable | Self::Broken | Self::NoWebSocket => StatusCode::BAD_GATEWAY,
            Self::Silent => StatusCode::GATEWAY_TIMEOUT,
            Self::Denied => StatusCode::FORBIDDEN,
            Self::Unauthorised => StatusCode::UNAUTHORIZED,
            Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::Maintenance | Self::Paused | Self::NoAuthority => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::BadRequest(why) => why,
            Self::TooSlow => "The request's body did not arrive in time.",
            Self::TooLarge => "The request's body is larger than is taken here.",
            Self::ConnectRefused => "This is not a forward proxy.",
            Self::Moved => "This is to be had at another address.",
            Self::Misdirected => "This connection was made for another host.",
            Self::NotShown => "This host asks for a certificate, over a connection that is made for it.",
            Self::UnknownHost => "Nothing is served at this address.",
            Self::NoTable => "This server is starting. Please try again in a moment.",
            Self::NobodyReady => "No instance is ready to answer. Please try again in a moment.",
            Self::Busy => "All instances are busy. Please try again in a moment.",
            Self::Unreachable => "The instance that was to answer could not be reached.",
            Self::Broken => "The instance that was to answer broke off.",
            Self::NoWebSocket => {
                "The instance speaks HTTP/2 and doesn't take WebSockets over it (RFC 8441, SETTINGS_ENABLE_CONNECT_PROTOCOL)."
            }
            Self::Silent => "The instance did not answer in time.",
            Self::Denied => "This is not open to your address.",
            Self::Unauthorised => "A name and a password are needed here.",
            Self::TooMany => "Too many requests. Please wait a moment.",
            Self::Maintenance => "This is being worked on. Please try again later.",
            Self::Paused => "This is being worked on. Please try again in a moment.",
            Self::NoAuthority => {
                "Whether you may see this could not be found out. Please try again in a moment."
            }
        }
    }

    /// Whether the client's connection is at its end, because nobody knows what on it comes next.
    pub(super) fn ends_connection(self) -> bool {
        matches!(self, Self::BadRequest(_) | Self::TooSlow | Self::ConnectRefused | Self::TooLarge)
    }

    /// Queues the head for a text of that kind and length, with those `others` that have a value.
    pub(super) fn write_head<F: Front>(
        self,
        front: &mut F,
        kind: &str,
        length: usize,
        others: &[(&str, Option<&[u8]>)],
        close: bool,
    ) {
        let mut digits = Vec::with_capacity(8);
        write::number(&mut digits, length as u64);
        let status = self.status();
        let mut own: Vec<(&str, &[u8])> = vec![
            ("content-type", kind.as_bytes()),
            ("content-length", &digits),
            ("cache-control", b"no-store"),
        ];
        own.extend(others.iter().filter_map(|(name, value)| Some((*name, (*value)?))));
        if status == StatusCode::SERVICE_UNAVAILABLE && !own.iter().any(|(name, _)| *name == "retry-after") {
            own.push(("retry-after", b"1"));
        }
        let status = status.as_u16();
        let reason = self.status().canonical_reason().unwrap_or_default().as_bytes();
        front.head(&Answer { status, reason, passed: None, own: &own, body: AnswerBody::Sized, close });
    }

    /// `message` in place of its own sentence; `pages` in place of its own looks.
    pub(super) fn render(
        self,
        wants: Wants,
        id: &str,
        message: Option<&str>,
        pages: Option<&ErrorPages>,
    ) -> (&'static str, String) {
        render(self.status(), message.unwrap_or_else(|| self.sentence()), wants, id, pages)
    }
}

/// A page in place of what a replica says of its own failure.
pub(crate) fn stand_in(
    status: u16,
    wants: Wants,
    id: &[u8],
    pages: Option<&ErrorPages>,
) -> (&'static str, String) {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let id = std::str::from_utf8(id).unwrap_or_default();
    render(status, "Something went wrong on our side. Please try again later.", wants, id, pages)
}

fn render(
    status: StatusCode,
    sentence: &str,
    wants: Wants,
    id: &str,
    pages: Option<&ErrorPages>,
) -> (&'static str, String) {
    let reason = status.canonical_reason().unwrap_or_default();
    let code = status.as_u16();
    let page = pages.and_then(|pages| pages.find(code));
    let text = |text: &Option<Arc<str>>| text.as_deref().map(str::to_owned);
    let custom = page.and_then(|page| match wants.format {
        Format::Html => text(&page.html),
        Format::Json => text(&page.json),
        Format::Text => text(&page.text),
    });
    let fill = |text: String, escape: fn(&str) -> String| {
        let values =
            [("{status}", code.to_string()), ("{reason}", escape(reason)), ("{message}", escape(sentence))];
        let filled = values.iter().fold(text, |text, (name, value)| text.replace(name, value));
        // The last: it may be the client's own.
        filled.replace("{request_id}", &escape(id))
    };
    match (wants.format, custom) {
        (Format::Html, Some(text)) => (HTML, fill(text, escape_html)),
        (Format::Html, None) => (HTML, html(code, reason, sentence, id)),
        (Format::Json, Some(text)) => (JSON, fill(text, escape_json)),
        (Format::Json, None) => {
            let body = serde_json::json!({"status": code, "error": sentence, "request_id": id});
            (JSON, format!("{body}\n"))
        }
        (Format::Text, Some(text)) => (TEXT, fill(text, str::to_owned)),
        (Format::Text, None) => (TEXT, format!("{code} {reason}\n{sentence}\nRequest {id}\n")),
    }
}

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// What stands between the quotes of a JSON string.
fn escape_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or_default().to_owned()
}

fn html(code: u16, reason: &str, sentence: &str, id: &str) -> String {
    // The id may be the client's own.
    let (id, sentence) = (escape_html(id), escape_html(sentence));
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{code} {reason}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>body{{font:16px/1.5 system-ui,sans-serif;\
         max-width:34em;margin:15vh auto;padding:0 1em;color:#223}}small{{color:#667}}</style></head>\
         <body><h1>{code} {reason}</h1><p>{sentence}</p><p><small>Request {id}</small></p></body></html>\n"
    )
}

impl Wants {
    pub(crate) fn of(asked: &Asked) -> Self {
        let bytes = asked.bytes.bytes();
        let kind =
            asked.head.fields.first(Known::ContentType).map_or(&[][..], |field| field.value.bytes(bytes));
        let is_grpc = kind.starts_with(b"application/grpc");
        Self { format: format_of(&asked.head, bytes), is_head: asked.head.method == Method::Head, is_grpc }
    }

    /// Who reads trailers has no use for pages.
    pub(crate) fn is_grpc(self) -> bool {
        self.is_grpc
    }

    pub(super) fn is_head(self) -> bool {
        self.is_head
    }
}

/// The acceptable format with the highest weight; among equals the first.
fn format_of(head: &RequestHead, bytes: &[u8]) -> Format {
    let mut best = (Format::Text, 0.0);
    for field in head.fields.all(Known::Accept) {
        for range in field.value.text(bytes).split(',') {
            let mut parts = range.split(';').map(str::trim);
            let format = match parts.next().map(str::to_ascii_lowercase).as_deref() {
                Some("text/html" | "application/xhtml+xml") => Format::Html,
                Some("application/json" | "application/problem+json") => Format::Json,
                Some("text/plain") => Format::Text,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
            if weight > best.1 {
                best = (format, weight);
            }
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_follows_accept() {
        for (accept, format) in [
            ("", Format::Text),
            ("*/*", Format::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Format::Html),
            ("application/json", Format::Json),
            ("application/json;q=0.5, text/html;q=0.4", Format::Json),
            ("text/html;q=0", Format::Text),
            ("text/html;q=oops", Format::Html),
        ] {
            let text = format!("GET / HTTP/1.1\r\nhost: a\r\naccept: {accept}\r\n\r\n");
            let mut head = RequestHead::default();
            head.read(text.as_bytes(), &pando_http::Limits::default()).unwrap();
            assert_eq!(format_of(&head, text.as_bytes()), format, "{accept}");
        }
    }

    fn wants(format: Format) -> Wants {
        Wants { format, is_head: false, is_grpc: false }
    }

    #[test]
    fn pages_of_the_table_are_filled_and_nothing_in_them_is_broken_out_of() {
        let pages: ErrorPages = serde_json::from_str(
            r#"{"pages": {"5xx": {"html": "<a title='{message}'>{request_id} {status} {x} {reason}</a>",
                "json": "{\"why\": \"{message}\", \"id\": \"{request_id}\"}"}}}"#,
        )
        .unwrap();
        let render =
            |format| Page::Silent.render(wants(format), "'\"<{status}", Some("a\"b'<"), Some(&pages)).1;
        assert_eq!(
            render(Format::Html),
            "<a title='a&quot;b&#39;&lt;'>&#39;&quot;&lt;{status} 504 {x} Gateway Timeout</a>"
        );
        let json: serde_json::Value = serde_json::from_str(&render(Format::Json)).unwrap();
        assert_eq!(json, serde_json::json!({"why": "a\"b'<", "id": "'\"<{status}"}));
        assert!(render(Format::Text).contains("504 Gateway Timeout"), "what is missing is the proxy's own");
    }

    #[test]
    fn a_client_cannot_write_markup_into_a_page() {
        let (_, page) = Page::Silent.render(wants(Format::Html), "<script>&", None, None);
        assert!(page.contains("&lt;script&gt;&amp;") && !page.contains("<script>"), "{page}");
    }

    #[test]
    fn every_format_names_status_and_request() {
        for format in [Format::Html, Format::Json, Format::Text] {
            let (_, page) = Page::NobodyReady.render(wants(format), "id-7", None, None);
            assert!(page.contains("503") && page.contains("id-7"), "{page}");
        }
    }
}
