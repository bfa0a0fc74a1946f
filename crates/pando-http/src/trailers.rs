//! Fields after a chunked body.

use crate::MOST_FIELDS;
use crate::body::Malformed;
use crate::field::{Field, Fields, Known};
use crate::scan::{HeadScan, Scanned};

/// All of them. Large enough for gRPC's status details.
const MOST_BYTES: usize = 16 << 10;

/// Trailers, as they come in and when they are whole.
#[derive(Debug, Clone, Default)]
pub struct Trailers {
    bytes: Vec<u8>,
    scan: HeadScan,
    fields: Fields,
    whole: bool,
}

impl Trailers {
    /// Trailers that came otherwise than after chunks; the same may stand in them.
    ///
    /// # Errors
    /// [`Malformed::Trailers`].
    pub fn of<'a>(fields: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Result<Self, Malformed> {
        let mut lines = Vec::new();
        fields.for_each(|(name, value)| crate::write::field(&mut lines, name, value));
        lines.extend_from_slice(b"\r\n");
        let mut trailers = Self::default();
        match trailers.take(&lines) {
            Ok(taken) if taken == lines.len() && trailers.whole => Ok(trailers),
            _ => Err(Malformed::Trailers),
        }
    }

    /// Takes what belongs to them from the start of `input`.
    pub(crate) fn take(&mut self, input: &[u8]) -> Result<usize, Malformed> {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(&input[..input.len().min(MOST_BYTES + 1 - before)]);
        let taken = match self.scan.strictly(&self.bytes) {
            Scanned::Partial if self.bytes.len() > MOST_BYTES => return Err(Malformed::Trailers),
            Scanned::Partial => return Ok(self.bytes.len() - before),
            Scanned::Bare => return Err(Malformed::Trailers),
            Scanned::Whole { len, .. } => len,
        };
        self.bytes.truncate(taken);
        self.read()?;
        self.whole = true;
        Ok(taken - before)
    }

    /// Framing and routing are decided by then; who says otherwise afterwards means somebody else (RFC 9110, 6.5.1).
    fn read(&mut self) -> Result<(), Malformed> {
        let mut room = [httparse::EMPTY_HEADER; MOST_FIELDS / 4];
        match httparse::parse_headers(&self.bytes, &mut room) {
            Ok(httparse::Status::Complete((_, headers))) => self.fields.fill(headers, &self.bytes),
            _ => return Err(Malformed::Trailers),
        }
        if self.fields.iter().any(is_out_of_place) { Err(Malformed::Trailers) } else { Ok(()) }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.whole
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Their lines, each with its end, without the empty line.
    #[must_use]
    pub fn lines(&self) -> &[u8] {
        &self.bytes[..self.bytes.len().saturating_sub(2)]
    }

    /// Names and values.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| (field.name.bytes(&self.bytes), field.value.bytes(&self.bytes)))
    }
}

fn is_out_of_place(field: &Field) -> bool {
    use Known::{
        Authorization, Connection, ContentEncoding, ContentLength, ContentType, Cookie, Expect, Host,
        KeepAlive, Proxy, ProxyConnection, SetCookie, Te, Trailer, TransferEncoding, Upgrade,
    };
    field.known.is_about_client()
        || matches!(
            field.known,
            Authorization
                | Connection
                | ContentEncoding
                | ContentLength
                | ContentType
                | Cookie
                | Expect
                | Host
                | KeepAlive
                | Proxy
                | ProxyConnection
                | SetCookie
                | Te
                | Trailer
                | TransferEncoding
                | Upgrade
        )
}
