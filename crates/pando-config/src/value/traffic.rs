//! Values of traffic rules: networks, names of fields, templates, patterns, rates, hashed passwords.
//!
//! What the routing table has a type for is read by that type.

use std::ops::RangeInclusive;

use pando_routing::policy::HashKey;
use pando_routing::rule::answers::{OriginMatch, Statuses};
use pando_routing::rule::{Pattern, Template};
use serde_json::{Value as Json, json};

use crate::decode::{Leaf, Wrong};
use crate::diagnostic::quoted;
use crate::tree::{Kind, Scalar};

macro_rules! routed {
    ($($(#[doc = $about:expr])* $name:ident($inner:ty) = $expected:literal, $pattern:literal;)*) => {$(
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct $name(pub(crate) $inner);

        impl Leaf for $name {
            fn expected() -> String {
                $expected.to_owned()
            }

            fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
                if scalar.text.trim().is_empty() {
                    return Err(Wrong::because("this is empty"));
                }
                <$inner>::try_from(scalar.text.clone()).map(Self).map_err(|why| Wrong::because(why.to_string()))
            }

            fn schema() -> Json {
                json!({"type": "string", "pattern": $pattern})
            }
        }
    )*};
}

routed! {
    /// Addresses that begin alike.
    Network(pando_routing::Network) = "an address or a range such as `10.0.0.0/8`", "^[0-9a-fA-F.:]+(/[0-9]{1,3})?$";
    /// A text in which variables are filled in.
    Filled(Template) = "a text, perhaps with variables such as `{host}`", "^[^\\x00-\\x1f]+$";
    /// A path with places in it.
    PathPattern(Pattern) = "a pattern such as `/users/{id}`", "^/[^?#\\s]*$";
    /// Whose pages may read answers.
    Origin(OriginMatch) = "an origin such as `https://app.example.com`, `https://*.example.com` or `*`", "^(\\*|[a-z][-+.a-z0-9]*://[^/]+)$";
}

/// 200 to 599, as digits; or a class of errors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ErrorStatuses(pub(crate) Statuses);

impl Leaf for ErrorStatuses {
    fn expected() -> String {
        "a status such as `503` or a class such as `5xx`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        Statuses::try_from(scalar.text.to_ascii_lowercase()).map(Self).map_err(Wrong::because)
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^([45][0-9][0-9]|[45]xx)$"})
    }
}

/// A token of RFC 9110: the name of a header, a method.
fn is_token(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    (1..=256).contains(&text.len()) && text.chars().all(fits)
}

const TOKEN: &str = "^[-!#$%&'*+.^_`|~0-9A-Za-z]{1,256}$";

/// The name of a header, in any case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeaderName(pub(crate) String);

impl Leaf for HeaderName {
    fn expected() -> String {
        "the name of a header such as `X-Beta`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let wrong = || Wrong::default().hint("a header's name has letters, digits and `-`");
        is_token(&scalar.text).then(|| Self(scalar.text.to_ascii_lowercase())).ok_or_else(wrong)
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": TOKEN})
    }
}

/// A method, in capitals.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Method(pub(crate) String);

impl Leaf for Method {
    fn expected() -> String {
        "a method such as `GET`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let capitals = scalar.text.to_ascii_uppercase();
        if !is_token(&scalar.text) {
            return Err(Wrong::default());
        }
        if capitals != scalar.text {
            return Err(Wrong::with_hint(format!("methods are in capitals: `{capitals}`")));
        }
        Ok(Self(capitals))
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": TOKEN})
    }
}

/// The name of a cookie: a token (RFC 6265).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CookieName(pub(crate) String);

impl Leaf for CookieName {
    fn expected() -> String {
        "the name of a cookie".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let wrong = || Wrong::with_hint("letters, digits, `_` and `-` are safe");
        is_token(&scalar.text).then(|| Self(scalar.text.clone())).ok_or_else(wrong)
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": TOKEN})
    }
}

/// `header NAME`, `cookie NAME`, or one of some words.
fn keyed<'a>(text: &'a str, words: &[&'static str]) -> Result<(&'a str, &'a str), Wrong> {
    let mut parts = text.split_whitespace();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(word), None, None) if words.contains(&word) => Ok((word, "")),
        (Some(kind @ ("header" | "cookie")), Some(name), None) if is_token(name) => Ok((kind, name)),
        (Some(kind @ ("header" | "cookie")), None, None) => {
            Err(Wrong::with_hint(format!("name it: `{kind} NAME`")))
        }
        _ => Err(Wrong::default()),
    }
}

/// What decides where a request belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HashOn(pub(crate) HashKey);

impl Leaf for HashOn {
    fn expected() -> String {
        "`header NAME`, `cookie NAME`, `address` or `path`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        Ok(Self(match keyed(&scalar.text, &["address", "path"])? {
            ("header", name) => HashKey::Header(name.to_ascii_lowercase().into()),
            ("cookie", name) => HashKey::Cookie(name.into()),
            ("path", _) => HashKey::Path,
            _ => HashKey::Address,
        }))
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^(address|path|(header|cookie) +[^ ]+)$"})
    }
}

/// Whom requests are counted for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CountedBy {
    Address,
    Network,
    Header(String),
    Cookie(String),
    Everyone,
}

impl Leaf for CountedBy {
    fn expected() -> String {
        "`address`, `network`, `header NAME`, `cookie NAME` or `everyone`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        Ok(match keyed(&scalar.text, &["address", "network", "everyone"])? {
            ("header", name) => Self::Header(name.to_ascii_lowercase()),
            ("cookie", name) => Self::Cookie(name.to_owned()),
            ("network", _) => Self::Network,
            ("everyone", _) => Self::Everyone,
            _ => Self::Address,
        })
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^(address|network|everyone|(header|cookie) +[^ ]+)$"})
    }
}

/// So many in so many seconds: `10/s`, `100/m`, `1000/h`, `5/30s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) requests: u32,
    pub(crate) seconds: u32,
}

impl Leaf for Rate {
    fn expected() -> String {
        "a rate such as `100/m`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let wrong = || Wrong::with_hint("a count and a time: `10/s`, `100/m`, `1000/h`, `5/30s`");
        let (requests, time) = scalar.text.split_once('/').ok_or_else(wrong)?;
        let requests: u32 = requests.trim().parse().map_err(|_| wrong())?;
        let time = time.trim();
        let digits = time.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let count: u32 = if digits.is_empty() { 1 } else { digits.parse().map_err(|_| wrong())? };
        let unit = match &time[digits.len()..] {
            "s" | "sec" | "second" => 1,
            "m" | "min" | "minute" => 60,
            "h" | "hour" => 3_600,
            "d" | "day" => 86_400,
            _ => return Err(wrong()),
        };
        let seconds = count.saturating_mul(unit);
        if !(1..=1_000_000).contains(&requests) || !(1..=86_400).contains(&seconds) {
            let reason = format!("{} is not 1 to 1000000 requests in 1 s to 1 day", quoted(&scalar.text));
            return Err(Wrong::because(reason));
        }
        Ok(Self { requests, seconds })
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[0-9]+ ?/ ?[0-9]*(s|sec|second|m|min|minute|h|hour|d|day)$"})
    }
}

/// A password, hashed by bcrypt or SHA-512-crypt. What it is exactly is for the routing table to say.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct PasswordHash(pub(crate) String);

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(…)")
    }
}

impl Leaf for PasswordHash {
    fn expected() -> String {
        "a hashed password such as `$2y$10$…`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let known = ["$2a$", "$2b$", "$2y$", "$6$"].iter().any(|prefix| scalar.text.starts_with(prefix));
        let hint = "`htpasswd -nB NAME` and `openssl passwd -6` ask for a password and print its hash";
        let wrong =
            || Wrong::because("a password must not be readable here: write its hash").hint(hint).secret();
        known.then(|| Self(scalar.text.clone())).ok_or_else(wrong)
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^\\$(2[aby]|6)\\$.+$"})
    }
}

/// One status, a class of them (`2xx`), or a range (`200-299`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StatusRange(pub(crate) RangeInclusive<u16>);

impl Leaf for StatusRange {
    fn expected() -> String {
        "a status such as `200`, `2xx` or `200-299`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let text = scalar.text.to_ascii_lowercase();
        let status = |text: &str| {
            text.parse::<u16>().ok().filter(|status| (100..600).contains(status)).ok_or_else(Wrong::default)
        };
        if let Some(class) = text.strip_suffix("xx") {
            let first = status(&format!("{class}00"))?;
            return Ok(Self(first..=first + 99));
        }
        let (first, last) = text.split_once('-').unwrap_or((&text, &text));
        let range = status(first.trim())?..=status(last.trim())?;
        if range.is_empty() {
            return Err(Wrong::with_hint("the lower one goes first"));
        }
        Ok(Self(range))
    }

    fn schema() -> Json {
        json!({"anyOf": [
            {"type": "integer", "minimum": 100, "maximum": 599},
            {"type": "string", "pattern": "^[1-5]([0-9]{2}|[xX]{2}|[0-9]{2} ?- ?[1-5][0-9]{2})$"},
        ]})
    }
}

/// A media type such as `text/html`, or `text/*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediaType(pub(crate) String);

impl Leaf for MediaType {
    fn expected() -> String {
        "a media type such as `text/html` or `text/*`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let halves = scalar.text.split_once('/').filter(|(kind, sub)| is_token(kind) && is_token(sub));
        halves.map(|_| Self(scalar.text.to_ascii_lowercase())).ok_or_else(Wrong::default)
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^[^/ ]+/[^/ ]+$"})
    }
}

/// How far above its share an endpoint may go, in percent: `101%` to `1000%`, or `0%` for no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HashBound(pub(crate) u32);

impl Leaf for HashBound {
    fn expected() -> String {
        "a percentage from `101%` to `1000%`, or `0%`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let digits = scalar.text.strip_suffix('%').ok_or_else(Wrong::default)?;
        let percent: u32 = digits.parse().map_err(|_| Wrong::default())?;
        let fits = percent == 0 || (101..=1000).contains(&percent);
        fits.then_some(Self(percent)).ok_or_else(Wrong::default)
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^(0|10[1-9]|1[1-9][0-9]|[2-9][0-9]{2}|1000)%$"})
    }
}

/// Text, an integer or a truth value, as it was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word(pub(crate) String);

impl Leaf for Word {
    fn expected() -> String {
        "a value".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        if scalar.kind == Kind::Bool {
            return Err(Wrong::with_hint("put it in quotes if the text itself is meant"));
        }
        Ok(Self(scalar.text.clone()))
    }

    fn schema() -> Json {
        json!({"type": ["string", "number"]})
    }
}

/// Where a redirect leads: a path, or a URL whose path may be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RedirectTo {
    pub(crate) https: Option<bool>,
    pub(crate) host: Option<pando_routing::Host>,
    pub(crate) port: Option<u16>,
    pub(crate) path: Option<Template>,
}

impl Leaf for RedirectTo {
    fn expected() -> String {
        "a path such as `/new`, or a URL such as `https://example.com/new`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let text = &scalar.text;
        let path = |text: &str| text.parse::<Template>().map_err(Wrong::because);
        if text.contains('?') {
            let hint = "leave it out: the query of the request comes along, unless `keep_query: false`";
            return Err(Wrong::because("a redirect leads to a path without a query").hint(hint));
        }
        if text.starts_with('/') {
            return Ok(Self { https: None, host: None, port: None, path: Some(path(text)?) });
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(Wrong::default)?;
        let https = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(Wrong::default()),
        };
        let slash = rest.find('/').unwrap_or(rest.len());
        let (authority, below) = rest.split_at(slash);
        let (host, port) = match authority.rsplit_once(':').filter(|(_, port)| !port.contains(']')) {
            Some((host, port)) => (host, Some(port.parse().map_err(|_| Wrong::default())?)),
            None => (authority, None),
        };
        let host = host.parse().map_err(|why: String| Wrong::because(why))?;
        let path = if below.is_empty() { None } else { Some(path(below)?) };
        Ok(Self { https: Some(https), host: Some(host), port, path })
    }

    fn schema() -> Json {
        json!({"type": "string", "pattern": "^(/|https?://)[^?]*$"})
    }
}

/// Bytes, from `MIN` to `MAX`: `64KiB`, `1MB`, or a plain number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bytes<const MIN: u64, const MAX: u64>(pub(crate) u64);

impl<const MIN: u64, const MAX: u64> Leaf for Bytes<MIN, MAX> {
    fn expected() -> String {
        "a size such as `64KiB`".to_owned()
    }

    fn parse(scalar: &Scalar) -> Result<Self, Wrong> {
        let bytes = super::size::bytes(scalar)?;
        if (MIN..=MAX).contains(&bytes) {
            return Ok(Self(bytes));
        }
        Err(Wrong::because(format!("expected {MIN} to {MAX} bytes, found {}", quoted(&scalar.text))))
    }

    fn schema() -> Json {
        json!({"anyOf": [
            {"type": "integer", "minimum": MIN, "maximum": MAX},
            {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)? ?([kKmMgG]([iI]?[bB]?)?|[bB])?$"},
        ]})
    }
}
