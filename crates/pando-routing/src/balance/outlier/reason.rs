//! What became of a request, and why an endpoint was ejected: values that say it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How a request to an endpoint ended, as far as the endpoint is to blame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Success,
    /// The endpoint did not do its work. Counts in a row and against the ratio, and fails a trial.
    Failed(Failure),
    /// It answered, but not well. Counts against the ratio and fails a trial, not in a row: an app may well answer five such
    /// in a row.
    Poor(Failure),
}

impl Outcome {
    /// 502, 503 and 504 are failures; 429 and other 5xx but 501 and 505 are poor, which say something of the request; the rest
    /// is success.
    #[must_use]
    pub fn of_status(status: u16) -> Self {
        match status {
            502..=504 => Self::Failed(Failure::Status(status)),
            501 | 505 => Self::Success,
            429 | 500..=599 => Self::Poor(Failure::Status(status)),
            _ => Self::Success,
        }
    }
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// No connection.
    Connect,
    /// The connection broke before the answer was whole.
    Reset,
    /// No answer in time.
    Timeout,
    /// What it sent was no answer.
    Garbage,
    /// No secure connection.
    Tls(TlsFault),
    Status(u16),
}

/// Why there is no secure connection with an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsFault {
    /// Its certificate is from no authority that the pool believes.
    UnknownAuthority,
    /// Its certificate is for another name.
    OtherName,
    /// Its certificate is over, or has not begun yet.
    Expired,
    /// Its certificate is not good for something else.
    BadCertificate,
    /// It does not take what the proxy shows of itself, or wants something that the proxy doesn't have.
    Refused,
    /// It doesn't speak HTTP/2.
    NoHttp2,
    /// Anything else, such as an endpoint that speaks no TLS.
    Handshake,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownAuthority => "its certificate is from an authority that is not believed",
            Self::OtherName => "its certificate is for another name",
            Self::Expired => "its certificate has expired, or is not valid yet",
            Self::BadCertificate => "its certificate is not good",
            Self::Refused => "it did not take the proxy's certificate, or wants one",
            Self::NoHttp2 => "it does not speak HTTP/2",
            Self::Handshake => "the handshake failed",
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect => f.write_str("no connection"),
            Self::Reset => f.write_str("connection reset"),
            Self::Timeout => f.write_str("no answer in time"),
            Self::Garbage => f.write_str("not an HTTP answer"),
            Self::Tls(fault) => write!(f, "no TLS: {fault}"),
            Self::Status(status) => write!(f, "status {status}"),
        }
    }
}

/// Why an endpoint gets no requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Reason {
    Consecutive {
        failures: u32,
        last: Failure,
    },
    /// Of the last ten seconds.
    SuccessRatio {
        good: u64,
        all: u64,
    },
    /// It was to come back, and failed.
    Trial {
        last: Failure,
    },
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consecutive { failures, last } => {
                write!(f, "{failures} failures in a row, the last: {last}")
            }
            Self::SuccessRatio { good, all } => write!(f, "{good} of {all} requests in 10 s succeeded"),
            Self::Trial { last } => write!(f, "the request that was to bring it back failed: {last}"),
        }
    }
}

/// One ejection. Times are microseconds of the caller's clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ejection {
    pub reason: Reason,
    /// How often it was ejected, this time included, but for what is forgiven: one for each minute in rotation.
    pub times: u32,
    pub at: u64,
    /// From then on a trial is due.
    pub until: u64,
}
