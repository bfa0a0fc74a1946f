//! `ports` and `expose`: which port requests come to, and what becomes of the others.

use super::Process;
use super::keys::Keys;
use crate::decode::{Leaf, listed};
use crate::diagnostic::quoted;
use crate::import::draft::{Draft, plain};
use crate::import::write::Out;
use crate::tree::{Node, Scalar};
use crate::value::Port;

/// One entry of `ports` or `expose`.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Given {
    /// In the container; perhaps a range.
    target: String,
    published: Option<String>,
    address: Option<String>,
    udp: bool,
    /// As it was written.
    text: String,
}

impl Given {
    fn is_tls(&self) -> bool {
        matches!(self.number(), Some(443 | 8443)) || self.published.as_deref() == Some("443")
    }

    fn number(&self) -> Option<u16> {
        let first = self.target.split('-').next().unwrap_or_default();
        Port::parse(&Scalar::text(first)).ok().map(|port| port.0).filter(|_| !self.udp)
    }
}

/// Sets `port` of `process`. `asked`: the port that a proxy was told to use, if it was.
pub(super) fn carry_over(service: &Node, asked: Option<u16>, process: &mut Process, draft: &mut Draft) {
    let of = process.service.clone();
    let mut list = |key: &str| service.get(key).map(|node| given(node, key, &of, draft)).unwrap_or_default();
    let (published, exposed) = (list("ports"), list("expose"));
    let all: Vec<&Given> = published.iter().chain(&exposed).collect();
    let named = all.iter().find(|given| asked.is_some() && given.number() == asked).copied();
    let without_tls = |given: &&&Given| given.number().is_some() && !given.is_tls();
    let first =
        all.iter().find(without_tls).or_else(|| all.iter().find(|given| given.number().is_some())).copied();
    let kept = if asked.is_some() { named } else { first };
    let number = asked.or_else(|| kept?.number());
    for given in &all {
        if given.number().is_none() || given.number() != number {
            lost(given, number, process, draft);
        }
    }
    if let Some(number) = number {
        process.keys.push(("port".to_owned(), Out::Raw(number.to_string())));
    }
    if let Some(kept) = kept.filter(|kept| kept.target.contains('-')) {
        let why = format!("a process has one port; {} is kept", number.unwrap_or_default());
        draft.left_out(&format!("ports: {}", plain(&kept.text)), &process.service, &why);
    }
    process.published = kept.and_then(entrance);
}

fn lost(given: &Given, kept: Option<u16>, process: &Process, draft: &mut Draft) {
    let shown = plain(&given.text);
    let why = match (given.number(), kept) {
        (None, _) if given.udp => {
            "only TCP is balanced, and no other port of a container is published".to_owned()
        }
        (None, _) => "it is not a port".to_owned(),
        (Some(_), _) if given.is_tls() => {
            "TLS ends at the load balancer, which has the certificates (`pando cert`)".to_owned()
        }
        (Some(_), Some(kept)) => format!("a process has one port that requests come to, and that is {kept}"),
        (Some(_), None) => "a process has one port that requests come to".to_owned(),
    };
    draft.left_out(&format!("ports: {shown}"), &process.service, &why);
}

/// How visitors came in, where that is not as they do now.
fn entrance(given: &Given) -> Option<String> {
    let own = |address: &String| address.starts_with("127.") || address == "::1" || address == "localhost";
    if given.address.as_ref().is_some_and(own) {
        return Some(format!("{}, on that machine alone", quoted(&given.text)));
    }
    let port = given.published.as_deref()?;
    (!matches!(port, "80" | "443")).then(|| format!("port {port}"))
}

fn given(node: &Node, key: &str, of: &str, draft: &mut Draft) -> Vec<Given> {
    let one = std::slice::from_ref(node);
    let items = node.items().unwrap_or(one).iter();
    items.filter_map(|item| short(item).or_else(|| long(item, key, of, draft))).collect()
}

/// `3000`, `8080:80`, `127.0.0.1:8080:80/tcp`, `[::1]:80:80`.
fn short(item: &Node) -> Option<Given> {
    let text = item.scalar()?.text.clone();
    let (ports, protocol) = text.split_once('/').unwrap_or((&text, "tcp"));
    let mut parts = ports.rsplitn(3, ':');
    let target = parts.next()?.to_owned();
    let published = parts.next().filter(|port| !port.is_empty()).map(str::to_owned);
    let address = parts.next().map(|address| address.trim_matches(['[', ']']).to_owned());
    let udp = protocol != "tcp";
    Some(Given { target, published, address, udp, text })
}

fn long(item: &Node, key: &str, of: &str, draft: &mut Draft) -> Option<Given> {
    let mut keys = Keys::of(item);
    let target = keys.text("target").map(str::to_owned);
    let udp = keys.text("protocol").is_some_and(|protocol| protocol != "tcp");
    let (published, address) =
        (keys.text("published").map(str::to_owned), keys.text("host_ip").map(str::to_owned));
    let (mode, protocol) = (keys.text("mode"), keys.text("app_protocol"));
    keys.name_others(key, of, "a port of a process is a number, and nothing else is said of it", draft);
    if let Some(mode) = mode.filter(|mode| *mode != "ingress") {
        let why =
            "visitors come to ports 80 and 443 of the load balancer, and to no port of a server of their own";
        draft.left_out(&format!("{key}.mode: {}", plain(mode)), of, why);
    }
    if let Some(protocol) = protocol.filter(|protocol| !matches!(*protocol, "http" | "http1.1" | "http/1.1"))
    {
        draft.left_out(&format!("{key}.app_protocol: {}", plain(protocol)), of, "requests come as HTTP/1.1");
    }
    let Some(target) = target else {
        draft.left_out(key, of, "one of them has no `target`, so it is no port of the container");
        return None;
    };
    let end = if udp { "/udp" } else { "" };
    let text = published.as_ref().map_or_else(|| target.clone(), |port| format!("{port}:{target}{end}"));
    Some(Given { target, published, address, udp, text })
}

/// What is said of how requests come in, once the processes have their names: `web` gets those to `domains`.
pub(super) fn tell_entrances(processes: &[Process], draft: &mut Draft) {
    for process in processes {
        if let Some(entrance) = process.published.as_ref().filter(|_| process.name == "web") {
            draft.note(format!(
                "`ports` of `{}`: visitors came to {entrance}; here they come to ports 80 and 443 of the load balancer, by one of \
                 `domains`",
                process.service
            ));
        }
    }
    let unreached = |process: &&Process| {
        process.name != "web" && process.rules.is_empty() && process.keys.iter().any(|(key, _)| key == "port")
    };
    let names: Vec<&str> = processes.iter().filter(unreached).map(|process| &*process.name).collect();
    if !names.is_empty() && processes.len() > 1 {
        draft.note(format!(
            "`ports`: requests go to `web`; they reach {} by a route: `routes: [{{path: /…, process: {}}}]`",
            listed(names.iter().copied(), "and"),
            names[0]
        ));
    }
}
