//! Who counts as connected, and who would be cut off.

use std::collections::BTreeSet;

use pando_model::firewall::{FirewallRule, Sources};

use super::proc::{State, login, sockets};
use super::*;

const TCP: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000 100 0 0 10 0
   1: 0200000A:0016 076433C6:C001 01 00000000:00000000 02:000A8C5C 00000000     0        0 4712 4 0000 20 4 31 10 -1
   2: 0200000A:0016 096433C6:C002 06 00000000:00000000 00:00000000 00000000     0        0 0 3 0000
";

const TCP6: &str = "  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:1CFC 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0000 100 0 0 10 0
   1: 0000000000000000FFFF00000200000A:1CFC 0000000000000000FFFF00000A00000A:C003 01 00000000:00000000 00:00000000 00000000     0        0 2 1 0000 20 4 30 10 -1
   2: 000000FD000000000000000001000000:1CFC 000000FD000000000000000002000000:C004 01 00000000:00000000 00:00000000 00000000     0        0 3 1 0000 20 4 30 10 -1
";

fn place(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

#[test]
#[cfg(target_endian = "little")]
fn the_kernels_tables_are_read() {
    let found = sockets(TCP);
    assert_eq!(found.len(), 3);
    assert_eq!(
        (found[0].state, found[0].here, found[0].inode),
        (State::Listening, place("0.0.0.0:22"), 4711)
    );
    let (here, there) = (place("10.0.0.2:22"), place("198.51.100.7:49153"));
    assert_eq!((found[1].state, found[1].here, found[1].there), (State::Established, here, there));
    assert_eq!(found[2].state, State::Other);
    let found = sockets(TCP6);
    assert_eq!((found[1].here, found[1].there), (place("10.0.0.2:7420"), place("10.0.0.10:49155")));
    assert_eq!((found[2].here, found[2].there), (place("[fd00::1]:7420"), place("[fd00::2]:49156")));
    assert!(sockets("heading\nnonsense\n 1: 2 3\n").is_empty());
}

#[test]
fn logins_show_in_what_a_shell_was_told() {
    let told = b"PATH=/bin\0SSH_CONNECTION=198.51.100.7 49153 10.0.0.2 22\0HOME=/root\0";
    assert_eq!(login(told), Some((place("10.0.0.2:22"), place("198.51.100.7:49153"))));
    let mapped = b"SSH_CONNECTION=::ffff:198.51.100.7 49153 fe80::1%eth0 2222\0";
    assert_eq!(login(mapped), Some((place("[fe80::1]:2222"), place("198.51.100.7:49153"))));
    for nothing in
        [&b"PATH=/bin\0"[..], b"SSH_CONNECTION=\0", b"SSH_CONNECTION=a 1 b 2\0", b"XSSH_CONNECTION=1"]
    {
        assert_eq!(login(nothing), None);
    }
}

fn rules(given: &[(u16, &str)]) -> FirewallRules {
    let rule = |(port, from): &(u16, &str)| FirewallRule {
        ports: (*port, *port),
        protocol: Protocol::Tcp,
        from: Sources::Of(BTreeSet::from([from.parse().unwrap()]).into()),
        why: String::new(),
    };
    FirewallRules { rules: given.iter().map(rule).collect(), ..FirewallRules::default() }
}

fn sessions(port: u16) -> Sessions {
    let session = (SocketAddr::new([10, 0, 0, 2].into(), port), place("198.51.100.7:49153"));
    Sessions {
        established: BTreeSet::from([session]),
        logins: BTreeSet::from([session, (place("10.0.0.2:22"), place("192.0.2.1:1"))]),
        ssh_ports: BTreeSet::new(),
        serves_api: true,
    }
}

#[test]
fn somebody_who_is_logged_in_and_could_not_come_back_is_named_with_the_remedy() {
    let found = cut(&rules(&[(22, "10.0.0.0/8")]), &sessions(22));
    assert_eq!(found.people.len(), 1, "the other login has ended: {found:?}");
    assert!(
        found.people[0].contains("from 198.51.100.7") && found.people[0].contains("allow-ssh 198.51.100.7")
    );
    assert_eq!(cut(&rules(&[(22, "198.51.100.0/24")]), &sessions(22)), Cut::default());
    // Connected, but nobody has logged in.
    let mut strangers = sessions(22);
    strangers.logins.clear();
    assert_eq!(cut(&rules(&[(22, "10.0.0.0/8")]), &strangers), Cut::default());
}

#[test]
fn ssh_on_another_port_is_not_closed_by_accident() {
    let found = cut(&rules(&[(22, "0.0.0.0/0")]), &sessions(2222));
    assert!(found.people[0].contains("firewall open 2222"), "{found:?}");
    let mut waiting = Sessions { ssh_ports: BTreeSet::from([22, 2222]), ..Sessions::default() };
    let found = cut(&rules(&[(22, "0.0.0.0/0")]), &waiting);
    assert_eq!(found.people.len(), 1);
    assert!(found.people[0].contains("listens on port 2222"), "{found:?}");
    waiting.ssh_ports.remove(&2222);
    assert_eq!(cut(&rules(&[(22, "0.0.0.0/0")]), &waiting), Cut::default());
}

#[test]
fn who_holds_a_connection_to_the_api_is_named_where_it_is_served() {
    let found = cut(&rules(&[(CONTROL_PORT, "10.0.0.0/8")]), &sessions(CONTROL_PORT));
    assert!(found.api[0].contains("allow-control 198.51.100.7"), "{found:?}");
    let elsewhere = Sessions { serves_api: false, ..sessions(CONTROL_PORT) };
    assert_eq!(cut(&rules(&[]), &elsewhere).api, Vec::<String>::new());
    let mut own = sessions(CONTROL_PORT);
    own.established = BTreeSet::from([(place("10.0.0.2:7420"), place("10.0.0.2:50000"))]);
    assert_eq!(cut(&rules(&[]), &own).api, Vec::<String>::new());
}
