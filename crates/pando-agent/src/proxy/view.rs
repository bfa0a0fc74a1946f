//! What is known of the proxy, from its answers. Pure.

use std::sync::Arc;

use pando_model::id::{InstanceId, Version};
use pando_model::observed::{ProxyStatus, TableRefusal};
use pando_routing::{Acknowledgement, EndpointId, ProxyStats, Table, TableVersion};
use uuid::Uuid;

/// What became of a table that was sent.
#[derive(Debug, Clone, PartialEq)]
pub enum Pushed {
    Taken(Acknowledgement),
    /// It won't ever take this table.
    Refused(Vec<String>),
    /// It could not take it just now, and says why.
    NotNow(Vec<String>),
    /// It wasn't there.
    Away,
}

/// Starts without a table and without a word from the proxy.
#[derive(Debug, Default)]
pub struct View {
    table: Option<Arc<Table>>,
    /// What is near to the proxy.
    locality: Option<String>,
    /// What it was last told to be near. A restart of it changes nothing: it keeps what it took.
    told: Option<Option<String>>,
    /// Which start of the proxy was seen last, and the sequence of its last answer.
    boot: Option<Uuid>,
    sequence: u64,
    refused: Option<TableVersion>,
    /// The newest table that it took when it was sent. What it says of itself, counts included, follows with the next poll.
    taken: Option<Version>,
    status: ProxyStatus,
}

impl View {
    /// As it is reported.
    #[must_use]
    pub fn status(&self) -> &ProxyStatus {
        &self.status
    }

    /// What the next poll is to wait beyond.
    #[must_use]
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The newest table stays; what was refused of an earlier one no longer matters.
    pub fn offer(&mut self, table: Arc<Table>) {
        if self.table.as_ref().is_none_or(|have| have.version < table.version) {
            self.table = Some(table);
            self.refused = None;
        }
    }

    /// What is near to the proxy.
    pub fn set_locality(&mut self, locality: Option<String>) {
        self.locality = locality;
    }

    /// Another proxy will be there, or none. The table stays.
    pub fn forget(&mut self) {
        *self = Self { table: self.table.take(), locality: self.locality.take(), ..Self::default() };
    }

    /// The table that the proxy is to be sent, if any: ours, when it uses an older one, or was last told of another locality, and
    /// has not refused this.
    #[must_use]
    pub fn to_push(&self) -> Option<Table> {
        let table = self.table.as_ref()?;
        let version = Version::new(table.version.epoch, table.version.revision);
        let has = self.status.acknowledged.max(self.taken);
        let behind = has.is_none_or(|has| has < version);
        let elsewhere = has == Some(version) && self.told.as_ref() != Some(&self.locality);
        let wanted = (behind || elsewhere) && self.refused != Some(table.version);
        wanted.then(|| Table { locality: self.locality.clone(), ..Table::clone(table) })
    }

    /// Takes in what became of a table that was sent with a locality.
    pub fn pushed(&mut self, version: TableVersion, locality: Option<String>, answer: Pushed) {
        match answer {
            Pushed::Taken(acknowledged) => {
                self.status.alive = true;
                self.told = Some(locality);
                // The requests under way that were last told are older than this table. Acknowledged with them, an endpoint that
                // it drains could pass for idle; the poll that the new table wakes tells both at once.
                self.taken = self.taken.max(Some(of(acknowledged.version)));
                self.status.refused = None;
            }
            Pushed::Refused(reasons) => {
                self.refused = Some(version);
                self.refuse(version, reasons);
            }
            Pushed::NotNow(reasons) => self.refuse(version, reasons),
            Pushed::Away => {}
        }
    }

    fn refuse(&mut self, version: TableVersion, reasons: Vec<String>) {
        self.status.alive = true;
        self.status.refused = Some(TableRefusal { version: of(version), reasons });
    }

    /// Takes in what the proxy told of itself.
    pub fn polled(&mut self, stats: &ProxyStats) {
        let restarted = self.boot != Some(stats.boot);
        if restarted {
            self.boot = Some(stats.boot);
            self.refused = None;
            self.taken = None;
        }
        self.sequence = stats.sequence;
        self.status.alive = true;
        self.status.acknowledged = stats.version.map(of);
        self.status.not_in_rotation = stats.not_in_rotation.iter().copied().map(instance).collect();
        self.status.without_certificate.clone_from(&stats.hosts_without_certificate);
        self.status.in_flight = stats.in_flight.iter().map(|(id, count)| (instance(*id), *count)).collect();
    }

    /// It can't be reached. What it acknowledged stays true of it until it says otherwise.
    pub fn lost(&mut self) {
        self.status.alive = false;
        self.sequence = 0;
    }
}

fn of(version: TableVersion) -> Version {
    Version::new(version.epoch, version.revision)
}

/// An endpoint of a table is an instance, by the same id.
fn instance(id: EndpointId) -> InstanceId {
    InstanceId::from_uuid(id.0)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    fn version(revision: u64) -> TableVersion {
        TableVersion { epoch: 1, revision }
    }

    fn table(revision: u64) -> Arc<Table> {
        Arc::new(Table { schema: 1, version: version(revision), ..Table::default() })
    }

    fn stats(boot: u128, sequence: u64, has: Option<u64>) -> ProxyStats {
        ProxyStats {
            boot: Uuid::from_u128(boot),
            sequence,
            version: has.map(version),
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
        view.pushed(version(2), None, Pushed::Away);
        assert_eq!(pushes(&view), Some(2));
        view.pushed(version(2), None, taken(2));
        assert_eq!((pushes(&view), view.status.alive), (None, true));
    }

    #[test]
    fn a_table_is_acknowledged_with_the_requests_under_way_since() {
        let mut view = View::default();
        view.polled(&stats(1, 1, Some(1)));
        view.offer(table(2));
        view.pushed(version(2), None, taken(2));
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
        view.pushed(version(2), None, taken(2));
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
        view.pushed(version(2), None, taken(2));
        view.lost();
        assert!(!view.status.alive && view.sequence() == 0);
        view.polled(&stats(2, 1, Some(1)));
        assert_eq!((pushes(&view), view.status.alive, view.sequence()), (Some(2), true, 1));
        view.pushed(version(2), None, taken(2));
        view.polled(&stats(3, 1, None));
        assert_eq!(pushes(&view), Some(2));
    }

    #[test]
    fn a_refused_table_is_not_pushed_again_but_to_a_new_proxy() {
        let mut view = View::default();
        view.polled(&stats(1, 1, None));
        view.offer(table(2));
        view.pushed(version(2), None, Pushed::Refused(vec!["no pool".to_owned()]));
        assert_eq!(pushes(&view), None);
        assert_eq!(view.status.refused.as_ref().unwrap().reasons, ["no pool"]);
        view.polled(&stats(1, 2, None));
        assert_eq!(pushes(&view), None);
        view.polled(&stats(2, 1, None));
        assert_eq!(pushes(&view), Some(2));
        view.pushed(version(2), None, Pushed::NotNow(vec!["disk full".to_owned()]));
        assert_eq!(pushes(&view), Some(2), "that may pass");
        view.offer(table(3));
        view.pushed(version(3), None, taken(3));
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
        view.pushed(version(2), near("main"), taken(2));
        assert_eq!(pushes(&view), None);
        view.set_locality(None);
        assert_eq!(view.to_push().unwrap().locality, None);
        view.pushed(version(2), None, taken(2));
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
        view.pushed(version(2), None, taken(2));
        view.forget();
        assert_eq!((view.sequence(), view.status()), (0, &ProxyStatus::default()));
        assert_eq!(pushes(&view), Some(2));
    }
}
