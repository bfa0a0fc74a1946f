//! Names: DNS labels, checked when they are made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("a name can't be empty")]
    Empty,
    #[error("`{0}` is longer than 63 characters")]
    TooLong(String),
    #[error("`{name}` has `{found}` in it; a name has only a-z, 0-9 and `-`")]
    Character { name: String, found: char },
    #[error("`{0}` starts or ends with `-`")]
    Hyphen(String),
    #[error("`{0}` is not a replica's name, such as `web-2`")]
    Replica(String),
}

/// Checks that `text` is a DNS label (RFC 1123, lower case): 1 to 63 of a-z, 0-9, `-`, not at its ends.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_label(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > 63 {
        return Err(NameError::TooLong(text.to_owned()));
    }
    let odd = text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-'));
    if let Some(found) = odd {
        return Err(NameError::Character { name: text.to_owned(), found });
    }
    if text.starts_with('-') || text.ends_with('-') {
        return Err(NameError::Hyphen(text.to_owned()));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, utoipa::ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String)]
        pub struct $name(String);

        impl $name {
            /// # Errors
            /// When `text` is not a DNS label.
            pub fn new(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                check_label(&text)?;
                Ok(Self(text))
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// An app: what one `pando.yaml` describes.
    AppName
}
name! {
    /// A kind of thing that an app runs, such as `web` or `worker`.
    ProcessName
}
name! {
    /// A machine of the cluster.
    ServerName
}
name! {
    /// What a server is for. `web`, `worker`, `cron`, `lb`, `db`, `cache` and `control` have a meaning; others are free.
    RoleName
}
name! {
    /// PostgreSQL, Redis, … that an app uses.
    ServiceName
}

impl ProcessName {
    /// The process that domains go to and that a file without `processes` describes.
    #[must_use]
    pub fn web() -> Self {
        Self("web".to_owned())
    }
}

impl RoleName {
    #[must_use]
    pub fn web() -> Self {
        Self("web".to_owned())
    }

    #[must_use]
    pub fn lb() -> Self {
        Self("lb".to_owned())
    }
}

/// The stable name of a replica in its app: process and ordinal from 1, shown `web-2`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ReplicaName {
    pub process: ProcessName,
    pub ordinal: u32,
}

impl utoipa::PartialSchema for ReplicaName {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        String::schema()
    }
}

impl utoipa::ToSchema for ReplicaName {}

impl ReplicaName {
    #[must_use]
    pub fn new(process: ProcessName, ordinal: u32) -> Self {
        Self { process, ordinal }
    }
}

impl FromStr for ReplicaName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let bad = || NameError::Replica(text.to_owned());
        let (process, ordinal) = text.rsplit_once('-').ok_or_else(bad)?;
        let ordinal: u32 = ordinal.parse().map_err(|_| bad())?;
        if ordinal == 0 {
            return Err(bad());
        }
        Ok(Self { process: ProcessName::new(process)?, ordinal })
    }
}

impl TryFrom<String> for ReplicaName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        text.parse()
    }
}

impl From<ReplicaName> for String {
    fn from(name: ReplicaName) -> Self {
        name.to_string()
    }
}

impl fmt::Display for ReplicaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}-{}", self.process, self.ordinal))
    }
}

impl fmt::Debug for ReplicaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "web", "web-2", "0", &"a".repeat(63)] {
            assert!(AppName::new(good).is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a.b", "é", &"a".repeat(64)] {
            assert!(AppName::new(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn replica_names_round_trip() {
        let name: ReplicaName = "my-web-12".parse().unwrap();
        assert_eq!((name.process.as_str(), name.ordinal), ("my-web", 12));
        assert_eq!(name.to_string(), "my-web-12");
        for bad in ["web", "web-0", "web-x", "-1", "web-"] {
            assert!(bad.parse::<ReplicaName>().is_err(), "{bad}");
        }
    }
}
