//! Which interfaces lead to containers, and which to the world.

use super::*;

const DOCKER: &str = include_str!("../others/fixtures/docker.address.json");
const V4: &str = include_str!("../others/fixtures/docker.route4.json");
const V6: &str = include_str!("../others/fixtures/docker.route6.json");

fn own() -> [IpAddr; 1] {
    [IpAddr::from([10, 0, 0, 2])]
}

fn names(found: BTreeSet<String>) -> Vec<String> {
    found.into_iter().collect()
}

#[test]
fn dockers_bridge_is_inside() {
    let machine = Machine::read(DOCKER, V4, V6);
    assert_eq!(names(machine.inside(&own())), ["docker0"]);
    assert!(machine.has_global_v6());
    let towards = |text: &str| machine.interface_towards(text.parse().unwrap());
    assert_eq!(towards("172.17.0.2"), Some("docker0"));
    assert_eq!((towards("10.0.0.9"), towards("198.51.100.1")), (Some("out0"), Some("out0")));
    assert_eq!((towards("fd00::9"), towards("2001:db8::1")), (Some("out0"), None));
}

#[test]
fn a_bridge_that_leads_out_is_not() {
    // By the way to the world, by an address of our own, by a port of another kind.
    let default_by_bridge = V4.replace("\"gateway\":\"10.0.0.254\",\"dev\":\"out0\"", "\"dev\":\"docker0\"");
    assert_eq!(names(Machine::read(DOCKER, &default_by_bridge, V6).inside(&own())), Vec::<String>::new());
    let bridged = IpAddr::from([172, 17, 0, 1]);
    assert_eq!(names(Machine::read(DOCKER, V4, V6).inside(&[bridged])), Vec::<String>::new());
    let card = r#"[{"ifname": "br0", "linkinfo": {"info_kind": "bridge"}},
        {"ifname": "eth0", "master": "br0", "linkinfo": {"info_slave_kind": "bridge"}},
        {"ifname": "br1", "linkinfo": {"info_kind": "bridge"}},
        {"ifname": "tap0", "master": "br1", "linkinfo": {"info_kind": "tun"}},
        {"ifname": "br2", "linkinfo": {"info_kind": "bridge"}},
        {"ifname": "vxlan0", "master": "br2", "linkinfo": {"info_kind": "vxlan"}},
        {"ifname": "odd*", "linkinfo": {"info_kind": "bridge"}}]"#;
    assert_eq!(names(Machine::read(card, "[]", "[]").inside(&own())), ["br1"]);
}

#[test]
fn what_can_not_be_read_is_not_there() {
    assert_eq!(Machine::read("", "nonsense", "{}"), Machine::default());
}
