//! The head of a response.
//!
//! Endpoints are the user's own programs, so that what can only be meant in one way is understood: lines that end with a
//! bare LF, for one. [`crate::write::fields`] passes such a head on in proper form.

use std::mem::MaybeUninit;

use crate::field::{Fields, Known, tokens};
use crate::request::connection::{Wishes, nominates};
use crate::request::framing::content_length;
use crate::request::{Method, Version};
use crate::span::Span;
use crate::{Limits, MOST_FIELDS};

/// What a proxy needs to know of a response. Meant to be kept and read into again.
#[derive(Debug, Clone, Default)]
pub struct ResponseHead {
    pub version: Version,
    /// 100 to 999.
    pub status: u16,
    pub reason: Span,
    pub fields: Fields,
    pub framing: ResponseFraming,
    /// The endpoint would take another request over this connection.
    pub persistent: bool,
    /// After 101: what the connection has become.
    pub upgrade: Option<Span>,
}

/// How a response's body is delimited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ResponseFraming {
    /// There is none, whatever the fields say: of a HEAD, 1xx, 204, 304; or there is one of 0 bytes.
    #[default]
    Empty,
    Length(u64),
    Chunked,
    /// It ends with the connection.
    UntilClose,
}

/// What came is not HTTP, or could be meant in two ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotHttp {
    #[error("the head is malformed: {0}")]
    Malformed(httparse::Error),
    #[error("the head is too large")]
    TooLarge,
    #[error("the Content-Length is malformed, or there are several")]
    Length,
    #[error("the body has another transfer coding than `chunked`")]
    Coding,
    /// For whoever knows what was asked for; no head alone is read as this.
    #[error("it switches to another protocol, which nobody asked for")]
    Unasked,
}

impl ResponseHead {
    /// Reads `head`, exactly what [`crate::HeadScan::leniently`] found whole, as the answer to `method`.
    ///
    /// Fields of this connection alone are marked as dropped, as in [`crate::RequestHead::read`]; beside a
    /// `Transfer-Encoding`, `Content-Length` is as well: the coding decides how the body is read, so the length is a lie.
    ///
    /// # Errors
    /// See [`NotHttp`].
    pub fn read(&mut self, head: &[u8], method: Method, limits: &Limits) -> Result<(), NotHttp> {
        if head.len() > limits.head_bytes {
            return Err(NotHttp::TooLarge);
        }
        self.read_lines(head, limits)?.ok_or(NotHttp::Malformed(httparse::Error::Status))?;
        self.read_meaning(head, method)
    }

    /// As [`crate::RequestHead::read_at_once`]: the head that `buffer` begins with, if it is there as a whole, nothing is wrong with it,
    /// and every line of it ends as it should.
    pub fn read_at_once(&mut self, buffer: &[u8], method: Method, limits: &Limits) -> Option<usize> {
        let len = self.read_lines(buffer, limits).ok()??;
        let head = &buffer[..len];
        let is_good = buffer[0] == b'H' && len <= limits.head_bytes && self.fields.are_clean(head);
        (is_good && self.read_meaning(head, method).is_ok()).then_some(len)
    }

    fn read_meaning(&mut self, head: &[u8], method: Method) -> Result<(), NotHttp> {
        let wishes = Wishes::of(&self.fields, head);
        self.persistent = match self.version {
            Version::Http10 => wishes.keep_alive && !wishes.close,
            Version::Http11 | Version::Http2 => !wishes.close,
        };
        self.upgrade =
            self.fields.first(Known::Upgrade).filter(|_| self.status == 101).map(|field| field.value);
        self.read_framing(head, method)?;
        self.drop_fields(head, &wishes);
        Ok(())
    }

    /// How many bytes they are; `None`: they go on after what is here.
    fn read_lines(&mut self, head: &[u8], limits: &Limits) -> Result<Option<usize>, NotHttp> {
        let mut room = [const { MaybeUninit::uninit() }; MOST_FIELDS];
        let room = &mut room[..limits.fields.min(MOST_FIELDS)];
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        let parsed = config.parse_response_with_uninit_headers(&mut response, head, room);
        let httparse::Status::Complete(len) = parsed.map_err(NotHttp::Malformed)? else { return Ok(None) };
        let status = response.code.filter(|code| (100..=999).contains(code));
        self.status = status.ok_or(NotHttp::Malformed(httparse::Error::Status))?;
        self.reason = response.reason.map_or_else(Span::default, |reason| Span::of(reason.as_bytes(), head));
        self.version = if response.version == Some(0) { Version::Http10 } else { Version::Http11 };
        self.fields.fill(response.headers, head);
        Ok(Some(len))
    }

    fn read_framing(&mut self, head: &[u8], method: Method) -> Result<(), NotHttp> {
        let coding = self.codings(head);
        let length = content_length(&self.fields, head).map_err(|()| NotHttp::Length);
        let has_none = method == Method::Head || matches!(self.status, 100..=199 | 204 | 304);
        self.framing = match coding {
            _ if has_none => ResponseFraming::Empty,
            // One without a word says nothing, and yet makes the length a lie.
            (None, _) if self.fields.has(Known::TransferEncoding) => return Err(NotHttp::Coding),
            (None, _) => match length? {
                None => ResponseFraming::UntilClose,
                Some(0) => ResponseFraming::Empty,
                Some(length) => ResponseFraming::Length(length),
            },
            (Some(only), None) if only.eq_ignore_ascii_case(b"chunked") => ResponseFraming::Chunked,
            _ => return Err(NotHttp::Coding),
        };
        self.persistent &= self.framing != ResponseFraming::UntilClose;
        Ok(())
    }

    /// The first two.
    fn codings<'a>(&self, head: &'a [u8]) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
        if !self.fields.has(Known::TransferEncoding) {
            return (None, None);
        }
        let mut codings =
            self.fields.all(Known::TransferEncoding).flat_map(|field| tokens(field.value.bytes(head)));
        (codings.next(), codings.next())
    }

    fn drop_fields(&mut self, head: &[u8], wishes: &Wishes) {
        use Known::{Connection, ContentLength, KeepAlive, ProxyConnection, TransferEncoding, Upgrade};
        const ENDING: u64 = Known::bits([Connection, KeepAlive, ProxyConnection, TransferEncoding, Upgrade]);
        if !self.fields.has_any(ENDING) {
            return;
        }
        let coded = self.fields.has(TransferEncoding);
        if wishes.nominates {
            for n in 0..self.fields.all.len() {
                let field = self.fields.all[n];
                let kept = matches!(field.known, ContentLength | Known::Trailer | Known::SetCookie);
                if !kept && nominates(&self.fields, head, field.name.bytes(head)) {
                    self.fields.all[n].dropped = true;
                }
            }
        }
        self.fields.drop_if(|field| match field.known {
            ContentLength => coded,
            known => ENDING & known.bit() != 0,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{HeadScan, Scanned};

    fn read(text: &str, method: Method) -> Result<ResponseHead, NotHttp> {
        let Scanned::Whole { len, .. } = HeadScan::default().leniently(text.as_bytes()) else {
            panic!("not whole")
        };
        let mut head = ResponseHead::default();
        head.read(&text.as_bytes()[..len], method, &Limits::default()).map(|()| head)
    }

    fn framing(lines: &str, method: Method) -> Result<ResponseFraming, NotHttp> {
        read(&format!("HTTP/1.1 {lines}\r\n\r\n"), method).map(|head| head.framing)
    }

    #[test]
    fn bodies_end_as_the_standard_says() {
        use Method::{Get, Head};
        use ResponseFraming::{Chunked, Empty, Length, UntilClose};
        for (lines, method, expected) in [
            ("200 OK\r\ncontent-length: 5", Get, Length(5)),
            ("200 OK\r\ncontent-length: 0", Get, Empty),
            ("200 OK\r\ncontent-length: 5", Head, Empty),
            ("200 OK", Get, UntilClose),
            ("200 OK\r\ntransfer-encoding: Chunked", Get, Chunked),
            ("200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5", Get, Chunked),
            ("204 No Content\r\ntransfer-encoding: chunked", Get, Empty),
            ("304 Not Modified\r\ncontent-length: 5", Get, Empty),
            ("103 Early Hints\r\nlink: x", Get, Empty),
        ] {
            assert_eq!(framing(lines, method), Ok(expected), "{lines}");
        }
        assert_eq!(framing("200 OK\r\ncontent-length: 5\r\ncontent-length: 6", Get), Err(NotHttp::Length));
        for codings in ["gzip, chunked", "chunked, chunked", "gzip", "", " , ", ",\r\ncontent-length: 5"] {
            let lines = format!("200 OK\r\ntransfer-encoding:{codings}");
            assert_eq!(framing(&lines, Get), Err(NotHttp::Coding), "{codings:?}");
        }
        assert!(matches!(framing("99 Low", Get), Err(NotHttp::Malformed(_))));
        assert!(matches!(framing("200 OK\r\nno colon", Get), Err(NotHttp::Malformed(_))));
    }

    #[test]
    fn connections_go_on_when_both_ends_can() {
        let goes_on = |text: &str| read(text, Method::Get).unwrap().persistent;
        assert!(goes_on("HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n"));
        assert!(!goes_on("HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\n"));
        assert!(!goes_on("HTTP/1.1 200 OK\r\n\r\n"));
        assert!(!goes_on("HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\n"));
        assert!(goes_on("HTTP/1.0 200 OK\ncontent-length: 1\nconnection: keep-alive\n\n"));
    }

    #[test]
    fn what_is_of_this_connection_ends_here() {
        let text = "HTTP/1.1 200 OK\r\nconnection: x-mine\r\nx-mine: 1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\
                    set-cookie: a\r\nupgrade: h2c\r\n\r\n";
        let head = read(text, Method::Get).unwrap();
        let kept: Vec<_> =
            head.fields.iter().filter(|field| !field.dropped).map(|field| field.known).collect();
        assert_eq!((kept, head.upgrade), (vec![Known::SetCookie], None));
        let switched =
            read("HTTP/1.1 101 Now\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n", Method::Get)
                .unwrap();
        assert!(switched.upgrade.is_some());
    }
}
