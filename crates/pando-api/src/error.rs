//! What every refusal looks like.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The body of every answer with a status of 400 or above.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ErrorBody {
    pub code: ErrorCode,
    /// One sentence for a person: what was refused and why.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Further lines, such as the arithmetic of what does not fit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

impl ErrorBody {
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, details: Vec::new() }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    #[must_use]
    pub fn details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }
}

impl fmt::Display for ErrorBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// Why something was refused, for programs. A code that a reader does not know is read as [`ErrorCode::Unknown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// There is no such app, release, deployment, replica, token or path.
    NotFound,
    /// The state of things does not allow it, or it changed meanwhile: look again.
    Conflict,
    /// The words of the request are wrong.
    Invalid,
    /// The servers can't hold it.
    DoesNotFit,
    /// It would do harm.
    Harmful,
    /// Something else is under way.
    Busy,
    /// No token, or one that is not known or has expired.
    Unauthorized,
    /// The token does not allow it.
    Forbidden,
    TooLarge,
    /// The disk of the control server is full; nothing was changed.
    NoSpace,
    /// Not now: a part that is needed does not answer.
    Unavailable,
    /// A fault of Pando's own.
    Internal,
    #[serde(other)]
    Unknown,
}

impl ErrorCode {
    pub const ALL: [Self; 13] = [
        Self::NotFound,
        Self::Conflict,
        Self::Invalid,
        Self::DoesNotFit,
        Self::Harmful,
        Self::Busy,
        Self::Unauthorized,
        Self::Forbidden,
        Self::TooLarge,
        Self::NoSpace,
        Self::Unavailable,
        Self::Internal,
        Self::Unknown,
    ];

    /// The HTTP status that goes with it.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::NotFound => 404,
            Self::Conflict | Self::Busy | Self::Harmful => 409,
            Self::Invalid => 400,
            Self::DoesNotFit => 422,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::TooLarge => 413,
            Self::Unavailable => 503,
            Self::NoSpace => 507,
            Self::Internal | Self::Unknown => 500,
        }
    }

    /// What the command line exits with: 1 the work failed, 2 the words are wrong, 3 the cluster can't be reached, 4 refused
    /// because it would do harm.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::NotFound | Self::Invalid | Self::TooLarge => 2,
            Self::Unavailable => 3,
            Self::DoesNotFit | Self::Harmful | Self::Busy => 4,
            Self::Conflict
            | Self::Unauthorized
            | Self::Forbidden
            | Self::NoSpace
            | Self::Internal
            | Self::Unknown => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_from_a_later_version_is_read_as_unknown() {
        let body: ErrorBody = serde_json::from_str(r#"{"code":"on_fire","message":"it burns"}"#).unwrap();
        assert_eq!(body.code, ErrorCode::Unknown);
        assert_eq!(body.code.exit_code(), 1);
    }

    #[test]
    fn codes_round_trip_and_have_error_statuses() {
        for code in ErrorCode::ALL {
            let text = serde_json::to_string(&code).unwrap();
            assert_eq!(serde_json::from_str::<ErrorCode>(&text).unwrap(), code);
            assert!((400..600).contains(&code.status()), "{text}");
            assert!((1..=4).contains(&code.exit_code()), "{text}");
        }
    }
}
