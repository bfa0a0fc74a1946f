//! Certificates for visitors: whether what somebody brings can be served, judged before anything is changed.
//!
//! The same judgement is passed where the files are and where they are kept. It is about
//! chain, key and dates; for which hosts a certificate is used is for others to say.

mod fault;
mod key;

use pando_model::time::{Millis, Timestamp};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::oid_registry::{OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS, OID_X509_COMMON_NAME};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Name;

pub use fault::{Part, ServedFault, ServedRemark};

use crate::Fingerprint;

/// Bytes of a chain at most, and of a key. Handshakes carry the whole chain.
pub const MOST_CHAIN_BYTES: usize = 64 << 10;
pub const MOST_KEY_BYTES: usize = 16 << 10;

/// Certificates of a chain at most.
const MOST_CHAIN: usize = 10;

/// A clock may be behind by so much, the authority's or ours.
const SKEW: Millis = Millis::from_secs(24 * 3600);

/// What a certificate for visitors says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The hosts that it proves, in lower case, such as `example.com` or `*.example.com`.
    pub names: Vec<String>,
    /// Who issued it, for people: `R11, Let's Encrypt`.
    pub issuer: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    /// Such as `ECDSA P-256` or `RSA 2048`.
    pub key: String,
    /// Of the host's certificate alone.
    pub fingerprint: Fingerprint,
    /// What is worth knowing and stops nobody.
    pub remarks: Vec<ServedRemark>,
}

impl Served {
    /// Judges a chain and its key, both PEM, at `now`.
    ///
    /// # Errors
    /// Everything that is wrong, at least one.
    pub fn inspect(chain_pem: &str, key_pem: &str, now: Timestamp) -> Result<Self, Vec<ServedFault>> {
        let mut faults = Vec::new();
        let chain = chain(chain_pem).map_err(|fault| faults.push(fault)).unwrap_or_default();
        let key = key::read(key_pem).map_err(|fault| faults.push(fault)).ok();
        let parsed = parsed(&chain).map_err(|fault| faults.push(fault)).unwrap_or_default();
        let Some(own) = parsed.first() else { return Err(faults) };
        faults.extend(date_fault(own, now));
        faults.extend(purpose_fault(own));
        faults.extend(order_faults(&parsed));
        faults.extend(parsed.iter().enumerate().filter_map(|(n, one)| signature_fault(n + 1, one)));
        let names = names(own);
        if names.is_empty() {
            faults.push(ServedFault::NoName { common_name: common_name(own.subject()) });
        }
        let words = key::words(own).map_err(|fault| faults.push(fault)).unwrap_or_default();
        faults.extend(key.and_then(|key| key::other(&key, &chain[0])));
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok(Self {
            names,
            issuer: name_words(own.issuer()),
            not_before: moment(own.validity().not_before.timestamp()),
            not_after: moment(own.validity().not_after.timestamp()),
            key: words,
            fingerprint: Fingerprint::of(&chain[0]),
            remarks: remarks(&parsed),
        })
    }
}

fn chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, ServedFault> {
    let size = pem.len();
    if size > MOST_CHAIN_BYTES {
        return Err(ServedFault::Large { part: Part::Chain, size, most: MOST_CHAIN_BYTES });
    }
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match chain {
        Ok(chain) if chain.is_empty() => {
            Err(ServedFault::NoCertificate { is_key: pem.contains("PRIVATE KEY-----") })
        }
        Ok(chain) if chain.len() > MOST_CHAIN => Err(ServedFault::LongChain(chain.len())),
        Ok(chain) => Ok(chain),
        Err(error) => Err(ServedFault::Unreadable { place: 1, why: error.to_string() }),
    }
}

fn parsed<'a>(chain: &'a [CertificateDer<'_>]) -> Result<Vec<X509Certificate<'a>>, ServedFault> {
    let each = chain.iter().enumerate().map(|(n, der)| match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(ServedFault::Unreadable { place: n + 1, why: "something follows it".to_owned() }),
        Err(error) => Err(ServedFault::Unreadable { place: n + 1, why: error.to_string() }),
    });
    each.collect()
}

fn moment(seconds: i64) -> Timestamp {
    Timestamp::from_millis(seconds.saturating_mul(1000))
}

fn date_fault(own: &X509Certificate<'_>, now: Timestamp) -> Option<ServedFault> {
    let (from, until) =
        (moment(own.validity().not_before.timestamp()), moment(own.validity().not_after.timestamp()));
    if until < now {
        return Some(ServedFault::Expired { at: until });
    }
    (from > now + SKEW).then_some(ServedFault::TooEarly { from })
}

/// Made to prove something else than a server, and nothing besides.
fn purpose_fault(own: &X509Certificate<'_>) -> Option<ServedFault> {
    let purposes = own.extended_key_usage().ok().flatten()?.value;
    (!purposes.server_auth && !purposes.any).then_some(ServedFault::Purpose)
}

/// Each certificate was issued by the next.
fn order_faults(chain: &[X509Certificate<'_>]) -> Vec<ServedFault> {
    let pairs = chain.windows(2).enumerate().filter_map(|(n, pair)| {
        let [one, next] = pair else { return None };
        let named = one.issuer().as_raw() == next.subject().as_raw();
        // What the library can't check, such as a rare curve, is left to those who are shown it.
        let forged = || {
            matches!(
                one.verify_signature(Some(next.public_key())),
                Err(x509_parser::error::X509Error::SignatureVerificationError)
            )
        };
        (!named || forged()).then(|| ServedFault::Order {
            place: n + 1,
            issuer: name_words(one.issuer()),
            next: name_words(next.subject()),
        })
    });
    pairs.collect()
}

/// Signed by a hash that forgers have beaten. What signed itself proves nothing by that anyway.
fn signature_fault(place: usize, one: &X509Certificate<'_>) -> Option<ServedFault> {
    let algorithm = one.signature_algorithm.algorithm.to_id_string();
    // SHA-1 and MD5 with RSA, SHA-1 with ECDSA.
    let beaten = ["1.2.840.113549.1.1.5", "1.2.840.113549.1.1.4", "1.2.840.10045.4.1"];
    let is_root = one.subject() == one.issuer();
    (beaten.contains(&algorithm.as_str()) && !(is_root && place > 1)).then_some(ServedFault::Hash { place })
}

fn names(own: &X509Certificate<'_>) -> Vec<String> {
    let names = own.subject_alternative_name().ok().flatten();
    let names = names.map_or(&[][..], |names| &names.value.general_names);
    let dns = names.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    });
    dns.collect()
}

fn common_name(name: &X509Name<'_>) -> Option<String> {
    let mut names = name.iter_by_oid(&OID_X509_COMMON_NAME);
    names.next().and_then(|name| name.as_str().ok()).map(shown)
}

fn name_words(name: &X509Name<'_>) -> String {
    let organization = name.iter_organization().next().and_then(|one| one.as_str().ok()).map(shown);
    match (common_name(name), organization) {
        (Some(common), Some(organization)) if common != organization => format!("{common}, {organization}"),
        (Some(one), _) | (None, Some(one)) => one,
        (None, None) => shown(&name.to_string()),
    }
}

/// A stranger's text, fit for a terminal.
fn shown(text: &str) -> String {
    const MOST: usize = 80;
    text.chars().filter(|c| !c.is_control()).take(MOST).collect()
}

fn remarks(chain: &[X509Certificate<'_>]) -> Vec<ServedRemark> {
    let Some(own) = chain.first() else { return Vec::new() };
    let self_signed = own.subject() == own.issuer();
    let remark = match (self_signed, chain.len()) {
        (true, _) => Some(ServedRemark::SelfSigned),
        (false, 1) if names_its_issuer(own) => Some(ServedRemark::NoIntermediate),
        _ => None,
    };
    remark.into_iter().collect()
}

/// It says where the certificate lies that it was issued with: one that visitors don't have.
fn names_its_issuer(own: &X509Certificate<'_>) -> bool {
    own.extensions().iter().any(|extension| match extension.parsed_extension() {
        ParsedExtension::AuthorityInfoAccess(access) => {
            access.accessdescs.iter().any(|one| one.access_method == OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests;
