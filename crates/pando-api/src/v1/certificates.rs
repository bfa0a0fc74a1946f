//! Certificates for visitors: which there are, what they serve, which domains lack one.

use pando_model::name::AppName;
use pando_model::time::Timestamp;
use pando_routing::SecretText;
use serde::{Deserialize, Serialize};

use super::balancers::DomainOwner;

/// `GET /v1/certificates`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CertificateList {
    pub now: Timestamp,
    /// By name.
    pub certificates: Vec<CertificateInfo>,
    /// Domains of apps that no certificate is for, by name. Visitors who come by TLS get one that nobody vouches for.
    pub missing: Vec<DomainOwner>,
}

/// All that is told of a certificate; its key never is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CertificateInfo {
    /// One of its domains.
    pub name: String,
    pub source: CertificateSource,
    /// The hosts that it is used for; `*.example.com` stands for one label.
    pub domains: Vec<String>,
    /// The hosts that it could be used for.
    pub names: Vec<String>,
    /// For people, such as `R11, Let's Encrypt`.
    pub issuer: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// Such as `ECDSA P-256`.
    pub key: String,
    /// SHA-256 of the host's certificate, in hexadecimal digits.
    pub fingerprint: String,
    pub added_at: Timestamp,
    /// Whose token it was.
    pub added_by: String,
    /// The apps whose domains it serves.
    #[schema(value_type = Vec<String>)]
    pub apps: Vec<AppName>,
}

impl CertificateInfo {
    /// Whole days until it expires; negative once it has.
    #[must_use]
    pub fn days_left(&self, now: Timestamp) -> i64 {
        (self.not_after.as_millis() - now.as_millis()).div_euclid(24 * 3600 * 1000)
    }
}

/// Who sees to it that there is a valid one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateSource {
    /// Somebody, who brings the next one too.
    #[default]
    Imported,
    /// The control plane.
    Automatic,
}

/// `POST /v1/certificates`. From then on its domains are answered with it; the certificates that they had lose them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateImport {
    /// The host's certificate first, then those that lead to its authority. At most 64 KiB.
    pub chain_pem: String,
    /// PKCS #8, PKCS #1 or SEC 1. At most 16 KiB.
    #[schema(value_type = String)]
    pub key_pem: SecretText,
    /// What it is to be used for. Default: all its names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub domains: Vec<String>,
    /// Even when a domain is left without a certificate.
    #[serde(default)]
    pub force: bool,
}

/// What an import came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CertificateImported {
    pub certificate: CertificateInfo,
    /// Certificates that are gone since this one took all their domains.
    pub replaced: Vec<String>,
    /// What is worth knowing of it, a line each.
    pub remarks: Vec<String>,
}

/// The query of `DELETE /v1/certificates/{certificate}`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct CertificateRemoveQuery {
    /// Even when a domain of an app is left without a certificate.
    #[serde(default)]
    pub force: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_counted_down_and_below_zero() {
        let info: CertificateInfo = serde_json::from_str(
            r#"{"name":"a.example","source":"imported","domains":[],"names":[],"issuer":"x","not_before":"2026-01-01T00:00:00.000Z",
                "not_after":"2026-01-11T00:00:00.000Z","key":"RSA 2048","fingerprint":"00","added_at":"2026-01-01T00:00:00.000Z",
                "added_by":"me","apps":[]}"#,
        )
        .unwrap();
        let day = |n: i64| Timestamp::from_millis(info.not_before.as_millis() + n * 24 * 3600 * 1000);
        assert_eq!([0, 9, 10, 11].map(|n| info.days_left(day(n))), [10, 1, 0, -1]);
    }

    #[test]
    fn a_key_is_not_printed() {
        let import = CertificateImport {
            chain_pem: String::new(),
            key_pem: SecretText("hush".to_owned()),
            domains: Vec::new(),
            force: false,
        };
        assert!(!format!("{import:?}").contains("hush"));
    }
}
