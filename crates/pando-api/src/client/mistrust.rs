//! Failed connections whose reason is trust, told apart from absence: trying again does not mend them.

use pando_trust::tls::{Mistrust, tls_cause};
use rustls::{AlertDescription, CertificateError, Error};

use super::ClientError;
use super::error::Cause;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    NotTls,
    NotPlain,
    OtherCluster,
    OutOfTime,
    Refused,
}

/// Why, if trust is the reason.
pub(crate) fn of(error: &(dyn std::error::Error + 'static)) -> Option<Why> {
    if let Some(mistrust) = Mistrust::cause_of(error) {
        return Some(match mistrust {
            Mistrust::OutOfTime { .. } => Why::OutOfTime,
            Mistrust::OtherCluster { .. } | Mistrust::OtherName { .. } | Mistrust::Unreadable(_) => {
                Why::OtherCluster
            }
        });
    }
    match tls_cause(error) {
        Some(Error::InvalidMessage(_)) => Some(Why::NotTls),
        Some(Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature | CertificateError::BadEncoding,
        )) => Some(Why::OtherCluster),
        Some(Error::AlertReceived(alert)) if is_about_us(*alert) => Some(Why::Refused),
        Some(_) => None,
        None => is_alert_as_answer(error).then_some(Why::NotPlain),
    }
}

/// What the other end says of our certificate, or of there being none.
fn is_about_us(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::AccessDenied
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateRequired
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
    )
}

/// Who speaks TLS answers a plain request with an alert, which is no HTTP.
fn is_alert_as_answer(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        next = error.source();
    }
    false
}

impl Why {
    pub(crate) fn because(self, url: String, source: Cause) -> ClientError {
        match self {
            Self::NotTls => ClientError::NotTls { url, source },
            Self::NotPlain => ClientError::NotHttp { url, source },
            Self::OtherCluster => ClientError::OtherCluster { url, source },
            Self::OutOfTime => ClientError::OutOfTime { url, source },
            Self::Refused => ClientError::NotMember { url, source },
        }
    }
}
