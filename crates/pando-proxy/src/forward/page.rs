//! The answers that the proxy gives itself: small, plain, with the request's id.

use bytes::Bytes;
use http::header::{
    ACCEPT, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};

use super::Tally;
use crate::engine::Download;

/// Why an endpoint's answer isn't what the client gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    BadRequest(&'static str),
    /// The client stopped sending the body.
    TooSlow,
    ConnectRefused,
    /// A transfer coding that the proxy can't take off.
    UnknownCoding,
    UnknownHost,
    /// There is no table yet.
    NoTable,
    NobodyReady,
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
            Self::UnknownCoding => StatusCode::NOT_IMPLEMENTED,
            Self::UnknownHost => StatusCode::NOT_FOUND,
            Self::NoTable | Self::NobodyReady => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreachable | Self::Broken => StatusCode::BAD_GATEWAY,
            Self::Silent => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    fn sentence(self) -> &'static str {
        match self {
            Self::BadRequest(why) => why,
            Self::TooSlow => "The request's body did not arrive in time.",
            Self::ConnectRefused => "This is not a forward proxy.",
            Self::UnknownCoding => "The only transfer coding understood here is `chunked`, once.",
            Self::UnknownHost => "Nothing is served at this address.",
            Self::NoTable => "This server is starting. Please try again in a moment.",
            Self::NobodyReady => "No instance is ready to answer. Please try again in a moment.",
            Self::Unreachable => "The instance that was to answer could not be reached.",
            Self::Broken => "The instance that was to answer broke off.",
            Self::Silent => "The instance did not answer in time.",
        }
    }

    /// The whole response. `tally` is whole once it is on its way.
    pub(super) fn write(self, wants: Wants, id: &HeaderValue, tally: Tally) -> Response<Download> {
        let (kind, text) = self.render(wants.format, id.to_str().unwrap_or_default());
        let length = HeaderValue::from(text.len());
        let body = if wants.is_head { Bytes::new() } else { Bytes::from(text) };
        let mut response = Response::new(Download::page(body, tally));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(CONTENT_LENGTH, length);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if matches!(self, Self::BadRequest(_) | Self::TooSlow | Self::ConnectRefused | Self::UnknownCoding) {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    fn render(self, format: Format, id: &str) -> (&'static str, String) {
        let status = self.status();
        let reason = status.canonical_reason().unwrap_or_default();
        let (code, sentence) = (status.as_u16(), self.sentence());
        match format {
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
    pub(super) fn of<B>(request: &Request<B>) -> Self {
        Self { format: format_of(request.headers()), is_head: request.method() == Method::HEAD }
    }
}

/// The acceptable format with the highest weight; among equals the first.
fn format_of(headers: &HeaderMap) -> Format {
    let mut best = (Format::Text, 0.0);
    for value in headers.get_all(ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',') {
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
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_str(accept).unwrap());
            assert_eq!(format_of(&headers), format, "{accept}");
        }
    }

    #[test]
    fn a_client_cannot_write_markup_into_a_page() {
        let (_, page) = Page::Silent.render(Format::Html, "<script>&");
        assert!(page.contains("&lt;script&gt;&amp;") && !page.contains("<script>"), "{page}");
    }

    #[test]
    fn every_format_names_status_and_request() {
        for format in [Format::Html, Format::Json, Format::Text] {
            let (_, page) = Page::NobodyReady.render(format, "id-7");
            assert!(page.contains("503") && page.contains("id-7"), "{page}");
        }
    }
}
