//! Bearer tokens and what they allow.

use std::fmt;

use pando_model::id::ServerId;
use pando_model::name::AppName;
use serde::{Deserialize, Serialize};

/// A token's text, kept out of debug output and never serialized.
#[derive(Clone, PartialEq, Eq)]
pub struct Bearer(String);

/// How a token's text begins, so that people and scanners recognise one that leaked.
pub const PREFIX: &str = "pando_";

impl Bearer {
    /// Surrounding white space (a file's line end) is left out.
    ///
    /// # Errors
    /// When `text` can't stand in an HTTP header or is longer than 512 bytes.
    pub fn new(text: impl AsRef<str>) -> Result<Self, BearerError> {
        let text = text.as_ref().trim();
        let printable = text.bytes().all(|byte| (0x21..0x7f).contains(&byte));
        if text.is_empty() || text.len() > 512 || !printable {
            return Err(BearerError);
        }
        Ok(Self(text.to_owned()))
    }

    /// The secret itself, for the one place that needs it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The value of an `Authorization` header.
    #[must_use]
    pub fn header(&self) -> http::HeaderValue {
        let text = format!("Bearer {}", self.0);
        let mut value = http::HeaderValue::try_from(text).unwrap_or(http::HeaderValue::from_static("Bearer"));
        value.set_sensitive(true);
        value
    }

    /// Reads the value of an `Authorization` header.
    #[must_use]
    pub fn from_header(value: &http::HeaderValue) -> Option<Self> {
        let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| Self::new(token).ok()).flatten()
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bearer(hidden)")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a token is 1 to 512 printable ASCII characters without spaces")]
pub struct BearerError;

/// What a token allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "scope", rename_all = "snake_case")]
pub enum Scope {
    /// Look at everything, change nothing.
    Read,
    /// Everything about the named apps, and nothing about others.
    Deploy { apps: Vec<AppName> },
    /// Everything but speaking for an agent.
    Admin,
    /// One server's agent: its target, its reports, artifacts.
    Agent { server: ServerId },
    /// Join the cluster as a server, once.
    Join,
}

impl Scope {
    /// Whether it covers changes to `app`.
    #[must_use]
    pub fn may_change(&self, app: &AppName) -> bool {
        match self {
            Self::Admin => true,
            Self::Deploy { apps } => apps.contains(app),
            Self::Read | Self::Agent { .. } | Self::Join => false,
        }
    }

    /// Whether it covers looking at `app`.
    #[must_use]
    pub fn may_read(&self, app: &AppName) -> bool {
        matches!(self, Self::Read) || self.may_change(app)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read => f.write_str("read"),
            Self::Deploy { apps } => {
                let names: Vec<&str> = apps.iter().map(AppName::as_str).collect();
                write!(f, "deploy {}", names.join(", "))
            }
            Self::Admin => f.write_str("admin"),
            Self::Agent { server } => write!(f, "agent {server}"),
            Self::Join => f.write_str("join"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_from_headers_and_hidden_from_logs() {
        let token = Bearer::new(" pando_abc\n").unwrap();
        assert_eq!(Bearer::from_header(&token.header()), Some(token.clone()));
        assert!(!format!("{token:?} {:?}", token.header()).contains("abc"));
        for bad in ["", " ", "a b", "a\u{7f}", "é", &"x".repeat(513)] {
            assert!(Bearer::new(bad).is_err(), "{bad:?}");
        }
        for bad in ["", "Bearer", "Basic abc", "Bearer a b"] {
            assert_eq!(Bearer::from_header(&http::HeaderValue::from_static(bad)), None, "{bad:?}");
        }
    }

    #[test]
    fn deploy_tokens_cover_their_apps_alone() {
        let app = |name: &str| AppName::new(name).unwrap();
        let scope = Scope::Deploy { apps: vec![app("hits")] };
        assert!(scope.may_change(&app("hits")) && scope.may_read(&app("hits")));
        assert!(!scope.may_change(&app("shop")) && !scope.may_read(&app("shop")));
        assert!(Scope::Read.may_read(&app("shop")) && !Scope::Read.may_change(&app("shop")));
    }
}
