//! The head of a request.

pub(crate) mod connection;
pub(crate) mod framing;
mod target;

use std::mem::MaybeUninit;

use crate::field::Fields;
use crate::refusal::Refusal;
use crate::span::Span;
use crate::{Limits, MOST_FIELDS};

/// What a proxy needs to know of a request. Meant to be kept and read into again; all spans are places in the bytes that
/// [`RequestHead::read`] was given.
#[derive(Debug, Default)]
pub struct RequestHead {
    pub method: Method,
    pub method_text: Span,
    pub version: Version,
    /// As it came.
    pub target: Span,
    /// Path and query. Empty, or beginning with `?`, when an absolute target has no path: then a `/` belongs before it.
    pub origin: Span,
    /// The path alone, within `origin`.
    pub path: Span,
    /// With a port if there was one; empty only for a request of HTTP/1.0 that names none.
    pub host: Span,
    pub fields: Fields,
    pub framing: Framing,
    /// The client would send another request over this connection.
    pub persistent: bool,
    /// The client waits for `100 Continue` with its body.
    pub expects_continue: bool,
    pub takes_trailers: bool,
    /// The field that names what the connection shall become, when that may be passed on.
    pub upgrade: Option<Span>,
}

/// Methods that a proxy tells apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Method {
    #[default]
    Get,
    Head,
    Post,
    Put,
    Delete,
    Options,
    Trace,
    Connect,
    Other,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Version {
    Http10,
    #[default]
    Http11,
    /// Never read from a head: for requests that were translated into one.
    Http2,
}

/// How a request's body is delimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    #[default]
    Empty,
    /// More than 0 bytes.
    Length(u64),
    Chunked,
}

impl Method {
    fn of(text: &[u8]) -> Self {
        match text {
            b"GET" => Self::Get,
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }

    /// Doing it twice is as good as once (RFC 9110, 9.2.2).
    #[must_use]
    pub fn is_idempotent(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options | Self::Trace)
    }

    /// It only asks (RFC 9110, 9.2.1).
    #[must_use]
    pub fn is_safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }
}

impl RequestHead {
    /// Reads `head`, which must be exactly what [`crate::HeadScan::strictly`] found whole.
    ///
    /// Fields of this connection alone (RFC 9110, 7.6.1) are marked as dropped: `Connection` and what it names, `Keep-Alive`,
    /// `Proxy-Connection`, `TE`, `Transfer-Encoding`, `Upgrade`, `HTTP2-Settings`.
    ///
    /// # Errors
    /// See [`Refusal`]. What is in `self` then is of no use.
    pub fn read(&mut self, head: &[u8], limits: &Limits) -> Result<(), Refusal> {
        if head.len() > limits.head_bytes {
            return Err(Refusal::LargeHead);
        }
        self.read_lines(head, limits)?;
        self.read_meaning(head, limits)
    }

    /// Reads the head that `buffer` begins with, if it is there as a whole and nothing is wrong with it, and answers how long it is.
    /// Otherwise [`crate::HeadScan::strictly`] and [`RequestHead::read`] tell what is there. A head that comes at once is looked at
    /// once so; one that comes in pieces must not be read like this for each of them.
    pub fn read_at_once(&mut self, buffer: &[u8], limits: &Limits) -> Option<usize> {
        let len = self.read_lines(buffer, limits).ok()?;
        let head = &buffer[..len];
        // Empty lines before it are somebody else's to take away.
        let is_good = self.method_text.start == 0 && len <= limits.head_bytes && self.fields.are_clean(head);
        (is_good && self.read_meaning(head, limits).is_ok()).then_some(len)
    }

    fn read_meaning(&mut self, head: &[u8], limits: &Limits) -> Result<(), Refusal> {
        self.read_connection(head)?;
        self.read_target(head, limits)?;
        self.read_framing(head)?;
        self.read_upgrade(head)
    }

    /// How many bytes they are.
    fn read_lines(&mut self, head: &[u8], limits: &Limits) -> Result<usize, Refusal> {
        let mut room = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let room = &mut room[..limits.fields.min(MOST_FIELDS)];
        let mut request = httparse::Request::new(&mut []);
        let parsed = request.parse_with_uninit_headers(head, room).map_err(|error| refusal(error, head))?;
        let (Some(method), Some(target), httparse::Status::Complete(len)) =
            (request.method, request.path, parsed)
        else {
            return Err(Refusal::RequestLine);
        };
        self.method = Method::of(method.as_bytes());
        self.method_text = Span::of(method.as_bytes(), head);
        self.target = Span::of(target.as_bytes(), head);
        self.version = if request.version == Some(0) { Version::Http10 } else { Version::Http11 };
        self.fields.fill(request.headers, head);
        Ok(len)
    }
}

/// A version is read last: whatever has three words in its first line is somebody's HTTP.
fn refusal(error: httparse::Error, head: &[u8]) -> Refusal {
    match error {
        httparse::Error::TooManyHeaders => Refusal::ManyFields,
        httparse::Error::HeaderName | httparse::Error::HeaderValue => Refusal::Field,
        httparse::Error::NewLine => Refusal::LineEnd,
        httparse::Error::Version if names_a_version(head) => Refusal::Version,
        _ => Refusal::RequestLine,
    }
}

fn names_a_version(head: &[u8]) -> bool {
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ').skip(2);
    let (word, more) = (words.next().unwrap_or_default(), words.next());
    more.is_none()
        && matches!(word, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit())
}

#[cfg(test)]
mod tests;
