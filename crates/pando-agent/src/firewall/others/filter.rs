//! A packet filter of whatever make, and what becomes of a packet in it.
//!
//! Where a test can't be judged from here (a rate, a mark, a set that somebody
//! fills), both outcomes are followed. A packet counts as dropped only where
//! nothing could let it through: better no word than a false one.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// Chains by name.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Filter {
    pub(super) origin: Origin,
    pub(super) chains: BTreeMap<String, Chain>,
}

/// Who made it, for people.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    /// Family and name of the table.
    Nft { family: String, table: String },
    /// The program that changes it, such as `ip6tables`, and the table.
    Iptables { program: &'static str, table: String },
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Chain {
    pub(super) base: Option<Base>,
    pub(super) rules: Vec<Rule>,
}

/// Where packets enter a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) hook: Hook,
    /// Addresses are translated in it; what it drops, others have let through.
    pub(super) translates: bool,
    /// What becomes of packets that no rule decides on.
    pub(super) accepts: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Hook {
    Prerouting,
    Input,
    Forward,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rule {
    /// All must hold; `false`: it must not.
    pub(super) tests: Vec<(bool, Test)>,
    pub(super) verdict: Verdict,
}

/// What is asked of a TCP packet that opens a connection.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// True of every such packet, or of none.
    Known(bool),
    V6(bool),
    /// First and last.
    Port(Vec<(u16, u16)>),
    OriginalPort(Vec<(u16, u16)>),
    From(Vec<(IpAddr, IpAddr)>),
    To(Vec<(IpAddr, IpAddr)>),
    /// By an interface; a name that ends in `*` stands for all that begin so.
    ArrivesBy(Vec<String>),
    LeavesBy(Vec<String>),
    /// Addressed to this machine.
    Local,
    /// Its destination was exchanged.
    Translated,
    Unknown,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
    /// To another address, another port, or both.
    Translate(Option<IpAddr>, Option<u16>),
    /// Something is noted or counted, and the next rule asked.
    Continue,
}

/// A TCP packet that opens a connection.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Packet {
    /// `None`: somebody out there.
    pub(super) from: Option<IpAddr>,
    pub(super) v6: bool,
    pub(super) to: Option<IpAddr>,
    pub(super) port: u16,
    pub(super) original_port: u16,
    pub(super) arrives_by: Option<String>,
    pub(super) leaves_by: Option<String>,
    pub(super) local: bool,
    pub(super) translated: bool,
}

/// Everything that may become of a packet.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Outcome {
    pub(super) accepted: bool,
    /// The chain that drops it, and whether by its policy: where it is not accepted, the one that surely does.
    pub(super) dropped: Option<(String, bool)>,
    pub(super) translated: Option<(Option<IpAddr>, Option<u16>)>,
    /// No rule decides.
    undecided: bool,
}

/// nft itself allows no deeper.
const DEEPEST: u32 = 16;

impl Filter {
    /// The chains where packets enter at `hook`.
    pub(super) fn entrances(&self, hook: Hook) -> impl Iterator<Item = (&String, Base)> {
        let bases = self.chains.iter().filter_map(|(name, chain)| Some((name, chain.base?)));
        bases.filter(move |(_, base)| base.hook == hook)
    }

    /// What becomes of a packet that enters at the base chain `name`.
    pub(super) fn judge(&self, name: &str, packet: &Packet) -> Outcome {
        let mut outcome = self.walk(name, packet, 0);
        let base = self.chains.get(name).and_then(|chain| chain.base);
        if std::mem::take(&mut outcome.undecided) {
            match base.is_none_or(|base| base.accepts) {
                true => outcome.accepted = true,
                false => outcome.drop_in(name, true),
            }
        }
        outcome
    }

    fn walk(&self, name: &str, packet: &Packet, depth: u32) -> Outcome {
        let mut outcome = Outcome::default();
        let rules = self.chains.get(name).map(|chain| chain.rules.as_slice()).unwrap_or_default();
        for rule in rules {
            let truth = rule.applies(packet);
            if truth == Some(false) {
                continue;
            }
            let decided = self.apply(&rule.verdict, name, packet, depth, &mut outcome);
            if decided && truth == Some(true) {
                return outcome;
            }
        }
        outcome.undecided = true;
        outcome
    }

    /// Whether nothing of this chain is asked any more.
    fn apply(
        &self,
        verdict: &Verdict,
        name: &str,
        packet: &Packet,
        depth: u32,
        outcome: &mut Outcome,
    ) -> bool {
        match verdict {
            Verdict::Continue => return false,
            Verdict::Accept => outcome.accepted = true,
            Verdict::Drop => outcome.drop_in(name, false),
            Verdict::Return => outcome.undecided = true,
            Verdict::Translate(address, port) => {
                outcome.accepted = true;
                outcome.translated.get_or_insert((*address, *port));
            }
            Verdict::Jump(target) | Verdict::Goto(target) => {
                let inner = match depth {
                    DEEPEST.. => Outcome { accepted: true, ..Outcome::default() },
                    _ => self.walk(target, packet, depth + 1),
                };
                let comes_back = inner.undecided;
                let undecided = outcome.undecided || (comes_back && matches!(verdict, Verdict::Goto(_)));
                outcome.merge(inner);
                outcome.undecided = undecided;
                return !comes_back || matches!(verdict, Verdict::Goto(_));
            }
        }
        true
    }
}

impl Outcome {
    fn drop_in(&mut self, chain: &str, policy: bool) {
        // What is decided for certain is decided last.
        self.dropped = Some((chain.to_owned(), policy));
    }

    fn merge(&mut self, other: Self) {
        self.accepted |= other.accepted;
        self.dropped = other.dropped.or(self.dropped.take());
        self.translated = self.translated.or(other.translated);
    }
}

impl Rule {
    /// `None`: perhaps.
    fn applies(&self, packet: &Packet) -> Option<bool> {
        let answers = || self.tests.iter().map(|(wanted, test)| Some(test.holds(packet)? == *wanted));
        if answers().any(|answer| answer == Some(false)) {
            return Some(false);
        }
        answers().all(|answer| answer == Some(true)).then_some(true)
    }
}

impl Test {
    fn holds(&self, packet: &Packet) -> Option<bool> {
        let within = |ranges: &[(u16, u16)], port: u16| ranges.iter().any(|(a, b)| (*a..=*b).contains(&port));
        match self {
            Self::Known(answer) => Some(*answer),
            Self::V6(wanted) => Some(*wanted == packet.v6),
            Self::Port(ranges) => Some(within(ranges, packet.port)),
            Self::OriginalPort(ranges) => Some(within(ranges, packet.original_port)),
            Self::From(ranges) => contained(ranges, packet.from, packet.v6),
            Self::To(ranges) => contained(ranges, packet.to, packet.v6),
            Self::ArrivesBy(names) => named(names, packet.arrives_by.as_deref()),
            Self::LeavesBy(names) => named(names, packet.leaves_by.as_deref()),
            Self::Local => Some(packet.local),
            Self::Translated => Some(packet.translated),
            Self::Unknown => None,
        }
    }
}

fn contained(ranges: &[(IpAddr, IpAddr)], address: Option<IpAddr>, v6: bool) -> Option<bool> {
    let mut of_family = ranges.iter().filter(|(first, _)| first.is_ipv6() == v6).peekable();
    match address {
        _ if of_family.peek().is_none() => Some(false),
        Some(address) => Some(of_family.any(|(first, last)| (*first..=*last).contains(&address))),
        None => None,
    }
}

fn named(names: &[String], interface: Option<&str>) -> Option<bool> {
    let is = |interface: &str| {
        names.iter().any(|name| match name.strip_suffix('*') {
            Some(beginning) => interface.starts_with(beginning),
            None => name == interface,
        })
    };
    // The way over the loopback is known not to be taken, wherever else the packet may arrive.
    match interface {
        Some(interface) => Some(is(interface)),
        None if names.iter().all(|name| name == "lo") => Some(false),
        None => None,
    }
}

#[cfg(test)]
mod tests;
