use super::*;
use crate::validate::TableError;

/// A certificate for `names`, used for `hosts`.
fn certificate(names: &[&str], hosts: &[&str]) -> Certificate {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    Certificate {
        hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
        chain_pem: made.cert.pem(),
        key_pem: SecretText(made.signing_key.serialize_pem()),
    }
}

fn faults(certificate: &Certificate) -> String {
    let faults = certificate.check().unwrap_err();
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_certificate_is_for_its_names_and_a_star_covers_one_label() {
    for (names, hosts) in [
        (&["a.example"][..], &["a.example"][..]),
        (&["A.example", "*.b.example"], &["a.example", "*.b.example", "x.b.example"]),
    ] {
        let facts = certificate(names, hosts).check().unwrap();
        assert_eq!(facts.names, names.iter().map(|name| name.to_lowercase()).collect::<Vec<_>>());
        assert!(facts.not_before < facts.not_after);
    }
    for (name, host) in [
        ("a.example", "b.example"),
        ("*.a.example", "a.example"),
        ("*.a.example", "x.y.a.example"),
        ("a.example", "*.example"),
        ("*.a.example", "*.x.a.example"),
    ] {
        let faults = faults(&certificate(&[name], &[host]));
        assert_eq!(faults, format!("the certificate is not for `{host}` but for `{name}`"));
    }
}

#[test]
fn every_fault_is_said_and_no_key_quoted() {
    let good = certificate(&["a.example"], &["a.example"]);
    let pem = |chain: &str| Certificate { chain_pem: chain.to_owned(), ..good.clone() };
    let key = |key: &str| Certificate { key_pem: SecretText(key.to_owned()), ..good.clone() };
    let hosts = |hosts: Vec<Host>| Certificate { hosts, ..good.clone() };
    let broken = "-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n";
    for (bad, said) in [
        (pem(""), "no certificate in PEM"),
        (pem(broken), "certificate 1 of the chain can't be read"),
        (pem(&format!("{}{broken}", good.chain_pem)), "certificate 2 of the chain can't be read"),
        (pem(&good.chain_pem.repeat(11)), "11 certificates"),
        (pem(&"x".repeat(70_000)), "70000 bytes"),
        (key("hunter2"), "no private key in PEM"),
        (key(&good.chain_pem), "no private key in PEM"),
        (key(&"x".repeat(20_000)), "20000 bytes"),
        (hosts(vec![]), "for no host"),
        (hosts(vec![Host::Any]), "`*` is not a host"),
        (hosts(vec!["10.0.0.1".parse().unwrap()]), "`10.0.0.1` is not a host"),
    ] {
        let faults = faults(&bad);
        assert!(faults.contains(said) && !faults.contains("hunter2"), "{faults}");
    }
    let two = Certificate { key_pem: SecretText(String::new()), chain_pem: String::new(), ..good };
    assert_eq!(two.check().unwrap_err().len(), 2);
}

#[test]
fn a_table_names_the_certificate_that_is_wrong_and_reads_known_ones_once() {
    let good = certificate(&["a.example"], &["a.example"]);
    let bad = Certificate { hosts: vec!["b.example".parse().unwrap()], ..good.clone() };
    let secret = Secrets { certificates: vec![good.clone(), bad.clone()], ..Secrets::default() };
    let table = Table { schema: 1, secret, ..Table::default() };
    let errors = table.validate().unwrap_err();
    assert!(
        matches!(&errors[..], [TableError::Certificate { certificate, .. }] if certificate == "b.example")
    );
    // Nobody could tell whether it was read again, were it not wrong.
    assert_eq!(table.validate_after(Some(&table)), Ok(()));

    let secret = Secrets { certificates: vec![good.clone(), good], ..Secrets::default() };
    let twice = Table { schema: 1, secret, ..Table::default() };
    assert_eq!(twice.validate().unwrap_err(), [TableError::TwoCertificates("a.example".to_owned())]);
    let secret = Secrets { ticket_keys: vec![TicketKey([7; 32]); 9], ..Secrets::default() };
    let many = Table { schema: 1, secret, ..Table::default() };
    assert_eq!(many.validate().unwrap_err(), [TableError::ManyTicketKeys(9)]);
}

#[test]
fn keys_travel_and_are_never_shown() {
    let certificate = certificate(&["a.example"], &["a.example"]);
    let secret = Secrets {
        certificates: vec![certificate.clone()],
        ticket_keys: vec![TicketKey([0xab; 32])],
        ..Secrets::default()
    };
    let table = Table { schema: 1, secret, ..Table::default() };
    let json = serde_json::to_string(&table).unwrap();
    assert_eq!(serde_json::from_str::<Table>(&json).unwrap(), table);
    let line = certificate.key_pem.0.lines().nth(1).unwrap();
    let (shown, public) = (format!("{table:?}"), serde_json::to_string(&table.public()).unwrap());
    assert!(json.contains(line) && json.contains(&"ab".repeat(32)));
    for shown in [&shown, &public, &format!("{table:#?}")] {
        assert!(!shown.contains(line) && !shown.contains("abab") && !shown.contains("171"), "{shown}");
    }
    assert!(!public.contains("secret"), "{public}");
    assert!(serde_json::from_str::<TicketKey>("\"abc\"").is_err());
}

#[test]
fn a_key_in_the_wrong_place_is_not_quoted() {
    let why = |secret: &str| {
        let text = format!(r#"{{"version": {{"epoch": 1, "revision": 1}}, "secret": {secret}}}"#);
        explain(&serde_json::from_str::<Table>(&text).unwrap_err())
    };
    let key = "ab".repeat(32);
    for secret in [
        format!(r#"{{"ticket_keys": "{key}"}}"#),
        format!(r#"{{"certificates": ["{key}"]}}"#),
        format!(r#""{key}""#),
    ] {
        let why = why(&secret);
        assert!(why.contains("expected") && !why.contains("abab"), "{why}");
    }
    assert!(why(r#"{"ticket_keys": "short"}"#).contains("\"short\""));
    assert!(why(&format!(r#"{{"ticket_keys": ["{key}cd"]}}"#)).contains("64 hexadecimal digits"));
}
