//! Container images: what they run on, and the layers that they are made of.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::release::Digest;

/// What an image runs on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Platform {
    pub os: String,
    /// In the words of Go: `amd64`, `arm64`, …
    pub architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// Whether `self` can be expected to run where `there` is native. The variant decides only where both name one.
    #[must_use]
    pub fn runs_on(&self, there: &Self) -> bool {
        let variants = self.variant.as_ref().zip(there.variant.as_ref());
        self.os == there.os
            && self.architecture == there.architecture
            && variants.is_none_or(|(one, other)| one == other)
    }

    /// From what the kernel calls its machine: `x86_64`, `aarch64`, …
    #[must_use]
    pub fn of_machine(machine: &str) -> Self {
        let (architecture, variant) = match machine {
            "x86_64" | "amd64" => ("amd64", None),
            "aarch64" | "arm64" => ("arm64", None),
            "armv7l" => ("arm", Some("v7")),
            "armv6l" => ("arm", Some("v6")),
            "i386" | "i686" => ("386", None),
            other => (other, None),
        };
        let (architecture, variant) = (architecture.to_owned(), variant.map(str::to_owned));
        Self { os: "linux".to_owned(), architecture, variant }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

/// One layer, as it is and as it travels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Layer {
    /// The SHA-256 of its tar.
    pub diff_id: Digest,
    /// Of its tar.
    pub bytes: u64,
    /// The SHA-256 of the packed layer.
    pub packed: Digest,
    /// Of the packed layer.
    pub packed_bytes: u64,
}
