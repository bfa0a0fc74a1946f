//! A request as rules may ask about it.

use std::net::IpAddr;

use pando_http::Known;
use pando_routing::Asks;

use crate::asked::Paper;
use crate::client::Client;

/// A request and who sent it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    pub(crate) paper: &'a Paper,
    pub(crate) client: &'a Client,
}

impl Asks for Shown<'_> {
    fn method(&self) -> &[u8] {
        self.paper.head.method_text.bytes(self.paper.bytes.bytes())
    }

    /// What a client says about where it comes from is nobody's reason for anything.
    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let bytes = self.paper.bytes.bytes();
        let known = Known::of(name.as_bytes());
        let is_it = move |field: &&pando_http::Field| {
            field.known == known
                && (known != Known::Other || field.name.bytes(bytes).eq_ignore_ascii_case(name.as_bytes()))
        };
        let fields = self.paper.head.fields.iter().filter(move |_| !known.is_about_client());
        fields.filter(is_it).map(|field| field.value.bytes(bytes))
    }

    fn query(&self) -> &[u8] {
        let (head, bytes) = (&self.paper.head, self.paper.bytes.bytes());
        let query = head.origin.bytes(bytes).get(head.path.len()..).unwrap_or_default();
        query.strip_prefix(b"?").unwrap_or_default()
    }

    fn address(&self) -> IpAddr {
        self.client.address
    }

    fn is_tls(&self) -> bool {
        self.client.secure
    }
}
