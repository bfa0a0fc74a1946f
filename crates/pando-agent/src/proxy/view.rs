//! What is known of the proxy, from its answers. Pure.

use std::sync::Arc;

use pando_model::id::{InstanceId, Version};
use pando_model::observed::{ProxyStatus, TableRefusal};
use pando_routing::{Acknowledgement, EndpointId, ProxyStats, SecretMark, Secrets, Table, TableVersion};
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

/// Which of all tables was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    version: TableVersion,
    /// Of the secret part that it had.
    secrets: SecretMark,
    locality: Option<String>,
}

impl Sent {
    #[must_use]
    pub fn of(table: &Table) -> Self {
        let (secrets, locality) = (table.secret.mark.clone(), table.locality.clone());
        Self { version: table.version, secrets, locality }
    }
}

/// Starts without a table and without a word from the proxy.
#[derive(Debug, Default)]
pub struct View {
    /// As it was published.
    table: Option<Arc<Table>>,
    /// Of that table, or of one before.
    secrets: Option<Arc<Secrets>>,
    /// What is near to the proxy.
    locality: Option<String>,
    /// What it was last told to be near. A restart of it changes nothing: it keeps what it took.
    told: Option<Option<String>>,
    /// Which start of the proxy was seen last, and the sequence of its last answer.
    boot: Option<Uuid>,
    sequence: u64,
    /// Which one it won't take. Of the same version another may please, that has other secrets.
    refused: Option<(TableVersion, SecretMark)>,
    /// The newest table that it took when it was sent, and its secret part. What it says of itself, counts included, follows with
    /// the next poll.
    taken: Option<(Version, SecretMark)>,
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
        if self.lacks(table.version) {
            self.table = Some(table);
            self.refused = None;
        }
    }

    /// A table of this version would be newer than what it has.
    #[must_use]
    pub fn lacks(&self, version: TableVersion) -> bool {
        self.table.as_ref().is_none_or(|have| have.version < version)
    }

    /// The secret part for this table and those to come, until there is another.
    pub fn set_secrets(&mut self, secrets: Option<&Secrets>) {
        if self.secrets.as_ref().map(|have| &have.mark) != secrets.map(|new| &new.mark) {
            self.secrets = secrets.cloned().map(Arc::new);
        }
    }

    /// What is near to the proxy.
    pub fn set_locality(&mut self, locality: Option<String>) {
        self.locality = locality;
    }

    /// Another proxy will be there, or none. The table stays.
    pub fn forget(&mut self) {
        let (table, secrets, locality) = (self.table.take(), self.secrets.take(), self.locality.take());
        *self = Self { table, secrets, locality, ..Self::default() };
    }

    /// The table that the proxy is to be sent, if any: ours, when it uses an older one, or this one with other secrets, or was last
    /// told of another locality, and has not refused this. One that goes with secrets is sent with those that there are, be they of
    /// a table before, and not before there are any: nobody is to meet a balancer without certificates that has some coming.
    #[must_use]
    pub fn to_push(&self) -> Option<Table> {
        let table = self.table.as_ref()?;
        let none = Secrets::default();
        let secrets = match (&self.secrets, table.secret.mark.is_empty()) {
            (_, true) => &none,
            (Some(secrets), false) => &**secrets,
            (None, false) => return None,
        };
        let due = match self.has() {
            None => true,
            Some((has, _)) if has != of(table.version) => has < of(table.version),
            Some((_, with)) => *with != secrets.mark || self.told.as_ref() != Some(&self.locality),
        };
        let refused = self.refused.as_ref();
        let refused =
            refused.is_some_and(|(version, with)| (*version, with) == (table.version, &secrets.mark));
        let wanted = due && !refused;
        wanted.then(|| Table { locality: self.locality.clone(), ..table.joined(secrets) })
    }

    /// What the proxy uses. An answer that it gave before it took the last table says nothing of that.
    fn has(&self) -> Option<(Version, &SecretMark)> {
        let said = self.status.acknowledged.map(|version| (version, &self.status.secrets));
        let taken = self.taken.as_ref().map(|(version, secrets)| (*version, secrets));
        match (said, taken) {
            (Some(said), Some(taken)) => Some(if said.0 > taken.0 { said } else { taken }),
            (said, taken) => said.or(taken),
        }
    }

    /// Takes in what became of a table that was sent.
    pub fn pushed(&mut self, sent: Sent, answer: Pushed) {
        let Sent { version, secrets, locality } = sent;
        match answer {
            Pushed::Taken(acknowledged) => {
                self.status.alive = true;
                self.told = Some(locality);
                // The requests under way that were last told are older than this table. Acknowledged with them, an endpoint that
                // it drains could pass for idle; the poll that the new table wakes tells both at once.
                if self.taken.as_ref().is_none_or(|(taken, _)| *taken <= of(acknowledged.version)) {
                    self.taken = Some((of(acknowledged.version), secrets));
                }
                self.status.refused = None;
            }
            Pushed::Refused(reasons) => {
                self.refused = Some((version, secrets));
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
        self.status.secrets = stats.secrets.clone();
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
mod tests;
