//! The answers that the proxy gives itself: small, plain, with the request's id.

use http::StatusCode;
use pando_http::{Known, Method, RequestHead, write};

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
    UnknownHost,
    /// There is no table yet.
    NoTable,
    NobodyReady,
    /// Every endpoint has as many requests as it may.
    Busy,
    Unreachable,
    /// The connection broke, or what came wasn't HTTP.
    Broken,
    Silent,
}

/// How the client would like to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wants {
    format: Format,
    is_head: bool,
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
            Self::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Self::UnknownHost => StatusCode::NOT_FOUND,
            Self::NoTable | Self::NobodyReady | Self::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreachable | Self::Broken => StatusCode::BAD_GATEWAY,
            Self::Silent => StatusCode::GATEWAY_TIMEOUT,
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
            Self::UnknownHost => "Nothing is served at this address.",
            Self::NoTable => "This server is starting. Please try again in a moment.",
            Self::NobodyReady => "No instance is ready to answer. Please try again in a moment.",
            Self::Busy => "All instances are busy. Please try again in a moment.",
            Self::Unreachable => "The instance that was to answer could not be reached.",
            Self::Broken => "The instance that was to answer broke off.",
            Self::Silent => "The instance did not answer in time.",
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
        others: &[(&'static str, Option<&[u8]>)],
        close: bool,
    ) {
        let mut digits = Vec::with_capacity(8);
        write::number(&mut digits, length as u64);
        let status = self.status();
        let mut own: Vec<(&'static str, &[u8])> = vec![
            ("content-type", kind.as_bytes()),
            ("content-length", &digits),
            ("cache-control", b"no-store"),
        ];
        own.extend(others.iter().filter_map(|(name, value)| Some((*name, (*value)?))));
        if status == StatusCode::SERVICE_UNAVAILABLE {
            own.push(("retry-after", b"1"));
        }
        let status = status.as_u16();
        let reason = self.status().canonical_reason().unwrap_or_default().as_bytes();
        front.head(&Answer { status, reason, passed: None, own: &own, body: AnswerBody::Sized, close });
    }

    pub(super) fn render(self, wants: Wants, id: &str) -> (&'static str, String) {
        let status = self.status();
        let reason = status.canonical_reason().unwrap_or_default();
        let (code, sentence) = (status.as_u16(), self.sentence());
        match wants.format {
            Format::Html => ("text/html; charset=utf-8", html(code, reason, sentence, id)),
            Format::Json => {
                let body = serde_json::json!({"status": code, "error": sentence, "request_id": id});
                ("application/json", format!("{body}\n"))
            }
            Format::Text => {
                ("text/plain; charset=utf-8", format!("{code} {reason}\n{sentence}\nRequest {id}\n"))
            }
        }
    }
}

fn html(code: u16, reason: &str, sentence: &str, id: &str) -> String {
    // The id may be the client's own.
    let id = id.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{code} {reason}</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style>body{{font:16px/1.5 system-ui,sans-serif;\
         max-width:34em;margin:15vh auto;padding:0 1em;color:#223}}small{{color:#667}}</style></head>\
         <body><h1>{code} {reason}</h1><p>{sentence}</p><p><small>Request {id}</small></p></body></html>\n"
    )
}

impl Wants {
    pub(super) fn of(asked: &Asked) -> Self {
        let format = format_of(&asked.head, asked.bytes.bytes());
        Self { format, is_head: asked.head.method == Method::Head }
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

    #[test]
    fn a_client_cannot_write_markup_into_a_page() {
        let (_, page) = Page::Silent.render(Wants { format: Format::Html, is_head: false }, "<script>&");
        assert!(page.contains("&lt;script&gt;&amp;") && !page.contains("<script>"), "{page}");
    }

    #[test]
    fn every_format_names_status_and_request() {
        for format in [Format::Html, Format::Json, Format::Text] {
            let (_, page) = Page::NobodyReady.render(Wants { format, is_head: false }, "id-7");
            assert!(page.contains("503") && page.contains("id-7"), "{page}");
        }
    }
}
