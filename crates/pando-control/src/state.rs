//! The store's content as planning and the API see it: read at one revision, with what guards a change needs.

use std::collections::BTreeMap;

use pando_model::assignment::Sharing;
use pando_model::desired::{AppDesired, Assigned, Deployment, SecretMark, Settings, Wish};
use pando_model::id::ServerId;
use pando_model::name::AppName;
use pando_model::release::Release;
use pando_model::time::Timestamp;
use pando_plan::World;
use pando_routing::Table;
use serde::{Deserialize, Serialize};

use crate::certificates::keys::StoredKeys;
use crate::certificates::{self, Certificates};
use crate::store::value::decode;
use crate::store::{Entry, Key, Range, Revision, Store, StoreError, keys};

/// The value of `/v1/tables/current`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PublishedTable {
    /// Without its secret part.
    pub table: Table,
    pub published_at: Timestamp,
    /// Which secrets it went out with.
    #[serde(default)]
    pub secrets: SecretMark,
}

/// What the store held at one revision.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    pub revision: Revision,
    pub world: World,
    /// Deployments that have ended and are kept, oldest first.
    pub ended: BTreeMap<AppName, Vec<Deployment>>,
    /// Each app's newest release number.
    pub counters: BTreeMap<AppName, u64>,
    /// Certificates for visitors, their secrets sealed.
    pub certificates: Certificates,
    /// The keys that load balancers share, sealed.
    pub table_keys: Option<StoredKeys>,
    /// When each key that was read was made and last put.
    revisions: BTreeMap<String, (Revision, Revision)>,
}

impl State {
    /// Reads everything that planning needs.
    ///
    /// # Errors
    /// When the store fails, or holds what can't be read.
    pub async fn load(store: &dyn Store) -> Result<Self, StoreError> {
        let ranges = vec![Range::prefix(keys::APPS), Range::prefix(keys::PORTS)];
        Ok(Self::read(store, ranges, None).await?.0)
    }

    /// Reads one app, the servers and the table; enough to show the app.
    ///
    /// # Errors
    /// As [`State::load`].
    pub async fn load_app(store: &dyn Store, app: &AppName) -> Result<Self, StoreError> {
        Ok(Self::read(store, vec![Range::prefix(Key::app_prefix(app))], None).await?.0)
    }

    /// As [`State::load_app`], and what another range held at the same revision.
    ///
    /// # Errors
    /// As [`State::load`].
    pub async fn load_app_and(
        store: &dyn Store,
        app: &AppName,
        beside: Range,
    ) -> Result<(Self, Vec<Entry>), StoreError> {
        Self::read(store, vec![Range::prefix(Key::app_prefix(app))], Some(beside)).await
    }

    async fn read(
        store: &dyn Store,
        mut ranges: Vec<Range>,
        beside: Option<Range>,
    ) -> Result<(Self, Vec<Entry>), StoreError> {
        ranges.extend([keys::SERVERS, keys::CERTIFICATES].map(Range::prefix));
        let single = [Key::Epoch, Key::Table, Key::cluster_settings(), Key::table_keys()];
        ranges.extend(single.iter().map(Range::key));
        let own = ranges.len();
        ranges.extend(beside);
        let mut reading = store.read(ranges).await?;
        let beside = reading.ranges.split_off(own).concat();
        let mut state = Self { revision: reading.revision, ..Self::default() };
        let mut sharing = Sharing::default();
        for entry in reading.ranges.iter().flatten() {
            state.take(entry, &mut sharing)?;
        }
        state.world.secrets = certificates::mark(&state.certificates, state.table_keys.as_ref());
        for app in state.world.apps.values_mut() {
            // Keys of deployments sort by the time of their making; numbers of releases don't, but their map does.
            app.deployments.make_contiguous().sort_by_key(|deployment| deployment.id);
        }
        Ok((state, beside))
    }

    fn take(&mut self, entry: &Entry, sharing: &mut Sharing) -> Result<(), StoreError> {
        self.revisions.insert(entry.key.clone(), (entry.created, entry.modified));
        let world = &mut self.world;
        let Ok(key) = entry.key.parse::<Key>() else {
            // A later version's; whoever goes back to this one knows why.
            tracing::warn!("the store has a key that this version does not know: {}", entry.key);
            return Ok(());
        };
        match key {
            Key::Epoch => world.epoch = decode(entry)?,
            Key::Setting(_) => world.settings = decode::<Settings>(entry)?,
            Key::Table => {
                let published: PublishedTable = decode(entry)?;
                (world.published_at, world.table_secrets) = (published.published_at, published.secrets);
                world.table = Some(published.table);
            }
            Key::ServerSpec(id) => drop(world.servers.insert(id, decode(entry)?)),
            Key::ServerAssignment(id) => {
                drop(world.assignments.insert(id, sharing.share(decode(entry)?)));
            }
            Key::Port(port) => drop(world.ports.insert(port, decode(entry)?)),
            Key::AppSpec(app) => world.app(app).wish = decode::<Wish>(entry)?,
            Key::AppAssigned(app) => world.app(app).assigned = decode::<Assigned>(entry)?,
            Key::AppRelease(app, number) => {
                drop(world.app(app).releases.insert(number, decode::<Release>(entry)?));
            }
            Key::AppCounter(app) => drop(self.counters.insert(app, decode(entry)?)),
            Key::Certificate(name) => drop(self.certificates.insert(name, decode(entry)?)),
            Key::Secret(_) => self.table_keys = Some(decode(entry)?),
            Key::AppDeployment(app, _) => self.take_deployment(app, decode(entry)?),
            _ => {}
        }
        Ok(())
    }

    fn take_deployment(&mut self, app: AppName, deployment: Deployment) {
        if deployment.phase.has_ended() {
            self.ended.entry(app).or_default().push(deployment);
        } else {
            self.world.app(app).deployments.push_back(deployment);
        }
    }

    /// The revision that last put a key which was read; `None`: it was absent. For [`crate::store::Txn::unchanged`].
    #[must_use]
    pub fn modified(&self, key: &Key) -> Option<Revision> {
        self.revisions.get(&key.to_string()).map(|(_, modified)| *modified)
    }

    /// The revision that made a key.
    #[must_use]
    pub fn created(&self, key: &Key) -> Option<Revision> {
        self.revisions.get(&key.to_string()).map(|(created, _)| *created)
    }

    /// Notes that a key was put (`Some`) or deleted at a revision, after a transaction that was made from this state; so that
    /// the next one can be made without reading again.
    pub fn written(&mut self, key: &Key, put: Option<Revision>) {
        let text = key.to_string();
        match put {
            Some(revision) => {
                let created = self.revisions.get(&text).map_or(revision, |(created, _)| *created);
                self.revisions.insert(text, (created, revision));
            }
            None => drop(self.revisions.remove(&text)),
        }
    }

    /// The app, once something was ever deployed (or tried).
    #[must_use]
    pub fn app(&self, app: &AppName) -> Option<&AppDesired> {
        self.world.apps.get(app)
    }

    /// Every deployment of the app that is kept, newest first.
    #[must_use]
    pub fn deployments(&self, app: &AppName) -> Vec<&Deployment> {
        let open = self.app(app).into_iter().flat_map(|app| &app.deployments);
        let mut all: Vec<&Deployment> = self.ended.get(app).into_iter().flatten().chain(open).collect();
        all.sort_by_key(|deployment| std::cmp::Reverse(deployment.id));
        all
    }

    /// The server's name, for people; its id when it is gone.
    #[must_use]
    pub fn server_name(&self, id: ServerId) -> String {
        self.world.servers.get(&id).map_or_else(|| id.to_string(), |server| server.name.to_string())
    }
}

trait Apps {
    fn app(&mut self, app: AppName) -> &mut AppDesired;
}

impl Apps for World {
    fn app(&mut self, app: AppName) -> &mut AppDesired {
        self.apps.entry(app).or_default()
    }
}
