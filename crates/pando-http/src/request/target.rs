//! What a request asks for, and of whom.

use super::{Method, RequestHead, Version};
use crate::Limits;
use crate::field::Known;
use crate::host::is_host;
use crate::refusal::Refusal;
use crate::span::Span;

impl RequestHead {
    pub(super) fn read_target(&mut self, head: &[u8], limits: &Limits) -> Result<(), Refusal> {
        let target = self.target.bytes(head);
        if target.len() > limits.target_bytes {
            return Err(Refusal::LongTarget);
        }
        if memchr::memchr(b'#', target).is_some() {
            return Err(Refusal::Fragment);
        }
        self.host = self.host_field(head)?;
        if self.host.is_empty() {
            // An empty one that was passed on would stand beside the one that is put in its place.
            self.fields.drop_if(|field| field.known == Known::Host);
        }
        if self.method == Method::Connect {
            // The whole of it is an authority. Nobody here connects anybody.
            (self.origin, self.path) = (Span::default(), Span::default());
            return Ok(());
        }
        self.origin = match target {
            [b'/', ..] => self.target,
            b"*" if self.method == Method::Options => self.target,
            _ => self.absolute(head)?,
        };
        let origin = self.origin.bytes(head);
        let path = memchr::memchr(b'?', origin).unwrap_or(origin.len());
        self.path = Span::at(self.origin.start as usize, path);
        Ok(())
    }

    fn host_field(&self, head: &[u8]) -> Result<Span, Refusal> {
        let mut given = self.fields.all(Known::Host);
        let host = match (given.next(), given.next()) {
            (_, Some(_)) => return Err(Refusal::Hosts),
            (Some(host), None) => host.value,
            (None, None) if self.version == Version::Http10 => return Ok(Span::default()),
            (None, None) => return Err(Refusal::NoHost),
        };
        let may_lack = self.version == Version::Http10 && host.is_empty();
        if may_lack || is_host(host.bytes(head)) { Ok(host) } else { Err(Refusal::Host) }
    }

    /// A target such as `http://example.com/`: it may not say one thing and the Host header another. Path and query.
    fn absolute(&mut self, head: &[u8]) -> Result<Span, Refusal> {
        let target = self.target.bytes(head);
        let scheme = memchr::memmem::find(target, b"://").ok_or(Refusal::Target)?;
        if !target[..scheme].eq_ignore_ascii_case(b"http") && !target[..scheme].eq_ignore_ascii_case(b"https")
        {
            return Err(Refusal::Scheme);
        }
        let rest = &target[scheme + 3..];
        let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?')).unwrap_or(rest.len());
        let authority = &rest[..end];
        if authority.contains(&b'@') {
            return Err(Refusal::UserInformation);
        }
        let host = self.host.bytes(head);
        if host.is_empty() && is_host(authority) {
            self.host = Span::of(authority, head);
        } else if !authority.eq_ignore_ascii_case(host) {
            return Err(Refusal::TwoHosts);
        }
        Ok(Span::of(&rest[end..], head))
    }
}
