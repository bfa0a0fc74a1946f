//! Reports that travel through other hands.

use pando_model::id::{Entropy, ServerId};
use pando_trust::{Authority, PendingIdentity};
use uuid::Uuid;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn server(seed: u64) -> ServerId {
    ServerId::new(NOW, &mut Entropy::from_seed(seed))
}

fn identity(authority: &Authority, server: ServerId) -> Identity {
    let pending = PendingIdentity::make().unwrap();
    let pem = authority.issue(&pending.request().unwrap(), Subject::Server(server), NOW).unwrap();
    pending.certified(&pem, authority.anchor().clone(), NOW).unwrap()
}

fn body(server: ServerId) -> ReportBody {
    let report = AgentReport {
        server,
        boot: Uuid::from_u128(5),
        sequence: 1,
        assignment: Version::default(),
        instances: BTreeMap::new(),
        tasks: BTreeMap::new(),
        releases: Vec::new(),
        proxy: None,
        capacity: Default::default(),
        firewall: None,
        warnings: Vec::new(),
    };
    ReportBody { report, traffic: None, relayed: Vec::new(), news: Vec::new() }
}

#[test]
fn a_relayed_report_is_believed_of_its_author_alone() {
    let authority = Authority::make("main", NOW).unwrap();
    let author = identity(&authority, server(1));
    let anchor = authority.anchor();
    let relayed = RelayedReport::sign(body(server(1)), &author).unwrap();
    let (peer, read) = relayed.verify(anchor, NOW).unwrap();
    assert_eq!((peer.subject, peer.expired, read), (Subject::Server(server(1)), false, body(server(1))));

    let changed = relayed.body.replace("\"sequence\":1", "\"sequence\":2");
    assert_ne!(changed, relayed.body);
    assert!(RelayedReport { body: changed, ..relayed.clone() }.verify(anchor, NOW).is_err());
    // Somebody else's report, signed with one's own key.
    let forged = RelayedReport::sign(body(server(2)), &author).unwrap().verify(anchor, NOW).unwrap_err();
    assert!(forged.to_string().contains("signed by"), "{forged}");
    let elsewhere = Authority::make("main", NOW).unwrap();
    assert!(relayed.verify(elsewhere.anchor(), NOW).is_err());
}

#[test]
fn what_is_relayed_relays_nothing_itself() {
    let authority = Authority::make("main", NOW).unwrap();
    let author = identity(&authority, server(1));
    let inner = RelayedReport::sign(body(server(1)), &author).unwrap();
    let outer = ReportBody { relayed: vec![inner], ..body(server(1)) };
    let (_, read) = RelayedReport::sign(outer, &author).unwrap().verify(authority.anchor(), NOW).unwrap();
    assert_eq!(read.relayed, []);
}
