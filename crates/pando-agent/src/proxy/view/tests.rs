use std::collections::{BTreeMap, BTreeSet};

use super::*;

fn version(revision: u64) -> TableVersion {
    TableVersion { epoch: 1, revision }
}

fn table(revision: u64) -> Arc<Table> {
    Arc::new(Table { schema: 1, version: version(revision), ..Table::default() })
}

fn sent(revision: u64) -> Sent {
    Sent::of(&table(revision))
}

fn stats(boot: u128, sequence: u64, has: Option<u64>) -> ProxyStats {
    ProxyStats {
        boot: Uuid::from_u128(boot),
        sequence,
        version: has.map(version),
        secrets: SecretMark::default(),
        not_in_rotation: BTreeSet::new(),
        in_flight: BTreeMap::new(),
        pools: BTreeMap::new(),
        unmatched: 0,
        hosts_without_certificate: Vec::new(),
        endpoints: Default::default(),
        ejected: Vec::new(),
        why_out: BTreeMap::new(),
    }
}

fn taken(revision: u64) -> Pushed {
    let not_in_rotation = BTreeSet::from([EndpointId(Uuid::from_u128(5))]);
    Pushed::Taken(Acknowledgement { version: version(revision), not_in_rotation })
}

fn pushes(view: &View) -> Option<u64> {
    view.to_push().map(|table| table.version.revision)
}

#[test]
fn a_table_is_pushed_until_it_is_taken() {
    let mut view = View::default();
    assert_eq!(pushes(&view), None);
    view.offer(table(2));
    view.offer(table(1));
    view.pushed(sent(2), Pushed::Away);
    assert_eq!(pushes(&view), Some(2));
    view.pushed(sent(2), taken(2));
    assert_eq!((pushes(&view), view.status.alive), (None, true));
}

#[test]
fn a_table_is_acknowledged_with_the_requests_under_way_since() {
    let mut view = View::default();
    view.polled(&stats(1, 1, Some(1)));
    view.offer(table(2));
    view.pushed(sent(2), taken(2));
    assert_eq!(view.status.acknowledged, Some(Version::new(1, 1)), "the counts are older than the table");
    let (out, busy) = (EndpointId(Uuid::from_u128(5)), EndpointId(Uuid::from_u128(6)));
    let (not_in_rotation, in_flight) = (BTreeSet::from([out]), BTreeMap::from([(busy, 1)]));
    let hosts_without_certificate = vec!["a.example".to_owned()];
    view.polled(&ProxyStats {
        not_in_rotation,
        in_flight,
        hosts_without_certificate,
        ..stats(1, 2, Some(2))
    });
    assert_eq!(view.status.without_certificate, ["a.example"]);
    assert_eq!(view.status.acknowledged, Some(Version::new(1, 2)));
    assert!(view.status.not_in_rotation.contains(&instance(out)));
    assert!(view.status.in_flight.contains_key(&instance(busy)));
}

#[test]
fn an_answer_that_was_on_its_way_sends_nothing_again() {
    let mut view = View::default();
    view.polled(&stats(1, 1, Some(1)));
    view.offer(table(2));
    view.pushed(sent(2), taken(2));
    view.polled(&stats(1, 2, Some(1)));
    assert_eq!((pushes(&view), view.status.acknowledged), (None, Some(Version::new(1, 1))));
    view.polled(&stats(1, 3, Some(2)));
    assert_eq!((pushes(&view), view.status.acknowledged), (None, Some(Version::new(1, 2))));
}

#[test]
fn a_restarted_proxy_gets_its_table_again() {
    let mut view = View::default();
    view.offer(table(2));
    view.polled(&stats(1, 9, None));
    view.pushed(sent(2), taken(2));
    view.lost();
    assert!(!view.status.alive && view.sequence() == 0);
    view.polled(&stats(2, 1, Some(1)));
    assert_eq!((pushes(&view), view.status.alive, view.sequence()), (Some(2), true, 1));
    view.pushed(sent(2), taken(2));
    view.polled(&stats(3, 1, None));
    assert_eq!(pushes(&view), Some(2));
}

#[test]
fn a_refused_table_is_not_pushed_again_but_to_a_new_proxy() {
    let mut view = View::default();
    view.polled(&stats(1, 1, None));
    view.offer(table(2));
    view.pushed(sent(2), Pushed::Refused(vec!["no pool".to_owned()]));
    assert_eq!(pushes(&view), None);
    assert_eq!(view.status.refused.as_ref().unwrap().reasons, ["no pool"]);
    view.polled(&stats(1, 2, None));
    assert_eq!(pushes(&view), None);
    view.polled(&stats(2, 1, None));
    assert_eq!(pushes(&view), Some(2));
    view.pushed(sent(2), Pushed::NotNow(vec!["disk full".to_owned()]));
    assert_eq!(pushes(&view), Some(2), "that may pass");
    view.offer(table(3));
    view.pushed(sent(3), taken(3));
    assert_eq!(view.status.refused, None);
}

#[test]
fn what_is_near_is_told_with_the_table_and_again_when_it_changes() {
    let near = |place: &str| Some(place.to_owned());
    let mut view = View::default();
    view.set_locality(near("main"));
    view.offer(table(2));
    // It has this version from an earlier agent, which may have said something else.
    view.polled(&stats(1, 1, Some(2)));
    assert_eq!(view.to_push().unwrap().locality, near("main"));
    view.pushed(Sent { locality: near("main"), ..sent(2) }, taken(2));
    assert_eq!(pushes(&view), None);
    view.set_locality(None);
    assert_eq!(view.to_push().unwrap().locality, None);
    view.pushed(sent(2), taken(2));
    view.polled(&stats(2, 1, Some(2)));
    assert_eq!(pushes(&view), None, "a restarted one keeps what it took");
    view.polled(&stats(2, 2, Some(3)));
    view.set_locality(near("main"));
    assert_eq!(pushes(&view), None, "it has a newer one than ours");
}

#[test]
fn another_proxy_in_its_place_is_told_everything() {
    let mut view = View::default();
    view.offer(table(2));
    view.polled(&stats(1, 7, None));
    view.pushed(sent(2), taken(2));
    view.forget();
    assert_eq!((view.sequence(), view.status()), (0, &ProxyStatus::default()));
    assert_eq!(pushes(&view), Some(2));
}

fn secrets(mark: &str) -> Secrets {
    let ticket_keys = vec![pando_routing::TicketKey([7; 32])];
    Secrets { mark: SecretMark(mark.to_owned()), ticket_keys, ..Secrets::default() }
}

fn marked(revision: u64, mark: &str) -> Arc<Table> {
    Arc::new(table(revision).marked(SecretMark(mark.to_owned())))
}

fn uses(boot: u128, sequence: u64, revision: u64, mark: &str) -> ProxyStats {
    ProxyStats { secrets: SecretMark(mark.to_owned()), ..stats(boot, sequence, Some(revision)) }
}

/// The version and the mark of what is to be sent; that it is taken is told.
#[track_caller]
fn push(view: &mut View) -> (u64, String) {
    let table = view.to_push().expect("something to send");
    assert_eq!(table.secret.has_keys(), !table.secret.mark.is_empty());
    let told = (table.version.revision, table.secret.mark.0.clone());
    view.pushed(Sent::of(&table), taken(told.0));
    told
}

#[test]
fn a_table_that_goes_with_secrets_waits_for_them() {
    let mut view = View::default();
    view.offer(marked(2, "a"));
    assert_eq!(pushes(&view), None, "nobody is to meet a balancer without certificates");
    view.set_secrets(Some(&secrets("a")));
    assert_eq!(push(&mut view), (2, "a".to_owned()));
    assert_eq!(pushes(&view), None);
    view.offer(table(3));
    assert_eq!(push(&mut view), (3, String::new()), "one that goes with none has none");
}

#[test]
fn a_newer_table_is_sent_with_the_secrets_there_are_and_again_with_its_own() {
    let mut view = View::default();
    view.set_secrets(Some(&secrets("a")));
    view.offer(marked(2, "a"));
    assert_eq!(push(&mut view), (2, "a".to_owned()));
    // From a neighbour.
    view.offer(marked(3, "b"));
    assert_eq!(push(&mut view), (3, "a".to_owned()));
    view.polled(&uses(1, 1, 3, "a"));
    assert_eq!((pushes(&view), view.status.secrets.0.as_str()), (None, "a"), "it is told which it uses");
    view.set_secrets(Some(&secrets("b")));
    assert_eq!(push(&mut view), (3, "b".to_owned()));
    view.polled(&uses(1, 2, 3, "a"));
    assert_eq!(pushes(&view), None, "that answer was on its way");
    view.polled(&uses(1, 3, 3, "b"));
    assert_eq!((pushes(&view), view.status.secrets.0.as_str()), (None, "b"));
    // Started again, it has what it kept.
    view.polled(&uses(2, 1, 3, "a"));
    assert_eq!(push(&mut view), (3, "b".to_owned()));
}

#[test]
fn what_is_refused_with_some_secrets_is_sent_with_others() {
    let mut view = View::default();
    view.set_secrets(Some(&secrets("a")));
    view.offer(marked(2, "b"));
    let sent = Sent::of(&view.to_push().unwrap());
    view.pushed(sent, Pushed::Refused(vec!["no key".to_owned()]));
    assert_eq!(pushes(&view), None);
    view.set_secrets(Some(&secrets("b")));
    assert_eq!(push(&mut view), (2, "b".to_owned()));
    assert_eq!(view.status.refused, None);
}

#[test]
fn secrets_that_are_gone_are_sent_no_more() {
    let mut view = View::default();
    view.set_secrets(Some(&secrets("a")));
    view.offer(marked(2, "a"));
    view.forget();
    assert_eq!(pushes(&view), Some(2), "another proxy is told all");
    view.set_secrets(None);
    assert_eq!(pushes(&view), None);
}
