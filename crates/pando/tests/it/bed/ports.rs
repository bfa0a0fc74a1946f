//! Which ports of whom can be reached from where: tried, and as the cluster says it should be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd as _;
use std::time::Duration;

use pando_model::firewall::Cidr;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use serde_json::Value;

use super::Bed;

/// Ports that mean something somewhere, and some beside them that mean nothing.
const PORTS: [u16; 20] = [
    22, 53, 79, 80, 81, 443, 2222, 5432, 6379, 7419, 7420, 7421, 7422, 9100, 19_999, 20_000, 20_001, 27_000,
    32_767, 32_768,
];
/// Whether a packet is let in is answered by a kernel, under whatever load the programs are.
const WITHIN: Duration = Duration::from_millis(900);

/// From whom (by name) to whom, which of [`PORTS`] are let in.
pub(crate) type Matrix = BTreeMap<(String, String), BTreeSet<u16>>;

impl Bed {
    /// Tried from every server, and from a machine that is none, at every other server.
    pub(crate) fn measured(&self) -> Matrix {
        let sources = self.servers.iter().map(|server| (server.name.clone(), Some(server.namespace_file())));
        let sources = sources.chain([("outside".to_owned(), None)]);
        let threads = sources.map(|(source, namespace)| {
            let goals: Vec<(String, Ipv4Addr)> = self.others(&source).collect();
            std::thread::spawn(move || from(&source, namespace.as_ref(), &goals))
        });
        let threads: Vec<_> = threads.collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    }

    /// The same from the rules that `pando firewall show` tells, by servers that are members and enforce them.
    pub(crate) fn computed(&self) -> Matrix {
        let told = self.json(&["firewall", "show"]);
        let mut matrix = Matrix::new();
        for source in self.servers.iter().map(|it| it.name.clone()).chain(["outside".to_owned()]) {
            let address = self.address_of(&source);
            for (goal, _) in self.others(&source) {
                let rules = told["servers"].as_array().unwrap().iter().find(|it| it["name"] == goal.as_str());
                let is_open = |port: &u16| rules.is_none_or(|server| is_let_in(server, address, *port));
                matrix.insert((source.clone(), goal), PORTS.into_iter().filter(is_open).collect());
            }
        }
        matrix
    }

    /// Every server keeps the newest rules.
    pub(crate) fn wait_firewalls(&self) {
        self.wait_for(&["firewall", "show"], "rules in force", 30, |told| {
            told["servers"].as_array().is_some_and(|all| all.iter().all(|server| server["in_force"] == true))
        });
    }

    /// What is tried equals what is computed; the matrix, for more questions.
    #[track_caller]
    pub(crate) fn check_matrix(&self, when: &str) -> Matrix {
        self.wait_firewalls();
        let (measured, computed) = (self.measured(), self.computed());
        for (pair, open) in &measured {
            let (from, to) = pair;
            assert_eq!(
                open, &computed[pair],
                "{when}: ports of {to} from {from} (left: tried, right: computed)"
            );
        }
        assert_eq!(measured.len(), computed.len());
        println!("{when}: {} pairs of {} ports as computed", measured.len(), PORTS.len());
        measured
    }

    fn others(&self, source: &str) -> impl Iterator<Item = (String, Ipv4Addr)> {
        let others = self.servers.iter().filter(move |server| server.name != source);
        others.map(|server| (server.name.clone(), server.address())).collect::<Vec<_>>().into_iter()
    }

    fn address_of(&self, source: &str) -> IpAddr {
        match self.servers.iter().find(|server| server.name == source) {
            Some(server) => server.address().into(),
            None => self.servers[0].link.gateway.into(),
        }
    }
}

fn is_let_in(server: &Value, from: IpAddr, port: u16) -> bool {
    let rules = server["rules"].as_array().unwrap();
    !server["enforced"].as_bool().unwrap()
        || rules.iter().any(|rule| {
            let ports: (u16, u16) = serde_json::from_value(rule["ports"].clone()).unwrap();
            let named = || {
                let ranges: BTreeSet<Cidr> = serde_json::from_value(rule["from"]["of"].clone()).unwrap();
                ranges.iter().any(|range| range.contains(from))
            };
            rule["protocol"] == "tcp"
                && (ports.0..=ports.1).contains(&port)
                && (rule["from"] == "anywhere" || named())
        })
}

/// One thread in the network of the source, for all at once.
fn from(source: &str, namespace: Option<&File>, goals: &[(String, Ipv4Addr)]) -> Matrix {
    if let Some(file) = namespace {
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let tries = goals.iter().map(|(goal, address)| async move {
        let ports = PORTS.map(|port| is_open(SocketAddr::from((*address, port))));
        let open = futures_util::future::join_all(ports).await;
        let open = PORTS.into_iter().zip(open).filter_map(|(port, open)| open.then_some(port));
        ((source.to_owned(), goal.clone()), open.collect())
    });
    runtime.block_on(futures_util::future::join_all(tries)).into_iter().collect()
}

/// Somebody answers, be it that nobody listens. What is dropped has no answer.
async fn is_open(address: SocketAddr) -> bool {
    match tokio::time::timeout(WITHIN, tokio::net::TcpStream::connect(address)).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) if error.kind() == ErrorKind::ConnectionRefused => true,
        Ok(Err(error)) => panic!("{address}: {error}"),
        Err(_) => false,
    }
}
