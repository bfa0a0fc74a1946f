//! Why there is no secure connection with an endpoint, in words and as a kind.

use std::io;

use pando_routing::balance::outlier::TlsFault;
use rustls::{AlertDescription, CertificateError, Error};

/// What went wrong in a handshake; inside an `io::Error`, so that opening a connection has one kind of error.
#[derive(Debug, thiserror::Error)]
#[error("no TLS: {fault}: {source}")]
pub(crate) struct NoTls {
    pub(crate) fault: TlsFault,
    source: io::Error,
}

impl NoTls {
    pub(super) fn of(source: io::Error) -> io::Error {
        let fault = source.get_ref().and_then(|inner| inner.downcast_ref()).map_or(TlsFault::Handshake, kind);
        io::Error::new(source.kind(), Self { fault, source })
    }

    pub(super) fn no_http2() -> io::Error {
        let source = io::Error::other("ALPN did not agree on `h2`");
        io::Error::other(Self { fault: TlsFault::NoHttp2, source })
    }

    /// The fault of an error of opening a connection, if it is one of TLS.
    pub(crate) fn fault(error: &io::Error) -> Option<TlsFault> {
        Some(error.get_ref()?.downcast_ref::<Self>()?.fault)
    }
}

/// An endpoint that speaks TLS 1.3 says after the handshake that it doesn't take what it was shown.
pub(crate) fn alert_of(error: &io::Error) -> Option<TlsFault> {
    match kind(error.get_ref()?.downcast_ref()?) {
        TlsFault::Handshake => None,
        fault => Some(fault),
    }
}

fn kind(error: &Error) -> TlsFault {
    match error {
        Error::InvalidCertificate(error) => of_certificate(error),
        Error::AlertReceived(alert) => of_alert(*alert),
        Error::NoApplicationProtocol => TlsFault::NoHttp2,
        _ => TlsFault::Handshake,
    }
}

fn of_certificate(error: &CertificateError) -> TlsFault {
    match error {
        CertificateError::UnknownIssuer => TlsFault::UnknownAuthority,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFault::OtherName
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => TlsFault::Expired,
        _ => TlsFault::BadCertificate,
    }
}

fn of_alert(alert: AlertDescription) -> TlsFault {
    match alert {
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateRevoked
        | AlertDescription::CertificateExpired
        | AlertDescription::CertificateUnknown
        | AlertDescription::UnknownCA
        | AlertDescription::AccessDenied
        | AlertDescription::CertificateRequired => TlsFault::Refused,
        AlertDescription::NoApplicationProtocol => TlsFault::NoHttp2,
        _ => TlsFault::Handshake,
    }
}
