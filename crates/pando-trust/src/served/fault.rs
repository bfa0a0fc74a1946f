//! What is wrong with a certificate for visitors, and what to do about it.

use std::fmt;

use pando_model::time::Timestamp;

/// Which of the two texts a fault is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    Chain,
    Key,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "the chain",
            Self::Key => "the key",
        })
    }
}

/// Why a certificate can't be served. Says nothing of a key's content.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServedFault {
    #[error("it has {size} bytes; at most {most} are taken")]
    Large { part: Part, size: usize, most: usize },
    #[error("it has no certificate in PEM")]
    NoCertificate { is_key: bool },
    #[error("it has {0} certificates; at most 10 are taken")]
    LongChain(usize),
    #[error("certificate {place} can't be read: {why}")]
    Unreadable { place: usize, why: String },
    #[error("it expired on {}", day(*at))]
    Expired { at: Timestamp },
    #[error("it is not valid before {}", day(*from))]
    TooEarly { from: Timestamp },
    #[error("it is for other purposes than proving a server")]
    Purpose,
    #[error("certificate {place} was issued by `{issuer}`, and the one after it is not that but `{next}`")]
    Order { place: usize, issuer: String, next: String },
    #[error("certificate {place} is signed with a hash that can be forged (SHA-1 or MD5)")]
    Hash { place: usize },
    #[error("it names no host{}", common(common_name))]
    NoName { common_name: Option<String> },
    #[error("its key is too weak: {0}")]
    Weak(String),
    #[error("its key is of a kind that browsers don't know: {0}")]
    Kind(String),
    #[error("it has no private key in PEM")]
    NoKey { is_certificate: bool },
    #[error("it is encrypted, and nobody could be asked for its password")]
    Encrypted,
    #[error("it can't be used: {0}")]
    BadKey(String),
    #[error("it belongs to another certificate")]
    OtherKey,
}

impl ServedFault {
    /// Which text is to be mended.
    #[must_use]
    pub fn part(&self) -> Part {
        match self {
            Self::Large { part, .. } => *part,
            Self::NoKey { .. } | Self::Encrypted | Self::BadKey(_) | Self::OtherKey => Part::Key,
            _ => Part::Chain,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::Large { .. } | Self::LongChain(_) => {
                "give the host's certificate and those that lead to its authority, and no bundle of authorities"
            }
            Self::NoCertificate { is_key: true } => {
                "this is a key: give the certificate with `--cert` and the key with `--key`"
            }
            Self::NoCertificate { is_key: false } => {
                "give the chain as PEM (`-----BEGIN CERTIFICATE-----`); `openssl x509 -inform der -in FILE` turns DER into it"
            }
            Self::Unreadable { .. } => "take the file again from where it was issued",
            Self::Expired { .. } => "renew it where it was issued, and import the new one",
            Self::TooEarly { .. } => "import it from then on; if it is then already, set the clock right",
            Self::Purpose => "ask for one for TLS servers (`serverAuth`)",
            Self::Order { .. } => {
                "the host's certificate comes first, each one after it issued the one before: `cat host.pem intermediate.pem`"
            }
            Self::Hash { .. } | Self::Weak(_) | Self::Kind(_) => {
                "make a new key (ECDSA P-256, or RSA with 2048 bits or more) and have it certified anew"
            }
            Self::NoName { .. } => {
                "have it issued with the host as a `subjectAltName`: browsers look nowhere else"
            }
            Self::NoKey { is_certificate: true } => {
                "this is a certificate: give it with `--cert` and the key with `--key`"
            }
            Self::NoKey { is_certificate: false } => {
                "give the key as PEM (`-----BEGIN PRIVATE KEY-----`): PKCS #8, PKCS #1 or SEC 1"
            }
            Self::Encrypted => "decrypt it first: `openssl pkey -in FILE -out PLAIN`",
            Self::BadKey(_) => "take the file again from where the key was made",
            Self::OtherKey => "give the key that the certificate was asked for with",
        }
    }
}

/// What is worth knowing of a certificate that can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServedRemark {
    SelfSigned,
    NoIntermediate,
}

impl fmt::Display for ServedRemark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SelfSigned => "nobody vouches for it but itself: browsers warn their users",
            Self::NoIntermediate => {
                "it comes without the certificate that it was issued with: some clients will not trust it (authorities call \
                 the file with both `fullchain`)"
            }
        })
    }
}

fn common(name: &Option<String>) -> String {
    name.as_ref()
        .map(|name| format!(" (but for its common name `{name}`, which no browser reads)"))
        .unwrap_or_default()
}

fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}
