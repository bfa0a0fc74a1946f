//! What a rule may ask of a request beyond host and path.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::balance::sticky::cookie;
use crate::network::Network;

/// All of it must hold. What is empty always does.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct When {
    /// One of these; `HEAD` is not implied by `GET`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// By name, in any case. One field line of that name must pass.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<Arc<str>, Test>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub cookies: BTreeMap<Arc<str>, Test>,
    /// Parameters of the query; names and values are compared with their escapes resolved, `+` being a space.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<Arc<str>, Test>,
    /// The client's address is in one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<Network>,
    /// The client came over TLS, or didn't.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<bool>,
}

/// What one value must be. Case matters. Written `"present"`, `"absent"`, `{"is": …}`, `{"one_of": […]}`, `{"starts_with": …}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Test {
    Is(String),
    OneOf(Vec<String>),
    StartsWith(String),
    Present,
    Absent,
}

/// A request, as far as it may be asked.
pub trait Asks {
    fn method(&self) -> &[u8];

    /// The values of all field lines of that name, whatever its case.
    fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]>;

    /// Without the `?`.
    fn query(&self) -> &[u8];

    fn address(&self) -> IpAddr;

    fn is_tls(&self) -> bool;
}

impl When {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    /// How many conditions these are.
    #[must_use]
    pub fn count(&self) -> usize {
        let Self { methods, headers, cookies, query, from, tls } = self;
        usize::from(!methods.is_empty())
            + headers.len()
            + cookies.len()
            + query.len()
            + usize::from(!from.is_empty())
            + usize::from(tls.is_some())
    }

    /// Nothing is allocated to find out.
    #[must_use]
    pub fn holds(&self, asks: &impl Asks) -> bool {
        let method = || self.methods.iter().any(|method| method.as_bytes() == asks.method());
        (self.methods.is_empty() || method())
            && self.tls.is_none_or(|tls| tls == asks.is_tls())
            && self.headers.iter().all(|(name, test)| test.passes(asks.header(name).map(Plain)))
            && self.cookies.iter().all(|(name, test)| test.passes(cookies(asks, name)))
            && self.query.iter().all(|(name, test)| test.passes(parameters(asks.query(), name)))
            && (self.from.is_empty() || self.from.iter().any(|network| network.covers(asks.address())))
    }
}

fn cookies<'a>(asks: &'a impl Asks, name: &'a str) -> impl Iterator<Item = Plain<'a>> {
    asks.header("cookie").flat_map(|field| cookie::values(field, name.as_bytes())).map(Plain)
}

/// The values of a query's parameters of that name.
fn parameters<'a>(query: &'a [u8], name: &'a str) -> impl Iterator<Item = Escaped<'a>> {
    let pairs = query.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
    pairs.filter_map(move |pair| {
        let equals = pair.iter().position(|byte| *byte == b'=');
        let (key, value) = pair.split_at(equals.unwrap_or(pair.len()));
        let value = value.strip_prefix(b"=").unwrap_or(value);
        Escaped(key).bytes().eq(name.bytes()).then_some(Escaped(value))
    })
}

/// A value that is looked at byte by byte.
trait Value {
    fn bytes(&self) -> impl Iterator<Item = u8>;

    fn is(&self, text: &str) -> bool {
        self.bytes().eq(text.bytes())
    }

    fn starts_with(&self, text: &str) -> bool {
        let mut bytes = self.bytes();
        text.bytes().all(|byte| bytes.next() == Some(byte))
    }
}

struct Plain<'a>(&'a [u8]);

impl Value for Plain<'_> {
    fn bytes(&self) -> impl Iterator<Item = u8> {
        self.0.iter().copied()
    }
}

/// As it stands in a query. What is no escape stands for itself.
struct Escaped<'a>(&'a [u8]);

impl Value for Escaped<'_> {
    fn bytes(&self) -> impl Iterator<Item = u8> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (byte, length) = match rest {
                [] => return None,
                [b'+', ..] => (b' ', 1),
                [b'%', high, low, ..] => match (digit(*high), digit(*low)) {
                    (Some(high), Some(low)) => (high << 4 | low, 3),
                    _ => (b'%', 1),
                },
                [byte, ..] => (*byte, 1),
            };
            rest = &rest[length..];
            Some(byte)
        })
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

impl Test {
    fn passes(&self, mut values: impl Iterator<Item = impl Value>) -> bool {
        match self {
            Self::Is(text) => values.any(|value| value.is(text)),
            Self::OneOf(texts) => values.any(|value| texts.iter().any(|text| value.is(text))),
            Self::StartsWith(text) => values.any(|value| value.starts_with(text)),
            Self::Present => values.next().is_some(),
            Self::Absent => values.next().is_none(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A request of a test.
    #[derive(Debug, Clone)]
    pub(crate) struct Request {
        pub(crate) method: &'static str,
        pub(crate) headers: Vec<(&'static str, &'static str)>,
        pub(crate) query: &'static str,
        pub(crate) address: &'static str,
        pub(crate) tls: bool,
    }

    impl Default for Request {
        fn default() -> Self {
            Self { method: "GET", headers: Vec::new(), query: "", address: "192.0.2.7", tls: false }
        }
    }

    impl Asks for Request {
        fn method(&self) -> &[u8] {
            self.method.as_bytes()
        }

        fn header<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
            let of_name = self.headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
            of_name.map(|(_, value)| value.as_bytes())
        }

        fn query(&self) -> &[u8] {
            self.query.as_bytes()
        }

        fn address(&self) -> IpAddr {
            self.address.parse().unwrap()
        }

        fn is_tls(&self) -> bool {
            self.tls
        }
    }

    fn holds(when: &str, request: &Request) -> bool {
        serde_json::from_str::<When>(when).unwrap().holds(request)
    }

    #[test]
    fn every_condition_is_asked() {
        let request = Request {
            method: "POST",
            headers: vec![("X-Beta", "1"), ("x-beta", "2"), ("Cookie", "a=b; side=canary"), ("empty", "")],
            query: "v=2&name=J%C3%BCrgen+A&flag&v=3&%66oo=b%zz",
            address: "10.1.2.3",
            tls: true,
        };
        for (when, expected) in [
            ("{}", true),
            (r#"{"methods": ["GET", "POST"]}"#, true),
            (r#"{"methods": ["GET"]}"#, false),
            (r#"{"headers": {"x-beta": {"is": "2"}}}"#, true),
            (r#"{"headers": {"x-beta": {"is": "3"}}}"#, false),
            (r#"{"headers": {"X-BETA": {"one_of": ["3", "1"]}}}"#, true),
            (r#"{"headers": {"x-beta": "absent"}}"#, false),
            (r#"{"headers": {"empty": "present", "other": "absent"}}"#, true),
            (r#"{"headers": {"empty": {"starts_with": "a"}}}"#, false),
            (r#"{"cookies": {"side": {"is": "canary"}}}"#, true),
            (r#"{"cookies": {"side": {"starts_with": "can"}, "none": "present"}}"#, false),
            (r#"{"query": {"v": {"is": "3"}, "flag": "present"}}"#, true),
            (r#"{"query": {"name": {"is": "Jürgen A"}}}"#, true),
            (r#"{"query": {"name": {"starts_with": "Jürgen A!"}}}"#, false),
            (r#"{"query": {"foo": {"is": "b%zz"}}}"#, true),
            (r#"{"from": ["192.0.2.0/24", "10.0.0.0/8"]}"#, true),
            (r#"{"from": ["192.0.2.0/24"]}"#, false),
            (r#"{"tls": true}"#, true),
            (r#"{"tls": false}"#, false),
        ] {
            assert_eq!(holds(when, &request), expected, "{when}");
        }
    }

    #[test]
    fn conditions_are_counted() {
        let when: When = serde_json::from_str(
            r#"{"methods": ["GET", "POST"], "headers": {"a": "present", "b": "absent"}, "query": {"c": "present"}, "from": ["10.0.0.0/8"]}"#,
        )
        .unwrap();
        assert_eq!(when.count(), 5);
        assert!(When::default().is_empty());
    }
}
