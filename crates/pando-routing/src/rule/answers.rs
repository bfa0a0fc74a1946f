//! What is done to answers: for pages of other origins, for the wire, for people who meet an error.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Which pages of other origins may read answers (the Fetch standard, "CORS protocol"). Preflights are answered by the proxy; headers of
/// the replica's own that say such things are replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    /// `https://app.example`, `https://*.example.com` (one or more labels), or `*`.
    pub origins: Vec<OriginMatch>,
    /// Default: `GET`, `HEAD` and `POST`.
    #[serde(default = "methods")]
    pub methods: Vec<String>,
    /// Headers of requests; `*`: whichever the page asks for. Default: those that need no leave.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<Arc<str>>,
    /// Headers of answers that pages may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expose: Vec<Arc<str>>,
    /// With cookies. Not together with the origin `*`.
    #[serde(default)]
    pub credentials: bool,
    /// How long browsers remember a preflight. Default 600 s; browsers have bounds of their own.
    #[serde(default = "max_age")]
    pub max_age_seconds: u32,
}

fn methods() -> Vec<String> {
    ["GET", "HEAD", "POST"].map(str::to_owned).into()
}

fn max_age() -> u32 {
    600
}

/// Origins of pages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum OriginMatch {
    Any,
    Exact(String),
    /// Scheme and what follows the first label, with a port if there is one: `https://*.example.com`.
    Wildcard {
        scheme: String,
        parent: String,
    },
}

impl OriginMatch {
    /// `origin` as a browser writes it.
    #[must_use]
    pub fn covers(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(known) => known == origin,
            Self::Wildcard { scheme, parent } => {
                let rest = origin.strip_prefix(&**scheme).and_then(|rest| rest.strip_prefix("://"));
                let labels = rest.and_then(|rest| rest.strip_suffix(&**parent)?.strip_suffix('.'));
                let is_label = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
                labels.is_some_and(|labels| {
                    labels.chars().all(is_label) && labels.split('.').all(|label| !label.is_empty())
                })
            }
        }
    }
}

impl FromStr for OriginMatch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let wrong = || {
            format!("`{text}` is not an origin such as `https://app.example`, `https://*.example.com` or `*`")
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let parent = rest.strip_prefix("*.");
        let name = parent.unwrap_or(rest);
        let fits = |c: char| {
            c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_' | ':' | '[' | ']')
        };
        let is_scheme =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
        if scheme.is_empty() || !scheme.chars().all(is_scheme) || name.is_empty() || !name.chars().all(fits) {
            return Err(wrong());
        }
        Ok(match parent {
            Some(parent) => Self::Wildcard { scheme: scheme.to_owned(), parent: parent.to_owned() },
            None => Self::Exact(text.to_owned()),
        })
    }
}

impl TryFrom<String> for OriginMatch {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<OriginMatch> for String {
    fn from(origin: OriginMatch) -> Self {
        match origin {
            OriginMatch::Any => "*".to_owned(),
            OriginMatch::Exact(text) => text,
            OriginMatch::Wildcard { scheme, parent } => format!("{scheme}://*.{parent}"),
        }
    }
}

/// Answers are made smaller for clients that can read them so. Never what is compressed already, is a part of something, or must not be
/// changed (`no-transform`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Compression {
    /// The client's own preference decides; among equals the first here. Default: zstd, brotli, gzip.
    pub encodings: Vec<Encoding>,
    /// What `Content-Type` must be, without its parameters; `text/*` is all of a kind. Default: texts, JSON, XML, JavaScript, SVG, WebAssembly, fonts
    /// that are not compressed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub types: Option<Vec<Arc<str>>>,
    /// Answers that say that they are smaller stay as they are. Default 1,024.
    pub min_bytes: u64,
    /// `text/event-stream` too; each event is sent on at once. Default false.
    pub event_streams: bool,
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            encodings: vec![Encoding::Zstd, Encoding::Br, Encoding::Gzip],
            types: None,
            min_bytes: 1_024,
            event_streams: false,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Encoding {
    Zstd,
    Br,
    Gzip,
}

impl Encoding {
    /// As `Content-Encoding` names it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Br => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// Pages for errors, by status.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ErrorPages {
    /// `503` for one, `5xx` for its class; the one status wins.
    pub pages: BTreeMap<Statuses, ErrorPage>,
    /// They stand in for the replica's own answers of 500 and above, too. Default false.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub replica_errors: bool,
}

impl ErrorPages {
    /// The page for a status.
    #[must_use]
    pub fn find(&self, status: u16) -> Option<&ErrorPage> {
        let class = || self.pages.get(&Statuses::Class(status / 100));
        self.pages.get(&Statuses::One(status)).or_else(class)
    }
}

/// Which statuses a page is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Statuses {
    One(u16),
    /// The first digit.
    Class(u16),
}

impl TryFrom<String> for Statuses {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is neither a status such as `503` nor a class such as `5xx`, from 400 on");
        match text.strip_suffix("xx") {
            Some("4") => Ok(Self::Class(4)),
            Some("5") => Ok(Self::Class(5)),
            Some(_) => Err(wrong()),
            None => {
                let status = text.parse().map_err(|_| wrong())?;
                if (400..600).contains(&status) && text.len() == 3 {
                    Ok(Self::One(status))
                } else {
                    Err(wrong())
                }
            }
        }
    }
}

impl From<Statuses> for String {
    fn from(statuses: Statuses) -> Self {
        statuses.to_string()
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(status) => write!(f, "{status}"),
            Self::Class(class) => write!(f, "{class}xx"),
        }
    }
}

/// One page, in the formats that clients may ask for; a format that is missing is the proxy's own. `{status}`, `{reason}`, `{message}` and
/// `{request_id}` are put in, escaped as the format needs it; any other brace stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ErrorPage {
    /// At most 64 KiB, as the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<Arc<str>>,
}

impl ErrorPage {
    pub(crate) fn texts(&self) -> impl Iterator<Item = &Arc<str>> {
        [&self.html, &self.json, &self.text].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_covered_whole() {
        let covers = |text: &str, origin: &str| text.parse::<OriginMatch>().unwrap().covers(origin);
        assert!(covers("*", "https://a.example") && covers("*", "null"));
        assert!(covers("https://a.example", "https://a.example"));
        assert!(
            !covers("https://a.example", "http://a.example")
                && !covers("https://a.example", "https://a.example:8443")
        );
        let wild = "https://*.example.com";
        assert!(covers(wild, "https://a.example.com") && covers(wild, "https://a.b.example.com"));
        for other in [
            "https://example.com",
            "https://.example.com",
            "https://evil-example.com",
            "https://evil.com/.example.com",
            "https://a..example.com",
            "http://a.example.com",
            "https://a.example.com:8443",
            "https://a.example.com.evil",
            "null",
        ] {
            assert!(!covers(wild, other), "{other}");
        }
        for wrong in
            ["a.example", "https://", "https://a.example/", "https://A.example", "https://a.*.b", "**"]
        {
            assert!(wrong.parse::<OriginMatch>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn one_status_goes_before_its_class() {
        let pages: ErrorPages = serde_json::from_str(
            r#"{"pages": {"503": {"text": "one"}, "5xx": {"text": "class"}, "4xx": {}}}"#,
        )
        .unwrap();
        let text = |status| pages.find(status).and_then(|page| page.text.as_deref());
        assert_eq!((text(503), text(500), text(404)), (Some("one"), Some("class"), None));
        assert!(pages.find(404).is_some() && pages.find(302).is_none());
        for wrong in ["3xx", "6xx", "200", "600", "+404", "xx", "40"] {
            assert!(Statuses::try_from(wrong.to_owned()).is_err(), "{wrong}");
        }
    }
}
