use std::collections::BTreeSet;

use super::testing::{all, stored};
use super::*;

fn host(text: &str) -> Host {
    text.parse().unwrap()
}

fn imported(held: &[&[&str]], new: &[&str]) -> Imported {
    import(&all(held), New { name: host(new[0]), stored: stored(new) })
}

fn hosts(certificates: &Certificates) -> Vec<(String, Vec<String>)> {
    let all = certificates.iter();
    all.map(|(name, one)| (name.to_string(), one.hosts.iter().map(ToString::to_string).collect())).collect()
}

#[test]
fn the_newest_takes_its_hosts_from_the_others() {
    let after = imported(&[&["a.example", "www.a.example"], &["b.example"]], &["www.a.example", "b.example"]);
    assert_eq!(
        hosts(&after.certificates),
        [
            ("a.example".to_owned(), vec!["a.example".to_owned()]),
            ("www.a.example".to_owned(), vec!["www.a.example".to_owned(), "b.example".to_owned()]),
        ]
    );
    assert_eq!((after.replaced, after.shortened), (vec![host("b.example")], vec![host("a.example")]));
}

#[test]
fn one_of_the_same_name_takes_the_place_of_the_old() {
    let after = imported(&[&["a.example", "www.a.example"]], &["a.example"]);
    assert_eq!(hosts(&after.certificates), [("a.example".to_owned(), vec!["a.example".to_owned()])]);
    assert_eq!((after.replaced, after.shortened), (vec![], vec![]));
    let before = all(&[&["a.example", "www.a.example"]]);
    let wanted = BTreeSet::from([host("a.example"), host("www.a.example"), host("other.example")]);
    assert_eq!(left_bare(&before, &after.certificates, &wanted), [host("www.a.example")]);
}

#[test]
fn a_host_is_served_by_its_own_certificate_before_a_wildcard() {
    let held = all(&[&["*.a.example"], &["x.a.example"]]);
    let by = |name: &str| serving(&held, &host(name)).map(|(name, _)| name.to_string());
    assert_eq!(by("x.a.example").as_deref(), Some("x.a.example"));
    assert_eq!(by("y.a.example").as_deref(), Some("*.a.example"));
    assert_eq!(by("*.a.example").as_deref(), Some("*.a.example"));
    assert_eq!((by("a.example"), by("x.y.a.example")), (None, None));
    assert!(is_covered(&held, &Host::Any) && !is_covered(&held, &host("a.example")));
}

#[test]
fn the_name_is_the_first_host_that_is_no_wildcard() {
    let texts = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect::<Vec<_>>();
    let names = texts(&["*.a.example", "a.example", "A.example"]);
    assert_eq!(hosts_of(&[], &names).unwrap(), [host("a.example"), host("*.a.example")]);
    assert_eq!(hosts_of(&texts(&["*.a.example"]), &names).unwrap(), [host("*.a.example")]);
    assert_eq!(hosts_of(&texts(&["a b", "c..d"]), &names).unwrap_err().len(), 2);
}

#[test]
fn the_mark_is_another_for_every_change_and_none_without_secrets() {
    let held = all(&[&["a.example"], &["b.example"]]);
    let marked = mark(&held, None);
    assert_eq!(mark(&Certificates::new(), None), Default::default());
    let mut warned = held.clone();
    warned.values_mut().for_each(|one| one.warned = Some(30));
    assert_eq!(mark(&warned, None), marked, "a warning is no change of a secret");
    let mut renewed = held.clone();
    renewed.values_mut().next().unwrap().secret = stored(&["a.example"]).secret;
    let mut moved = held.clone();
    moved.get_mut(&host("b.example")).unwrap().hosts.push(host("c.example"));
    let marks = [marked, mark(&renewed, None), mark(&moved, None), mark(&all(&[&["a.example"]]), None)];
    assert_eq!(marks.iter().collect::<std::collections::HashSet<_>>().len(), 4);
}

#[test]
fn one_that_does_not_open_keeps_back_no_other() {
    let vault = Vault::ephemeral().unwrap();
    let made = rcgen::generate_simple_self_signed(["b.example".to_owned()]).unwrap();
    let key_pem = SecretText(made.signing_key.serialize_pem());
    let secret = Secret { chain_pem: made.cert.pem(), key_pem };
    // The first was sealed by nobody here, the third has another's chain, the last a host too many.
    let mut held = all(&[&["a.example"], &["b.example"], &["c.example"], &["d.example", "b.example"]]);
    for name in ["b.example", "c.example", "d.example"].map(host) {
        held.get_mut(&name).unwrap().secret = vault.seal(&place(&name), &secret).unwrap();
    }
    let (secrets, faults) = open(&held, None, &vault);
    let Secret { chain_pem, key_pem } = secret;
    let certificate = pando_routing::Certificate { hosts: vec![host("b.example")], chain_pem, key_pem };
    assert_eq!(secrets.certificates, [certificate]);
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults[0].contains("/v1/certificates/a.example"), "{faults:?}");
    assert!(faults[1].contains("c.example") && faults[2].contains("d.example"), "{faults:?}");
}
