//! What addresses say about where a domain points.

use pando_api::v1::balancers::RequestCounts;
use pando_api::v1::status::{ProxyState, ServerState};
use pando_model::id::ServerId;

use super::*;

fn entry(name: &str, role: EntryRole, last: u8, public: Option<&str>) -> EntryPointStatus {
    EntryPointStatus {
        server: ServerId::from_uuid(uuid::Uuid::from_u128(last.into())),
        name: ServerName::new(name).unwrap(),
        role,
        state: ServerState::Alive,
        private_address: [10, 0, 0, last].into(),
        public_address: public.map(|address| address.parse().unwrap()),
        proxy: ProxyState {
            alive: true,
            acknowledged: None,
            published: None,
            older_secrets: false,
            refused: vec![],
        },
        endpoints: 0,
        in_rotation: 0,
        in_flight: 0,
        requests: RequestCounts::default(),
    }
}

fn entries() -> Vec<EntryPointStatus> {
    vec![
        entry("lb-1", EntryRole::Balancer, 1, Some("203.0.113.1")),
        entry("lb-2", EntryRole::Balancer, 2, Some("2001:db8::2")),
        entry("main", EntryRole::Direct, 3, Some("203.0.113.3")),
    ]
}

#[track_caller]
fn check(addresses: &[&str], expected: PointsAt) {
    let answer = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let pointer = judge("hits.example.com", "hits", Ok(answer), &entries());
    assert_eq!(pointer.points_at, expected, "{pointer:?}");
}

#[test]
fn addresses_are_told_apart() {
    check(&["203.0.113.1"], PointsAt::Balancers);
    check(&["203.0.113.1", "2001:db8::2"], PointsAt::Balancers);
    check(&["10.0.0.1"], PointsAt::Balancers);
    check(&["203.0.113.1", "203.0.113.3"], PointsAt::Both);
    check(&["203.0.113.1", "198.51.100.9"], PointsAt::Both);
    check(&["203.0.113.3"], PointsAt::Direct);
    check(&["203.0.113.3", "198.51.100.9"], PointsAt::Direct);
    check(&["198.51.100.9"], PointsAt::Elsewhere);
    check(&[], PointsAt::Nowhere);
}

#[test]
fn who_is_hit_is_named() {
    let answer = ["203.0.113.1", "203.0.113.3", "198.51.100.9"].map(|text| text.parse().unwrap());
    let pointer = judge("x", "hits", Ok(answer.into()), &entries());
    assert_eq!(pointer.balancers, [ServerName::new("lb-1").unwrap()].into());
    assert_eq!(pointer.direct, [ServerName::new("main").unwrap()].into());
    assert_eq!(pointer.others, ["198.51.100.9".parse().unwrap()].into());
}

#[test]
fn records_are_one_for_each_balancer() {
    let records = records("*.example.com", &entries());
    let texts: Vec<String> =
        records.iter().map(|it| format!("{} {} {}", it.name, it.kind, it.value)).collect();
    assert_eq!(texts, ["*.example.com A 203.0.113.1", "*.example.com AAAA 2001:db8::2"]);
}

#[test]
fn a_wildcard_is_asked_for_by_a_name_below_it() {
    assert_eq!(asked_name("*.example.com"), "pando-check.example.com");
    assert_eq!(asked_name("example.com"), "example.com");
    assert_eq!(
        plain("failed to lookup address information: Name or service not known"),
        "name or service not known"
    );
}
