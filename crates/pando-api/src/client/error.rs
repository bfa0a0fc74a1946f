//! How a call can fail, from the caller's point of view.

use std::time::Duration;

use pando_trust::Subject;

use crate::error::{ErrorBody, ErrorCode};

pub(crate) type Cause = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("`{url}` is not a control plane's address: {why}")]
    Address { url: String, why: String },
    /// Nothing was sent.
    #[error("can't reach the {} at {url}", who(.whom))]
    Unreachable { whom: Subject, url: String, source: Cause },
    /// Nothing was sent.
    #[error("what answers at {url} does not speak TLS: is it the control plane's port?")]
    NotTls { url: String, source: Cause },
    #[error("what answers at {url} does not speak HTTP: an address of a cluster begins with https://")]
    NotHttp { url: String, source: Cause },
    /// Nothing was sent.
    #[error("{url} is not the cluster that you know: it does not have a certificate of that authority")]
    OtherCluster { url: String, source: Cause },
    /// Nothing was sent.
    #[error(
        "the certificate of {url} is out of its time by more than 90 days: is the clock right, here and there?"
    )]
    OutOfTime { url: String, source: Cause },
    /// It took nothing.
    #[error(
        "{url} does not take this server's certificate: the server was removed, or was away for over 90 days. It can join again"
    )]
    NotMember { url: String, source: Cause },
    /// Whether the request took effect is not known.
    #[error("{url} did not answer within {} s", .after.as_secs())]
    TimedOut { url: String, after: Duration },
    /// Whether the request took effect is not known.
    #[error("the connection to {url} broke")]
    Broken { url: String, source: Cause },
    /// It answered, and said no.
    #[error("{0}")]
    Refused(ErrorBody),
    /// It answered what this client does not understand.
    #[error("{url} answered something else than expected: {what}")]
    Protocol { url: String, what: String },
    #[error("can't read `{path}`")]
    File { path: String, source: std::io::Error },
}

fn who(whom: &Subject) -> &'static str {
    match whom {
        Subject::Control => "control plane",
        Subject::Server(_) => "agent",
    }
}

impl ClientError {
    /// What the command line exits with; see [`ErrorCode::exit_code`].
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Address { .. } => 2,
            Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Broken { .. } => 3,
            Self::NotTls { .. }
            | Self::NotHttp { .. }
            | Self::OtherCluster { .. }
            | Self::OutOfTime { .. }
            | Self::NotMember { .. } => 3,
            Self::Refused(body) => body.code.exit_code(),
            Self::Protocol { .. } | Self::File { .. } => 1,
        }
    }

    /// The code of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            Self::Refused(body) => Some(body.code),
            _ => None,
        }
    }

    /// The control plane was not there, or went away: trying again may help.
    #[must_use]
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::TimedOut { .. } | Self::Broken { .. })
    }
}
