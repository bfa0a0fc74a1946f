//! Why a request is not taken.

/// What is wrong with a request's head. None of it may reach an endpoint, and the connection it came on is at its end: where
/// the next request would begin is a matter of opinion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("The request line is malformed.")]
    RequestLine,
    #[error("The request target is malformed.")]
    Target,
    #[error("The request target has a fragment.")]
    Fragment,
    #[error("The request target's scheme is not http.")]
    Scheme,
    #[error("The request target has user information.")]
    UserInformation,
    #[error("The request target and the Host header name different hosts.")]
    TwoHosts,
    #[error("There is no Host header.")]
    NoHost,
    #[error("There is more than one Host header.")]
    Hosts,
    #[error("The Host header is malformed.")]
    Host,
    #[error("A header is malformed.")]
    Field,
    #[error("A line does not end with CR and LF.")]
    LineEnd,
    #[error("The Content-Length header is malformed, or there are several.")]
    Length,
    #[error("There is a Content-Length beside a Transfer-Encoding.")]
    LengthAndCoding,
    #[error("HTTP/1.0 has no Transfer-Encoding.")]
    CodingInOld,
    #[error("The Connection header names what every request needs on its whole way.")]
    Nomination,
    #[error("An upgrade is asked for along with a body.")]
    UpgradeWithBody,
    /// 501.
    #[error("The only transfer coding understood here is `chunked`, once.")]
    Coding,
    /// 505.
    #[error("The only versions understood here are HTTP/1.0 and HTTP/1.1.")]
    Version,
    /// 414.
    #[error("The request target is too long.")]
    LongTarget,
    /// 431.
    #[error("The request's headers are too large.")]
    LargeHead,
    /// 431.
    #[error("The request has too many headers.")]
    ManyFields,
}

impl Refusal {
    /// The status to answer with: 400, 414, 431, 501 or 505.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Coding => 501,
            Self::Version => 505,
            Self::LongTarget => 414,
            Self::LargeHead | Self::ManyFields => 431,
            _ => 400,
        }
    }
}
