//! What can go wrong with trust.

use std::path::PathBuf;

/// Why something is not trusted, or could not be made.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("can't make {what}")]
    Make { what: &'static str, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{what} can't be read: {why}")]
    Unreadable { what: &'static str, why: String },
    #[error("the clock says a time that no certificate can have: set it right")]
    Clock,
    #[error("the certificate request is none of pando's: {0}")]
    Request(String),
    #[error("the certificate is not of the cluster's authority")]
    NotCertified { source: Box<dyn std::error::Error + Send + Sync> },
    #[error("the certificate belongs to another key")]
    OtherKey,
    #[error("the signature of the {0} is wrong: it was damaged on its way, or another cluster signed it")]
    Signature(&'static str),
    #[error("`{text}` is not {what}: {why}")]
    Word { text: String, what: &'static str, why: &'static str },
    #[error("the join word is damaged: copy it whole, from its first letter to its last ({why})")]
    JoinWord { why: &'static str },
    #[error("can't {doing} `{}`", path.display())]
    File { doing: &'static str, path: PathBuf, source: std::io::Error },
    #[error("`{}` is damaged ({why}): restore it, or remove the server and let it join again", path.display())]
    Damaged { path: PathBuf, why: String },
}

impl TrustError {
    pub(crate) fn make(
        what: &'static str,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Make { what, source: source.into() }
    }
}
