//! How a request's body is delimited: one way, or not at all.

use super::{Framing, RequestHead, Version};
use crate::field::{Fields, Known};
use crate::refusal::Refusal;

impl RequestHead {
    pub(super) fn read_framing(&mut self, head: &[u8]) -> Result<(), Refusal> {
        let chunked = self.is_chunked(head)?;
        let length = content_length(&self.fields, head).map_err(|()| Refusal::Length)?;
        self.framing = match (chunked, length) {
            (true, Some(_)) => return Err(Refusal::LengthAndCoding),
            (true, None) => Framing::Chunked,
            (false, None | Some(0)) => Framing::Empty,
            (false, Some(length)) => Framing::Length(length),
        };
        Ok(())
    }

    /// `chunked` must be the only coding, said once. Whatever else there is would stay on the body when `chunked` is taken off,
    /// with nothing left to say so (RFC 9112, 6.1).
    fn is_chunked(&self, head: &[u8]) -> Result<bool, Refusal> {
        let mut codings = self.fields.all(Known::TransferEncoding);
        match (codings.next(), codings.next()) {
            (None, _) => Ok(false),
            (Some(_), _) if self.version == Version::Http10 => Err(Refusal::CodingInOld),
            (Some(only), None) if only.value.bytes(head).eq_ignore_ascii_case(b"chunked") => Ok(true),
            _ => Err(Refusal::Coding),
        }
    }

    /// Upgrades to HTTP itself would carry requests past the rules, under headers that nobody checked. A server may decline any,
    /// and declines those by not hearing them.
    pub(super) fn read_upgrade(&mut self, head: &[u8]) -> Result<(), Refusal> {
        let Some(protocols) = self.upgrade else { return Ok(()) };
        if crate::field::tokens(protocols.bytes(head)).any(is_http_or_tls) {
            self.upgrade = None;
            return Ok(());
        }
        if self.framing != Framing::Empty {
            return Err(Refusal::UpgradeWithBody);
        }
        Ok(())
    }
}

/// Exactly one field with one number, or none. Several that agree are an attempt at something.
pub(crate) fn content_length(fields: &Fields, head: &[u8]) -> Result<Option<u64>, ()> {
    let mut lengths = fields.all(Known::ContentLength);
    match (lengths.next(), lengths.next()) {
        (None, _) => Ok(None),
        (Some(only), None) => number(only.value.bytes(head)).map(Some).ok_or(()),
        (Some(_), Some(_)) => Err(()),
    }
}

/// Digits alone: no sign, no list, and nothing that wraps round.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    let mut number = (!text.is_empty()).then_some(0u64)?;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        number = (digit < 10).then(|| number.checked_mul(10)?.checked_add(u64::from(digit))).flatten()?;
    }
    Some(number)
}

fn is_http_or_tls(protocol: &[u8]) -> bool {
    let begins =
        |with: &[u8]| protocol.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    protocol.eq_ignore_ascii_case(b"h2c") || begins(b"http/") || begins(b"tls/")
}
