//! What the authority issues and signs, and what becomes of damaged secrets.

use pando_model::id::{Entropy, ServerId};
use rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

use super::*;
use crate::VerifyingKey;

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn authority() -> Authority {
    Authority::make("main", NOW).unwrap()
}

fn server() -> Subject {
    Subject::Server(ServerId::new(NOW, &mut Entropy::from_seed(1)))
}

#[test]
fn certificates_live_seven_days_and_say_whom_they_are_for() {
    let authority = authority();
    let pending = PendingIdentity::make().unwrap();
    let pem = authority.issue(&pending.request().unwrap(), server(), NOW).unwrap();
    let identity = pending.certified(&pem, authority.anchor().clone(), NOW).unwrap();
    assert_eq!(identity.subject(), server());
    assert_eq!(identity.not_after(), NOW + Millis::from_secs(7 * 86_400) + Millis(999));
    let half = NOW + Millis::from_secs((7 * 24 - 1) * 3600 / 2);
    assert!(identity.renew_at().since(half) < Millis::from_secs(1), "{}", identity.renew_at());
    let peer = authority.anchor().verify(&pem, NOW + Millis::from_secs(17 * 86_400)).unwrap();
    assert!(peer.expired && peer.subject == server());
    assert!(!authority.anchor().verify(&pem, NOW).unwrap().expired);
    // A clock that is slow by a week.
    assert!(!authority.anchor().verify(&pem, NOW - Millis::from_secs(7 * 86_400)).unwrap().expired);
}

#[test]
fn a_request_is_for_its_key_and_decides_nothing_else() {
    let authority = authority();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut greedy = CertificateParams::new(["control.pando".to_owned()]).unwrap();
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let request = greedy.serialize_request(&key).unwrap().pem().unwrap();
    let pem = authority.issue(&request, server(), NOW).unwrap();
    assert_eq!(authority.anchor().verify(&pem, NOW).unwrap().subject, server());
    let der = certificate_of(&pem, "").unwrap();
    let (_, parsed) = x509_parser::parse_x509_certificate(&der).unwrap();
    assert!(!parsed.is_ca());
}

#[test]
fn requests_of_one_key_are_known_as_such() {
    let (one, other) = (PendingIdentity::make().unwrap(), PendingIdentity::make().unwrap());
    let again = PendingIdentity::from_key_pem(&one.key_pem()).unwrap();
    let key = |pending: &PendingIdentity| request_key(&pending.request().unwrap()).unwrap();
    assert_eq!(key(&one), key(&again));
    assert_ne!(key(&one), key(&other));
    assert!(request_key("").is_err());
}

#[test]
fn requests_that_are_none_are_refused() {
    let authority = authority();
    let refused = |request: &str| {
        let error = authority.issue(request, server(), NOW).unwrap_err();
        assert!(matches!(error, TrustError::Request(_)), "{error}");
    };
    refused("");
    refused("-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n");
    for algorithm in [&PKCS_ECDSA_P384_SHA384, &PKCS_ED25519] {
        let key = KeyPair::generate_for(algorithm).unwrap();
        refused(&CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap());
    }
    // Its signature is of another key: a bit of the public key is turned.
    let good = CertificateParams::default()
        .serialize_request(&KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap())
        .unwrap();
    let mut der = good.der().to_vec();
    let end = der.len() - 1;
    der[end] ^= 1;
    let code = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der);
    refused(&format!("-----BEGIN CERTIFICATE REQUEST-----\n{code}\n-----END CERTIFICATE REQUEST-----\n"));
}

#[test]
fn the_stored_form_gives_the_same_authority_and_debug_shows_no_secret() {
    let authority = authority();
    let stored = serde_json::to_string(&authority).unwrap();
    let read: Authority = serde_json::from_str(&stored).unwrap();
    assert_eq!(read.anchor(), authority.anchor());
    let (one, other) = (authority.sign(Kind::Table, 7).unwrap(), read.sign(Kind::Table, 7).unwrap());
    assert_eq!(one, other);
    let pending = PendingIdentity::make().unwrap();
    let pem = read.issue(&pending.request().unwrap(), server(), NOW).unwrap();
    assert!(authority.anchor().verify(&pem, NOW).is_ok());
    let secret = serde_json::to_value(&authority).unwrap()["signing_key"].as_str().unwrap().to_owned();
    assert!(!format!("{authority:?} {:?}", authority.anchor()).contains(&secret[40..60]));
}

#[test]
fn mixed_up_secrets_are_refused() {
    let (one, other) = (authority(), authority());
    let mut mixed = serde_json::to_value(&one).unwrap();
    mixed["key"] = serde_json::to_value(&other).unwrap()["key"].clone();
    assert!(serde_json::from_value::<Authority>(mixed).unwrap_err().to_string().contains("another key"));
    for part in ["certificate", "key", "signing_key"] {
        let mut damaged = serde_json::to_value(&one).unwrap();
        damaged[part] = "00".into();
        assert!(serde_json::from_value::<Authority>(damaged).is_err(), "{part}");
    }
}

#[test]
fn a_clock_that_is_out_of_all_bounds_is_an_error() {
    for now in [i64::MIN, -1, 1, i64::MAX] {
        let made = Authority::make("main", Timestamp::from_millis(now));
        assert!(matches!(made, Err(TrustError::Clock)), "{now}");
    }
}

#[test]
fn what_is_signed_holds_for_its_kind_its_bytes_and_its_cluster_alone() {
    let (authority, other) = (authority(), authority());
    let key = authority.anchor().signing_key();
    let signed = authority.sign(Kind::Table, vec!["a", "b"]).unwrap().bytes;
    let opened: Signed<Vec<String>> = Signed::open(signed.clone(), key, Kind::Table).unwrap();
    assert_eq!(opened.value, ["a", "b"]);
    let refused = |bytes: &SignedBytes, key: &VerifyingKey, kind| {
        let error = bytes.verify::<Vec<String>>(key, kind).unwrap_err();
        assert!(matches!(error, TrustError::Signature(_)), "{error}");
    };
    refused(&signed, key, Kind::Assignment);
    refused(&signed, other.anchor().signing_key(), Kind::Table);
    refused(&SignedBytes { payload: signed.payload.replace('a', "c"), ..signed.clone() }, key, Kind::Table);
    refused(&SignedBytes { payload: format!("{} ", signed.payload), ..signed.clone() }, key, Kind::Table);
    for signature in ["", "zz", &signed.signature[2..], &"00".repeat(64)] {
        refused(&SignedBytes { signature: signature.to_owned(), ..signed.clone() }, key, Kind::Table);
    }
    // Signed, and not understood: that is another error.
    let odd = authority.sign(Kind::Table, 7).unwrap().bytes.verify::<Vec<String>>(key, Kind::Table);
    assert!(matches!(odd, Err(TrustError::Unreadable { .. })));
}
