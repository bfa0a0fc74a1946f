use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);
const DAY: Millis = Millis::from_secs(24 * 3600);

type Issuer = CertifiedIssuer<'static, KeyPair>;

fn params(common: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name.push(DnType::CommonName, common);
    set_dates(&mut params, NOW - DAY, NOW + Millis::from_secs(90 * 24 * 3600));
    params
}

fn set_dates(params: &mut CertificateParams, from: Timestamp, until: Timestamp) {
    let since = |at: Timestamp| std::time::Duration::from_millis(u64::try_from(at.as_millis()).unwrap());
    params.not_before = rcgen::date_time_ymd(1970, 1, 1) + since(from);
    params.not_after = rcgen::date_time_ymd(1970, 1, 1) + since(until);
}

fn authority(common: &str, above: Option<&Issuer>) -> Issuer {
    let mut params = params(common, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::OrganizationName, "Example Trust");
    let key = KeyPair::generate().unwrap();
    match above {
        None => CertifiedIssuer::self_signed(params, key).unwrap(),
        Some(above) => CertifiedIssuer::signed_by(params, key, above).unwrap(),
    }
}

/// The host's certificate and its key.
fn issued(params: &CertificateParams, by: &Issuer) -> (String, String) {
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, by).unwrap().pem(), key.serialize_pem())
}

fn faults(chain: &str, key: &str) -> Vec<ServedFault> {
    Served::inspect(chain, key, NOW).unwrap_err()
}

#[test]
fn a_whole_chain_tells_what_it_is_for_and_until_when() {
    let root = authority("Root", None);
    let middle = authority("Middle", Some(&root));
    let (own, key) = issued(&params("a.example", &["A.example", "*.b.example"]), &middle);
    let served = Served::inspect(&format!("{own}{}", middle.pem()), &key, NOW).unwrap();
    assert_eq!(served.names, ["a.example", "*.b.example"]);
    assert_eq!((served.issuer.as_str(), served.key.as_str()), ("Middle, Example Trust", "ECDSA P-256"));
    assert_eq!((served.not_before, served.not_after), (NOW - DAY, NOW + Millis::from_secs(90 * 24 * 3600)));
    assert_eq!(served.remarks, []);
    let with_root = format!("{own}{}{}", middle.pem(), root.pem());
    assert_eq!(Served::inspect(&with_root, &key, NOW).unwrap(), served);
}

#[test]
fn a_chain_in_the_wrong_order_or_of_another_authority_is_refused() {
    let root = authority("Root", None);
    let (middle, other) = (authority("Middle", Some(&root)), authority("Other", Some(&root)));
    // The same name, another key.
    let double = authority("Middle", Some(&root));
    let (own, key) = issued(&params("a.example", &["a.example"]), &middle);
    for next in [other.pem(), root.pem(), double.pem()] {
        let faults = faults(&format!("{own}{next}"), &key);
        assert!(matches!(&faults[..], [ServedFault::Order { place: 1, .. }]), "{faults:?}");
    }
    let turned = faults(&format!("{}{own}", middle.pem()), &key);
    assert!(turned.iter().any(|fault| matches!(fault, ServedFault::Order { .. })), "{turned:?}");
}

#[test]
fn the_key_is_the_certificates_own_and_readable() {
    let root = authority("Root", None);
    let (own, key) = issued(&params("a.example", &["a.example"]), &root);
    let (_, other) = issued(&params("a.example", &["a.example"]), &root);
    assert_eq!(faults(&own, &other), [ServedFault::OtherKey]);
    assert_eq!(faults(&own, &own), [ServedFault::NoKey { is_certificate: true }]);
    assert_eq!(faults(&own, ""), [ServedFault::NoKey { is_certificate: false }]);
    assert_eq!(faults(&key, &key), [ServedFault::NoCertificate { is_key: true }]);
    let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMII=\n-----END ENCRYPTED PRIVATE KEY-----";
    assert_eq!(faults(&own, encrypted), [ServedFault::Encrypted]);
    let damaged = key.replace("MIG", "MIH");
    assert!(matches!(faults(&own, &damaged)[..], [ServedFault::BadKey(_)]));
    let large = " ".repeat(MOST_KEY_BYTES + 1);
    assert!(matches!(faults(&own, &large)[..], [ServedFault::Large { part: Part::Key, .. }]));
}

#[test]
fn dates_are_judged_with_a_day_of_patience_before_and_none_after() {
    let root = authority("Root", None);
    let dated = |from: Timestamp, until: Timestamp| {
        let mut params = params("a.example", &["a.example"]);
        set_dates(&mut params, from, until);
        let (own, key) = issued(&params, &root);
        Served::inspect(&own, &key, NOW)
    };
    assert!(dated(NOW + DAY, NOW + DAY + DAY).is_ok(), "an authority's clock may be ahead");
    assert_eq!(
        dated(NOW + DAY + DAY, NOW + DAY + DAY + DAY).unwrap_err(),
        [ServedFault::TooEarly { from: NOW + DAY + DAY }]
    );
    let expired = dated(NOW - DAY - DAY, NOW - DAY).unwrap_err();
    assert_eq!(expired, [ServedFault::Expired { at: NOW - DAY }]);
    assert_eq!(expired[0].to_string(), "it expired on 2026-09-20");
}

#[test]
fn what_browsers_would_not_take_is_refused() {
    let root = authority("Root", None);
    let (unnamed, key) = issued(&params("a.example", &[]), &root);
    assert_eq!(faults(&unnamed, &key), [ServedFault::NoName { common_name: Some("a.example".to_owned()) }]);
    let mut client = params("a.example", &["a.example"]);
    client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    let (client, key) = issued(&client, &root);
    assert_eq!(faults(&client, &key), [ServedFault::Purpose]);
    let next_year = NOW + Millis::from_secs(365 * 24 * 3600);
    let faults = |chain: &str| Served::inspect(chain, &key, next_year).unwrap_err();
    let weak = faults(include_str!("fixtures/rsa-1024-sha1.pem"));
    assert!(weak.contains(&ServedFault::Hash { place: 1 }), "{weak:?}");
    assert!(weak.contains(&ServedFault::Weak("RSA with 1024 bits".to_owned())), "{weak:?}");
    let rsa = faults(include_str!("fixtures/rsa-2048.pem"));
    assert_eq!(rsa, [ServedFault::OtherKey], "nothing else is wrong with it");
    let edwards = faults(include_str!("fixtures/ed25519.pem"));
    assert!(edwards.contains(&ServedFault::Kind("Ed25519".to_owned())), "{edwards:?}");
}

#[test]
fn what_is_worth_knowing_stops_nobody() {
    let key = KeyPair::generate().unwrap();
    let own = params("a.example", &["a.example"]).self_signed(&key).unwrap().pem();
    let served = Served::inspect(&own, &key.serialize_pem(), NOW).unwrap();
    assert_eq!(served.remarks, [ServedRemark::SelfSigned]);
    let mut lonely = params("a.example", &["a.example"]);
    // Authority information access: where the issuer's certificate lies.
    let access = b"\x30\x22\x30\x20\x06\x08\x2b\x06\x01\x05\x05\x07\x30\x02\x86\x14http://a.example/ca\0";
    lonely.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(
        &[1, 3, 6, 1, 5, 5, 7, 1, 1],
        access[..access.len()].to_vec(),
    )];
    let root = authority("Root", None);
    let (own, key) = issued(&lonely, &root);
    assert_eq!(Served::inspect(&own, &key, NOW).unwrap().remarks, [ServedRemark::NoIntermediate]);
    let whole = format!("{own}{}", root.pem());
    assert_eq!(Served::inspect(&whole, &key, NOW).unwrap().remarks, []);
}

#[test]
fn each_fault_says_what_to_do_and_never_a_key() {
    let root = authority("Root", None);
    let (own, key) = issued(&params("a.example", &["a.example"]), &root);
    let secret = key.lines().nth(1).unwrap();
    let damaged = key.replace("-----BEGIN PRIVATE", "-----BEGIN PRIVATE ");
    for fault in
        [faults(&own, &damaged), faults(&damaged, &own), faults(&own, &key.replace('M', "N"))].concat()
    {
        assert!(!fault.remedy().is_empty());
        assert!(!format!("{fault} {fault:?}").contains(secret), "{fault:?}");
    }
}

#[test]
fn no_text_makes_it_panic() {
    let root = authority("Root", None);
    let (own, key) = issued(&params("a.example", &["a.example"]), &root);
    let der = CertificateDer::from_pem_slice(own.as_bytes()).unwrap();
    for at in 0..der.len() {
        let mut bytes = der.to_vec();
        bytes[at] ^= 0x11;
        let pem = pem_of(&bytes);
        // Most are refused; a changed name may pass, since nobody here checks who signed it.
        let _ = Served::inspect(&pem, &key, NOW);
    }
}

fn pem_of(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}
