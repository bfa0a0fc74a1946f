//! Identities on disk, and reports that they sign.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use pando_model::id::{Entropy, ServerId};
use pando_model::time::Millis;

use super::*;
use crate::Authority;

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn identity(authority: &Authority) -> Identity {
    let subject = Subject::Server(ServerId::new(NOW, &mut Entropy::from_seed(1)));
    let pending = PendingIdentity::make().unwrap();
    let pem = authority.issue(&pending.request().unwrap(), subject, NOW).unwrap();
    pending.certified(&pem, authority.anchor().clone(), NOW).unwrap()
}

fn authority() -> Authority {
    Authority::make("main", NOW).unwrap()
}

#[test]
fn an_identity_comes_back_from_disk_for_its_owner_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity.json");
    assert!(Identity::load(&path).unwrap().is_none());
    let identity = identity(&authority());
    identity.save(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let read = Identity::load(&path).unwrap().unwrap();
    assert_eq!((read.subject(), read.anchor()), (identity.subject(), identity.anchor()));
    let signature = read.sign_report(b"report").unwrap();
    let anchor = identity.anchor();
    assert!(anchor.verify_report(b"report", &signature, identity.certificate_pem(), NOW).is_ok());
    assert!(!format!("{read:?}").contains("PRIVATE") && !format!("{read:?}").contains(&read.key_pem[40..80]));
}

#[test]
fn damaged_and_mixed_up_files_are_named_and_not_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("identity.json");
    let (authority, other) = (authority(), authority());
    identity(&authority).save(&path).unwrap();
    let good = fs::read_to_string(&path).unwrap();
    let value = |path: &Path| serde_json::from_slice::<serde_json::Value>(&fs::read(path).unwrap()).unwrap();
    let one = value(&path);
    identity(&other).save(&path).unwrap();
    let foreign = value(&path);
    let mut mixed = one.clone();
    mixed["key"] = foreign["key"].clone();
    let mut keyless = one.clone();
    keyless["key"] = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n".into();
    let mut no_certificate = one.clone();
    no_certificate["certificate"] = foreign["authority"]["certificate"].clone();
    let damaged = [
        String::new(),
        "{".to_owned(),
        good[..good.len() / 2].to_owned(),
        good.replace("\"key\"", "\"kex\""),
        mixed.to_string(),
        keyless.to_string(),
        no_certificate.to_string(),
    ];
    for text in damaged {
        fs::write(&path, &text).unwrap();
        let error = Identity::load(&path).unwrap_err();
        assert!(matches!(error, TrustError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("identity.json") && !error.to_string().contains("PRIVATE"));
    }
    let unreadable = Identity::load(directory.path());
    assert!(matches!(unreadable, Err(TrustError::File { .. })));
}

#[test]
fn a_certificate_must_be_of_the_authority_and_for_the_key() {
    let (authority, other) = (authority(), authority());
    let subject = Subject::Control;
    let (one, two) = (PendingIdentity::make().unwrap(), PendingIdentity::make().unwrap());
    let for_two = authority.issue(&two.request().unwrap(), subject, NOW).unwrap();
    let foreign = other.issue(&one.request().unwrap(), subject, NOW).unwrap();
    let again = PendingIdentity::from_key_pem(&one.key_pem()).unwrap();
    let anchor = || authority.anchor().clone();
    assert!(matches!(one.certified(&for_two, anchor(), NOW), Err(TrustError::OtherKey)));
    assert!(matches!(again.certified(&foreign, anchor(), NOW), Err(TrustError::NotCertified { .. })));
    let late = NOW + Millis::from_secs(98 * 86_400);
    assert!(matches!(two.certified(&for_two, anchor(), late), Err(TrustError::NotCertified { .. })));
}

#[test]
fn a_report_is_its_authors_alone() {
    let authority = authority();
    let (author, other) = (identity(&authority), identity(&authority));
    let anchor = authority.anchor();
    let signature = author.sign_report(b"all is well").unwrap();
    let pem = author.certificate_pem();
    let peer = anchor.verify_report(b"all is well", &signature, pem, NOW).unwrap();
    assert_eq!((peer.subject, peer.expired), (author.subject(), false));
    let late = NOW + Millis::from_secs(10 * 86_400);
    assert!(anchor.verify_report(b"all is well", &signature, pem, late).unwrap().expired);
    for (report, signature, pem) in [
        (&b"all is wel"[..], signature.as_str(), pem),
        (b"all is well", &signature[2..], pem),
        (b"all is well", "", pem),
        (b"all is well", &signature, other.certificate_pem()),
        (b"all is well", &signature, anchor.pem()),
        (b"all is well", &signature, ""),
    ] {
        assert!(anchor.verify_report(report, signature, pem, NOW).is_err());
    }
    let elsewhere = Authority::make("main", NOW).unwrap();
    assert!(matches!(
        elsewhere.anchor().verify_report(b"all is well", &signature, pem, NOW),
        Err(TrustError::NotCertified { .. })
    ));
}
