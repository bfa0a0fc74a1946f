//! A load balancer as agents and clients see it: takes tables by their version,
//! looks at its endpoints itself, counts requests, acknowledges, starts from its
//! last table.
//!
//! The engine of the real one is not here; what it promises is.

mod endpoint;
pub(crate) mod requests;
mod rotation;

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_agent::proxy::view::{Pushed, Sent};
use pando_model::name::AppName;
use pando_routing::{
    Acknowledgement, Endpoint, EndpointId, EndpointState, PoolId, ProxyStats, SecretMark, Table, TableVersion,
};
use uuid::Uuid;

use crate::machine::daemon::AgentEvent;
use crate::scenario::Sabotage;
use crate::trace::say;
use crate::world::{Event, World};
use endpoint::Live;
use requests::{Ending, Flight};

/// How long an acknowledgement waits for the first looks at new endpoints.
const FIRST_LOOK: u64 = 300;
/// How long requests may go on after it was told to end.
const DRAIN: u64 = 30_000;

#[derive(Debug)]
pub(crate) struct Proxy {
    boot: u64,
    id: Uuid,
    pub(crate) table: Option<Arc<Table>>,
    endpoints: BTreeMap<EndpointId, Live>,
    sequence: u64,
    /// It takes nothing new, and ends with its last request.
    pub(crate) closing: bool,
    /// Requests are accepted: the endpoints of its last table were looked at.
    accepts: bool,
    /// A push that waits for first looks.
    push: Option<Push>,
    poll: Option<Poll>,
    turns: BTreeMap<PoolId, usize>,
    pub(crate) flights: BTreeMap<u64, Flight>,
    requests: u64,
    /// A sabotaged one says that it uses this table.
    claims: Option<TableVersion>,
}

#[derive(Debug, Clone)]
struct Push {
    until: u64,
    /// Which start of the daemon sends it, over which link.
    by: (u64, u64),
    sent: Sent,
}

#[derive(Debug, Clone, Copy)]
struct Poll {
    after: u64,
    until: u64,
    /// Which start of the daemon asks, over which link.
    by: (u64, u64),
}

#[derive(Debug)]
pub(crate) enum ProxyEvent {
    /// The push has waited long enough.
    LookedLongEnough,
    PollOver,
    /// It was told to end, and its time for that is over.
    CloseOver,
    /// Time for the next look at every endpoint.
    Look,
    /// What the look at one endpoint found.
    Seen(EndpointId, bool),
    RequestEnds(u64),
    /// Nobody has taken the connection.
    ConnectOver(u64),
}

impl World {
    pub(crate) fn start_proxy(&mut self, at: usize) {
        let machine = &mut self.machines[at];
        if machine.proxy.is_some() || !machine.keeps_proxy || !machine.on {
            return;
        }
        machine.proxy_boots += 1;
        machine.proxy = Some(Box::new(Proxy {
            boot: machine.proxy_boots,
            id: self.dice.uuid(),
            table: None,
            endpoints: BTreeMap::new(),
            sequence: 1,
            closing: false,
            accepts: false,
            push: None,
            poll: None,
            turns: BTreeMap::new(),
            flights: BTreeMap::new(),
            requests: 0,
            claims: None,
        }));
        say!(self, self.machines[at].name, "the load balancer starts");
        match self.machines[at].disk.proxy_table.clone() {
            Some(table) => self.use_table(at, table),
            None => self.accept(at),
        }
        self.put_proxy(at, FIRST_LOOK, ProxyEvent::LookedLongEnough);
        let first = self.dice.below(rotation::LOOK_EVERY);
        self.put_proxy(at, first, ProxyEvent::Look);
    }

    /// What it was asked is not answered, and what went through it is cut off.
    pub(crate) fn end_proxy(&mut self, at: usize) {
        let Some(proxy) = self.machines[at].proxy.take() else { return };
        for flight in proxy.flights.into_values() {
            self.request_ended(at, &flight.app, &Ending::EntryLost);
        }
        if let Some(Poll { by: (boot, switched), .. }) = proxy.poll {
            self.queue.put(self.now + 1, Event::Agent(at, boot, AgentEvent::Polled(switched, None)));
        }
        if let Some(Push { by: (boot, switched), sent, .. }) = proxy.push {
            let answer = AgentEvent::Pushed(switched, sent, Pushed::Away);
            self.queue.put(self.now + 1, Event::Agent(at, boot, answer));
        }
        if proxy.closing {
            say!(self, self.machines[at].name, "the load balancer has ended");
            self.entry_is_gone(at);
        }
    }

    /// SIGTERM: nothing new is taken, and it ends with its last request.
    pub(crate) fn close_proxy(&mut self, at: usize) {
        let Some(proxy) = self.machines[at].proxy.as_deref_mut() else { return };
        proxy.closing = true;
        self.put_proxy(at, DRAIN, ProxyEvent::CloseOver);
        self.end_if_closed(at);
    }

    fn end_if_closed(&mut self, at: usize) {
        let proxy = self.machines[at].proxy.as_deref();
        if proxy.is_some_and(|proxy| proxy.closing && proxy.flights.is_empty()) {
            self.end_proxy(at);
        }
    }

    fn accept(&mut self, at: usize) {
        if let Some(proxy) = self.machines[at].proxy.as_deref_mut() {
            proxy.accepts = true;
        }
    }

    pub(crate) fn put_proxy(&mut self, at: usize, after: u64, event: ProxyEvent) {
        if let Some(proxy) = &self.machines[at].proxy {
            self.queue.put(self.now + after, Event::Proxy(at, proxy.boot, event));
        }
    }

    pub(crate) fn proxy_event(&mut self, at: usize, boot: u64, event: ProxyEvent) {
        if self.machines[at].proxy.as_deref().is_none_or(|proxy| proxy.boot != boot) {
            return;
        }
        match event {
            ProxyEvent::LookedLongEnough => self.acknowledge(at, true),
            ProxyEvent::PollOver => self.answer_poll(at),
            ProxyEvent::CloseOver => self.end_proxy(at),
            ProxyEvent::Look => self.look_at_all(at),
            ProxyEvent::Seen(endpoint, passed) => self.seen(at, endpoint, passed),
            ProxyEvent::RequestEnds(id) => self.request_ends(at, id),
            ProxyEvent::ConnectOver(id) => self.connect_over(at, id),
        }
    }

    /// Its agent sends a table.
    pub(crate) fn offer_table(&mut self, at: usize, switched: u64, table: Arc<Table>) {
        let (version, sent) = (table.version, Sent::of(&table));
        let by = (self.machines[at].daemon_boots, switched);
        let full = self.machines[at].disk.full;
        let empty = self.scenario.sabotage == Some(Sabotage::EmptyAcknowledgement);
        let Some(proxy) = self.machines[at].proxy.as_deref_mut() else {
            return self.put_agent(at, 1, AgentEvent::Pushed(switched, sent, Pushed::Away));
        };
        let refusal = match news(proxy.table.as_deref(), &table) {
            Ok(true) if full => Some(Pushed::NotNow(vec!["no space left on the disk".to_owned()])),
            Ok(_) => None,
            Err(why) => Some(Pushed::Refused(vec![why])),
        };
        if let Some(refusal) = refusal {
            return self.put_agent(at, 1, AgentEvent::Pushed(switched, sent, refusal));
        }
        if empty && proxy.table.is_some() {
            proxy.claims = Some(version);
            let acknowledgement = Acknowledgement { version, ..Acknowledgement::default() };
            let answer = AgentEvent::Pushed(switched, sent, Pushed::Taken(acknowledgement));
            self.put_agent(at, 1, answer);
            return self.bump(at);
        }
        if news(proxy.table.as_deref(), &table) == Ok(true) {
            self.keep_table(at, &table);
            self.use_table(at, table);
        }
        if let Some(proxy) = self.machines[at].proxy.as_deref_mut() {
            proxy.push = Some(Push { until: self.now + FIRST_LOOK, by, sent });
            self.put_proxy(at, FIRST_LOOK, ProxyEvent::LookedLongEnough);
            self.acknowledge(at, false);
        }
    }

    /// Before it is in use and acknowledged.
    fn keep_table(&mut self, at: usize, table: &Arc<Table>) {
        let forgets = self.scenario.sabotage == Some(Sabotage::ForgetfulProxy) && self.dice.chance(50);
        let disk = &mut self.machines[at].disk;
        if !forgets {
            disk.proxy_table = Some(Arc::clone(table));
        }
    }

    fn use_table(&mut self, at: usize, table: Arc<Table>) {
        say!(self, format!("{} proxy", self.machines[at].name), "uses table {}", table.version);
        self.check_table_used(at, &table);
        let Some(proxy) = self.machines[at].proxy.as_deref_mut() else { return };
        let mut before = std::mem::take(&mut proxy.endpoints);
        let mut fresh = Vec::new();
        for (_, endpoint) in table.endpoints() {
            let active = endpoint.state == EndpointState::Active;
            let kept = before.remove(&endpoint.id).filter(|live| live.address == endpoint.address);
            let mut live = kept.unwrap_or_else(|| Live::new(endpoint.address));
            let looks = active && (!live.looked || !live.active);
            live.active = active;
            proxy.endpoints.insert(endpoint.id, live);
            fresh.extend(looks.then_some(endpoint.id));
        }
        proxy.table = Some(table);
        self.bump(at);
        for endpoint in fresh {
            self.look_at(at, endpoint);
        }
    }

    /// Answers a push once every new endpoint was looked at, or the time for that is over.
    fn acknowledge(&mut self, at: usize, anyhow: bool) {
        let now = self.now;
        let Some(proxy) = self.machines[at].proxy.as_deref_mut() else { return };
        let looked = proxy.endpoints.values().all(|live| live.looked || !live.active);
        proxy.accepts |= looked || anyhow;
        let late = |push: &mut Push| looked || (anyhow && now >= push.until);
        let Some(Push { by: (boot, switched), sent, .. }) = proxy.push.take_if(late) else { return };
        let version = proxy.table.as_ref().map(|table| table.version).unwrap_or_default();
        let answer = Acknowledgement { version, not_in_rotation: proxy.not_in_rotation() };
        let answer = AgentEvent::Pushed(switched, sent, Pushed::Taken(answer));
        self.queue.put(now + 1, Event::Agent(at, boot, answer));
    }

    /// Its agent asks for statistics beyond `after`.
    pub(crate) fn poll_stats(&mut self, at: usize, switched: u64, after: u64, wait: u64) {
        let by = (self.machines[at].daemon_boots, switched);
        let until = self.now + wait;
        match self.machines[at].proxy.as_deref_mut() {
            None => self.put_agent(at, 1, AgentEvent::Polled(switched, None)),
            Some(proxy) => {
                proxy.poll = Some(Poll { after, until, by });
                if proxy.sequence > after || wait == 0 {
                    self.answer_poll(at);
                } else {
                    self.put_proxy(at, wait, ProxyEvent::PollOver);
                }
            }
        }
    }

    fn answer_poll(&mut self, at: usize) {
        let now = self.now;
        let Some(proxy) = self.machines[at].proxy.as_deref_mut() else { return };
        let due = proxy.poll.filter(|poll| proxy.sequence > poll.after || now >= poll.until);
        let Some(Poll { by: (boot, switched), .. }) = due else { return };
        proxy.poll = None;
        let stats = Box::new(proxy.stats());
        let after = self.dice.between(1, 3);
        let answer = AgentEvent::Polled(switched, Some(stats));
        self.queue.put(now + after, Event::Agent(at, boot, answer));
    }

    /// Something changed that whoever polls wants to know.
    fn bump(&mut self, at: usize) {
        if let Some(proxy) = self.machines[at].proxy.as_deref_mut() {
            proxy.sequence += 1;
            self.answer_poll(at);
        }
    }
}

/// Whether `offered` replaces `held`; false: it is the same.
fn news(held: Option<&Table>, offered: &Table) -> Result<bool, String> {
    let Some(held) = held else { return Ok(true) };
    match offered.version.cmp(&held.version) {
        std::cmp::Ordering::Greater => Ok(true),
        std::cmp::Ordering::Equal if offered.same_content(held) => Ok(false),
        std::cmp::Ordering::Equal
            if offered.secret.mark != held.secret.mark && offered.same_but_secrets(held) =>
        {
            Ok(true)
        }
        std::cmp::Ordering::Equal => Err(format!("{} was another table", held.version)),
        std::cmp::Ordering::Less => Err(format!("{} is older than {}", offered.version, held.version)),
    }
}

impl Proxy {
    pub(crate) fn version(&self) -> Option<TableVersion> {
        self.table.as_ref().map(|table| table.version)
    }

    /// Of the secret part that it has.
    pub(crate) fn mark(&self) -> SecretMark {
        self.table.as_ref().map(|table| table.secret.mark.clone()).unwrap_or_default()
    }

    fn not_in_rotation(&self) -> std::collections::BTreeSet<EndpointId> {
        let out = self.endpoints.iter().filter(|(_, live)| live.active && !live.up());
        out.map(|(id, _)| *id).collect()
    }

    /// Every active endpoint of the app gets requests here, and there is one.
    pub(crate) fn serves(&self, app: &AppName) -> bool {
        let pool = self.table.as_ref().and_then(|table| table.pools.get(&PoolId(format!("{app}/web"))));
        let Some(pool) = pool else { return false };
        let in_rotation =
            |endpoint: &Endpoint| self.endpoints.get(&endpoint.id).is_some_and(Live::in_rotation);
        let mut active =
            pool.endpoints.iter().filter(|endpoint| endpoint.state == EndpointState::Active).peekable();
        active.peek().is_some() && active.all(in_rotation)
    }

    /// Requests under way at an endpoint, also one that has left the table.
    pub(crate) fn in_flight(&self, endpoint: EndpointId) -> u64 {
        self.flights.values().filter(|flight| flight.endpoint == endpoint).count() as u64
    }

    fn stats(&self) -> ProxyStats {
        let mut in_flight: BTreeMap<EndpointId, u64> = BTreeMap::new();
        for flight in self.flights.values() {
            *in_flight.entry(flight.endpoint).or_default() += 1;
        }
        ProxyStats {
            boot: self.id,
            sequence: self.sequence,
            version: self.claims.or(self.version()),
            secrets: self.mark(),
            not_in_rotation: self.not_in_rotation(),
            in_flight,
            pools: BTreeMap::new(),
            unmatched: 0,
            hosts_without_certificate: Vec::new(),
            endpoints: Default::default(),
            ejected: Vec::new(),
            why_out: BTreeMap::new(),
        }
    }
}
