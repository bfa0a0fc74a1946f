//! Ports that containers publish: what comes by another program's address translation is judged like the rest.

use std::net::SocketAddr;

use super::bed::{Bed, assign, bed, command_in, done, in_force, knock_from, rules, set, v4, v6};

const SERVER: u8 = 2;
const FRIEND: u8 = 3;
const STRANGER: u8 = 4;

/// As Docker does: a bridge, a container behind it, translation of 8080 and 5432 to it, and of what it sends.
fn docker(bed: &mut Bed) -> String {
    let container = bed.inner_namespace(SERVER, "c");
    bed.ip(SERVER, "link add docker0 type bridge");
    bed.ip(SERVER, "addr add 172.17.0.1/16 dev docker0");
    bed.ip(SERVER, "addr add fd17::1/64 dev docker0");
    bed.ip(SERVER, "link set docker0 up");
    bed.ip(SERVER, &format!("link add veth1 type veth peer name eth0 netns {container}"));
    bed.ip(SERVER, "link set veth1 master docker0 up");
    for words in [
        "link set lo up",
        "addr add 172.17.0.2/16 dev eth0",
        "addr add fd17::2/64 dev eth0",
        "link set eth0 up",
        "route add default via 172.17.0.1",
        "-6 route add default via fd17::1",
    ] {
        let words: Vec<&str> = words.split(' ').collect();
        done(&mut command_in(&container, "ip", &words));
    }
    for (tables, address) in [("iptables", "172.17.0.2:80"), ("ip6tables", "[fd17::2]:80")] {
        let translate = |from: &str, to: &str| {
            let words = format!(
                "-t nat -A PREROUTING -m addrtype --dst-type LOCAL ! -i docker0 -p tcp --dport {from} -j DNAT --to-destination {to}"
            );
            bed.run(SERVER, tables, &words.split(' ').collect::<Vec<&str>>());
        };
        translate("8080", address);
        translate("5432", &address.replace(":80", ":5432"));
        bed.run(SERVER, tables, &["-t", "nat", "-A", "POSTROUTING", "-o", "eth0", "-j", "MASQUERADE"]);
    }
    for name in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
        set(&bed.namespace(SERVER), name, "1");
    }
    bed.listen_in(&container, &[80, 5432]);
    container
}

fn places(port: u16) -> [SocketAddr; 2] {
    [SocketAddr::new(v4(SERVER), port), SocketAddr::new(v6(SERVER), port)]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_containers_publish_is_reached_by_those_alone_who_may() {
    let Some(mut bed) = bed(&[1, SERVER, FRIEND, STRANGER]) else { return };
    let container = docker(&mut bed);
    bed.listen(SERVER, &[6000]);
    bed.listen(FRIEND, &[6000]);
    let all = |bed: &Bed, from: u8, port: u16| bed.knock(from, &places(port)).len();
    assert_eq!(
        (all(&bed, STRANGER, 8080), all(&bed, STRANGER, 5432)),
        (2, 2),
        "before, everybody reaches them"
    );
    let control = bed.control(1);
    let _agent = bed.agent(SERVER, &control);
    let from_friend = "5432 10.77.0.3 fd77::3";
    assign(&control, SERVER, 1, rules(&["22", "7421 10.77.0.1", "8080", from_friend]));
    let report = in_force(&control, SERVER, 1).await;
    assert_eq!(report.firewall.unwrap().problems, Vec::<String>::new());
    assert_eq!((all(&bed, STRANGER, 8080), all(&bed, STRANGER, 5432)), (2, 0));
    assert_eq!((all(&bed, FRIEND, 8080), all(&bed, FRIEND, 5432)), (2, 2));
    // The container's own way out, to this server and to others, is nobody's concern.
    let out = [SocketAddr::new(v4(FRIEND), 6000), SocketAddr::new(v6(FRIEND), 6000)];
    assert_eq!(knock_from(&container, &out).len(), 2);
    let host = [SocketAddr::new(v4(SERVER), 6000), SocketAddr::new(v6(SERVER), 6000)];
    assert_eq!(knock_from(&container, &host).len(), 2);
    assert_eq!(all(&bed, FRIEND, 6000), 0, "others don't reach that");
    // Turned off, it is as it was.
    assign(&control, SERVER, 2, pando_model::FirewallRules::default());
    crate::bench::until("no table", || bed.table(SERVER).is_empty()).await;
    assert_eq!((all(&bed, STRANGER, 8080), all(&bed, STRANGER, 5432)), (2, 2));
}
