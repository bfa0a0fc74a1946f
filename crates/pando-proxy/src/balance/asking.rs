//! What a request shows that decides where it goes.

use pando_http::{Known, RequestHead};
use pando_routing::balance::hash::SecretKey;
use pando_routing::balance::sticky::cookie;
use pando_routing::{Algorithm, HashKey};

use crate::asked::Paper;
use crate::client::Client;

/// A request, as far as choosing an endpoint goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) head: &'a RequestHead,
    /// In its normal spelling.
    pub(crate) path: &'a [u8],
    /// What `head` was read from.
    pub(crate) bytes: &'a [u8],
    pub(crate) client: &'a Client,
    /// Doing it twice is as good as once.
    pub(crate) may_repeat: bool,
}

impl<'a> Asking<'a> {
    pub(crate) fn new(paper: &'a Paper, client: &'a Client, may_repeat: bool) -> Self {
        Self { head: &paper.head, path: paper.path(), bytes: paper.bytes.bytes(), client, may_repeat }
    }

    /// The values of a cookie, in order.
    pub(crate) fn cookies(&self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let bytes = self.bytes;
        let fields = self.head.fields.all(Known::Cookie);
        fields.flat_map(move |field| cookie::values(field.value.bytes(bytes), name.as_bytes()))
    }

    /// The hash of what the algorithm asks for. `None`: it asks for nothing, or the request doesn't have it.
    pub(crate) fn hash(&self, algorithm: &Algorithm, key: &SecretKey) -> Option<u64> {
        let Algorithm::Hash { key: by, .. } = algorithm else { return None };
        match by {
            HashKey::Header(name) => self.header(name).map(|value| key.hash(value)),
            HashKey::Cookie(name) => self.cookies_of(name).next().map(|value| key.hash(value)),
            HashKey::Address => Some(key.hash(self.client.ip.bytes())),
            HashKey::Path => Some(key.hash(self.path)),
        }
    }

    fn cookies_of<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b [u8]> {
        Asking::<'b>::cookies(self, name)
    }

    fn header(&self, name: &str) -> Option<&'a [u8]> {
        let mut fields = self.head.fields.iter();
        let named = fields.find(|field| field.name.bytes(self.bytes).eq_ignore_ascii_case(name.as_bytes()));
        named.map(|field| field.value.bytes(self.bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: SecretKey = SecretKey([3; 16]);

    fn hash(by: HashKey, request: &str) -> Option<u64> {
        let text = format!("{request}\r\n\r\n");
        let mut head = RequestHead::default();
        head.read(text.as_bytes(), &pando_http::Limits::default()).unwrap();
        let client = Client::new("[::ffff:10.0.0.1]:4000".parse().unwrap(), false);
        let asking = Asking {
            head: &head,
            path: head.path.bytes(text.as_bytes()),
            bytes: text.as_bytes(),
            client: &client,
            may_repeat: true,
        };
        asking.hash(&Algorithm::Hash { key: by, bound_percent: 125 }, &KEY)
    }

    #[test]
    fn each_kind_of_key_is_found_where_it_is() {
        let request = "GET /a/b?c=d HTTP/1.1\r\nhost: h\r\nX-User: 7\r\nCookie: a=1; sid=x\r\nx-user: 8\r\ncookie: sid=y";
        assert_eq!(hash(HashKey::Header("x-user".into()), request), Some(KEY.hash(b"7")));
        assert_eq!(hash(HashKey::Cookie("sid".into()), request), Some(KEY.hash(b"x")));
        assert_eq!(hash(HashKey::Path, request), Some(KEY.hash(b"/a/b")));
        assert_eq!(hash(HashKey::Address, request), Some(KEY.hash(b"10.0.0.1")));
        assert_eq!(hash(HashKey::Header("x-none".into()), request), None);
        assert_eq!(hash(HashKey::Cookie("other".into()), request), None);
    }
}
