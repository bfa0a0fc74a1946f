use super::*;

fn table(text: &str) -> Table {
    let text = format!(r#"{{"version": {{"epoch": 1, "revision": 1}}, {text}}}"#);
    serde_json::from_str(&text).unwrap()
}

fn faults(table: &Table) -> Vec<String> {
    table.validate().err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

fn pool(pool: &str) -> Vec<String> {
    faults(&table(&format!(r#""pools": {{"p": {pool}}}"#)))
}

#[test]
fn a_pool_may_say_all_of_it() {
    let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
    let mut table = table(
        r#""pools": {"p": {"protocol": "h2", "tls": {"ca": "own", "server_name": "a.example", "client_certificate": "me"}},
                     "q": {"tls": {"insecure_skip_verify": true, "server_name": "10.0.0.1"}}, "r": {"tls": {}}}"#,
    );
    assert_eq!(faults(&table).len(), 2);
    table.ca_certificates.insert("own".into(), made.cert.pem());
    let me = ClientCertificate {
        chain_pem: made.cert.pem(),
        key_pem: SecretText(made.signing_key.serialize_pem()),
    };
    table.secret.client_certificates.insert("me".into(), me);
    assert_eq!(faults(&table), [""; 0]);
    assert!(!serde_json::to_string(&table.public()).unwrap().contains("PRIVATE KEY"));
    assert!(serde_json::to_string(&table.public()).unwrap().contains("BEGIN CERTIFICATE"));
    assert!(!format!("{table:?}").contains("PRIVATE KEY"));
}

#[test]
fn what_contradicts_itself_or_is_not_there_is_named() {
    for (text, expected) in [
        (r#"{"protocol": "h2"}"#, "has no `tls`"),
        (r#"{"protocol": "h2c", "tls": {}}"#, "it is called `h2`"),
        (r#"{"tls": {"ca": "gone"}}"#, "`ca_certificates` has no `gone`"),
        (r#"{"tls": {"client_certificate": "gone"}}"#, "`secret.client_certificates` has no `gone`"),
        (r#"{"tls": {"server_name": "a b"}}"#, "`a b` is neither"),
    ] {
        let faults = pool(text);
        assert!(faults.len() == 1 && faults[0].contains(expected), "{text}: {faults:?}");
    }
    assert_eq!(pool(r#"{"tls": {"ca": "gone", "insecure_skip_verify": true}}"#).len(), 2);
}

#[test]
fn authorities_and_certificates_are_read_before_they_are_used() {
    let bad = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    for (pem, expected) in [("", "no certificate in PEM"), (bad, "certificate 1 of the chain can't be read")]
    {
        let mut table = table(r#""pools": {}"#);
        table.ca_certificates.insert("own".into(), pem.to_owned());
        let found = faults(&table);
        assert!(found.len() == 1 && found[0].contains(expected) && found[0].contains("`own`"), "{found:?}");
        // What is in use was checked.
        assert!(table.validate_after(Some(&table.clone())).is_ok());
    }
    let mut table = table(r#""pools": {}"#);
    let wrong = ClientCertificate { chain_pem: bad.to_owned(), key_pem: SecretText("no key".to_owned()) };
    table.secret.client_certificates.insert("me".into(), wrong);
    let found = faults(&table);
    assert!(
        found.len() == 2 && found.iter().all(|fault| fault.contains("`me`") && !fault.contains("no key"))
    );
}

#[test]
fn other_authorities_make_another_table() {
    let (mut one, two) = (table(r#""pools": {}"#), table(r#""pools": {}"#));
    one.ca_certificates.insert("own".into(), "x".to_owned());
    assert!(!one.same_content(&two));
}
