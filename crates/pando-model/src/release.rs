//! Releases: immutable versions of an app.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::app::{AppSpec, RunSource};
use crate::time::Timestamp;

/// A counter per app, from 1, shown `v42`.
#[derive(
    Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(transparent)]
#[schema(value_type = u64)]
pub struct ReleaseNumber(pub u64);

impl fmt::Display for ReleaseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("v{}", self.0))
    }
}

impl fmt::Debug for ReleaseNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for ReleaseNumber {
    type Err = String;

    /// `v42` or `42`.
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.strip_prefix('v').unwrap_or(text);
        match digits.parse() {
            Ok(number) if number > 0 => Ok(Self(number)),
            _ => Err(format!("`{text}` is not a release, such as `v42`")),
        }
    }
}

/// The SHA-256 of a packed release, 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String)]
pub struct Digest(String);

impl Digest {
    /// # Errors
    /// When `text` is not 64 lower-case hexadecimal digits.
    pub fn new(text: impl Into<String>) -> Result<Self, String> {
        let text = text.into();
        let hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() == 64 && hex {
            Ok(Self(text))
        } else {
            Err(format!("`{text}` is not a SHA-256 digest"))
        }
    }

    /// From what a hash function answers.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::new(text)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0[..12])
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::new(text)
    }
}

/// An immutable version of an app: what to run and every setting of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Release {
    pub number: ReleaseNumber,
    pub spec: AppSpec,
    /// The packed source. `None` for an image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact: Option<Digest>,
    pub created_at: Timestamp,
    /// The name of the token that made it.
    pub created_by: String,
}

impl Release {
    /// Servers can have it: it was packed and sent, or it is an image.
    #[must_use]
    pub fn can_be_had(&self) -> bool {
        self.artifact.is_some() || matches!(self.spec.run, RunSource::Image { .. })
    }
}
