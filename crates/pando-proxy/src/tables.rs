//! New tables: checked, kept on disk, swapped in, acknowledged.
//!
//! The order of a swap is what keeps requests from falling between two tables.
//! Endpoints that (re)enter are made ready before the snapshot that offers them is in
//! place; endpoints that leave are closed to new requests after the snapshot that
//! doesn't offer them is. A request that chose from the old snapshot too late is
//! turned away by the endpoint itself and looks into the new one.

pub(crate) mod file;
pub(crate) mod restore;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex as StdMutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pando_routing::{Acknowledgement, EndpointId, EndpointState, Table, TableVersion};
use pando_rt::tasks::Tasks;
use tokio::sync::Mutex;

use crate::balance::moment;
use crate::error::Refusal;
use crate::handover::Elder;
use crate::health::{self, FirstLooks};
use crate::https::HttpsRules;
use crate::live::Registry;
use crate::live::endpoint::{Endpoint, Kept};
use crate::live::idle::IdleLinks;
use crate::plane::Plane;
use crate::snapshot::Snapshot;
use crate::tls::{Askers, Certificates};
use crate::upstream::{Outbound, Outbounds, Wanted};

/// What was made of a table that can be used.
#[derive(Debug)]
struct Ready {
    certificates: Arc<Certificates>,
    outbounds: Outbounds,
    /// Where somebody listens for TLS.
    askers: Option<Askers>,
}

/// Takes tables, one at a time.
#[derive(Debug)]
pub(crate) struct Tables {
    plane: Arc<Plane>,
    state_file: Option<PathBuf>,
    /// Probers belong here.
    tasks: Tasks,
    turn: Mutex<()>,
    /// Another proxy serves in the place of this one, and has the say.
    closed: AtomicBool,
    /// The proxy before this one, while it ends.
    elder: StdMutex<Option<Elder>>,
    /// What that one knew of endpoints that no table here has named yet.
    known: StdMutex<HashMap<EndpointId, Kept>>,
    first_looks: FirstLooks,
}

impl Tables {
    pub(crate) fn new(plane: Arc<Plane>, state_file: Option<PathBuf>, tasks: Tasks) -> Self {
        let (elder, known) = (StdMutex::default(), StdMutex::default());
        let (turn, closed, first_looks) = (Mutex::new(()), AtomicBool::new(false), FirstLooks::default());
        Self { plane, state_file, tasks, turn, closed, elder, known, first_looks }
    }

    /// What the proxy before this one knew of its endpoints. Those that the next table names begin with it.
    pub(crate) fn inherit(&self, known: HashMap<EndpointId, Kept>) {
        *lock(&self.known) = known;
    }

    /// The proxy before this one is to use each new table too, for as long as it lives.
    pub(crate) fn pass_on_to(&self, elder: Elder) {
        *lock(&self.elder) = Some(elder);
    }

    /// The proxy before this one, if it still lives.
    pub(crate) fn elder(&self) -> Option<Elder> {
        let mut elder = lock(&self.elder);
        elder.take_if(|elder| elder.is_gone());
        elder.clone()
    }

    /// From here on tables come from the successor alone. Answers the last one that came from elsewhere.
    pub(crate) async fn close(&self) -> Option<Arc<Table>> {
        let _turn = self.turn.lock().await;
        self.closed.store(true, SeqCst);
        self.plane.current().map(|snapshot| Arc::clone(&snapshot.table))
    }

    /// Takes a table from the successor, who has checked it.
    pub(crate) async fn follow(&self, table: Table) {
        let _turn = self.turn.lock().await;
        match self.check(table).await {
            Ok((table, ready)) => self.swap_everywhere(table, ready).await,
            Err(refusal) => {
                tracing::warn!(%refusal, "a table of the successor can't be used; the one before stays in use")
            }
        }
    }

    /// Takes a table that carries an order of versions: lower ones are refused, the same one again is fine. `text` is what it was
    /// read from.
    ///
    /// # Errors
    /// Why it was refused; the table in use stays.
    pub(crate) async fn offer(&self, table: Table, text: Bytes) -> Result<Acknowledgement, Refusal> {
        let turn = self.turn.lock().await;
        self.still_open()?;
        let (table, ready) = self.check(table).await?;
        let held = self.plane.current();
        if is_news(held.as_deref().map(|snapshot| &*snapshot.table), &table)? {
            self.persist(&table, text).await?;
            self.swap_everywhere(table, ready).await;
        }
        drop(turn);
        Ok(self.acknowledge().await)
    }

    /// Takes a table whose source is the only authority, whatever its version.
    ///
    /// # Errors
    /// What is wrong with it; the table in use stays.
    pub(crate) async fn install(&self, table: Table) -> Result<Acknowledgement, Refusal> {
        let turn = self.turn.lock().await;
        self.still_open()?;
        let (table, ready) = self.check(table).await?;
        self.swap_everywhere(table, ready).await;
        drop(turn);
        Ok(self.acknowledge().await)
    }

    fn still_open(&self) -> Result<(), Refusal> {
        if self.closed.load(SeqCst) { Err(Refusal::HandedOver) } else { Ok(()) }
    }

    /// Here, then in the proxy before this one: when it returns, nobody begins anything against the table.
    async fn swap_everywhere(&self, table: Arc<Table>, ready: Ready) {
        self.swap(Arc::clone(&table), ready);
        if let Some(elder) = self.elder() {
            elder.follow(&table).await;
        }
    }

    /// Whether it can be used. Many new certificates take their time.
    async fn check(&self, table: Table) -> Result<(Arc<Table>, Ready), Refusal> {
        let held = self.plane.current();
        let now = self.plane.clock.now_millis() / 1000;
        let plane = Arc::clone(&self.plane);
        let checking = tokio::task::spawn_blocking(move || {
            let refused = |errors: Vec<_>| Refusal::invalid(&errors, &table);
            table.validate_after(held.as_deref().map(|snapshot| &*snapshot.table)).map_err(refused)?;
            let known = held.as_deref().map(|snapshot| (&*snapshot.table, &*snapshot.https.certificates));
            let certificates = Arc::new(Certificates::of(&table, known, now).map_err(refused)?);
            let outbounds = Outbound::all(&table, held.as_deref().map(|snapshot| &snapshot.outbounds))
                .map_err(refused)?;
            let askers = plane.tls.as_ref().map(|tls| tls.askers(&table)).transpose().map_err(refused)?;
            Ok((Arc::new(table), Ready { certificates, outbounds, askers }))
        });
        checking.await.map_err(|error| Refusal::Unchecked { source: error.into() })?
    }

    async fn persist(&self, table: &Table, text: Bytes) -> Result<(), Refusal> {
        let Some(path) = self.state_file.clone() else { return Ok(()) };
        let name = path.display().to_string();
        let is_secret = !table.secret.is_empty();
        let write = tokio::task::spawn_blocking(move || restore::write(&path, &text, is_secret));
        let written = write.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
        written.map_err(|source| Refusal::Persist { path: name, source })
    }

    /// Waits a little for the first looks at new endpoints, then says who is not in rotation.
    async fn acknowledge(&self) -> Acknowledgement {
        let looked = || {
            let snapshot = self.plane.snapshot.load();
            snapshot
                .as_ref()
                .is_none_or(|snapshot| snapshot.active().all(|endpoint| endpoint.was_looked_at()))
        };
        self.plane.sequence.wait_until(looked, self.plane.limits.first_look).await;
        let snapshot = self.plane.current();
        snapshot.map_or_else(Acknowledgement::default, |snapshot| Acknowledgement {
            version: snapshot.table.version,
            not_in_rotation: snapshot.not_in_rotation(),
        })
    }

    /// See the module's documentation for the order.
    fn swap(&self, table: Arc<Table>, ready: Ready) {
        let Ready { certificates, outbounds, askers } = ready;
        let version = table.version;
        let mut registry = self.plane.registry();
        let renewal = registry.renew(&table, |endpoint| self.make(endpoint));
        self.restore(&table, &registry);
        for (id, pool) in &table.pools {
            let wanted = Wanted {
                http2: pool.protocol.is_http2(),
                outbound: outbounds.get(id),
                proxy_protocol: pool.proxy_protocol,
            };
            let live = pool.endpoints.iter().filter_map(|endpoint| registry.endpoint(endpoint.id));
            live.for_each(|live| live.reach_by(wanted));
            // One for all endpoints of the pool: there may be thousands.
            let probe = Arc::new(pool.probe.clone());
            let active = pool.endpoints.iter().filter(|endpoint| endpoint.state == EndpointState::Active);
            active
                .filter_map(|endpoint| registry.endpoint(endpoint.id))
                .for_each(|live| live.activate(&probe));
        }
        let announces = table.pools.values().any(|pool| pool.proxy_protocol.is_some());
        self.plane.announces.store(announces, SeqCst);
        // Who is redirected to TLS must find it ready.
        if let Some(tls) = &self.plane.tls {
            tls.renew(&certificates, &table.secret.ticket_keys, askers.unwrap_or_default());
        }
        let https = HttpsRules::of(&table, certificates, self.plane.https_port);
        let before = self.plane.current();
        let snapshot = Snapshot::new(
            Arc::clone(&table),
            (https, outbounds),
            self.plane.key,
            &registry,
            before.as_deref(),
        );
        self.plane.snapshot.store(Some(Arc::new(snapshot)));
        let now = self.plane.clock.now_millis();
        for (pool, endpoint) in table.endpoints() {
            if let EndpointState::Draining { deadline_millis } = endpoint.state
                && let Some(live) = registry.endpoint(endpoint.id)
            {
                match table.pools.get(pool).is_some_and(|pool| pool.sticky.is_some()) {
                    true => live.keep_visitors(deadline_millis, now),
                    false => live.drain(deadline_millis, now),
                }
            }
        }
        renewal.gone.iter().for_each(|endpoint| endpoint.retire(now));
        registry.forget_idle();
        drop(registry);
        for endpoint in renewal.new {
            self.tasks.spawn_until_shutdown(health::probe(endpoint, self.first_looks.clone()));
        }
        self.plane.sequence.bump();
        tracing::info!(%version, "a table is in use");
    }

    /// Before anybody asks the endpoints for anything.
    fn restore(&self, table: &Table, registry: &Registry) {
        let mut known = lock(&self.known);
        if known.is_empty() {
            return;
        }
        let now = moment::now();
        for (pool, endpoint) in table.endpoints() {
            if let (Some(live), Some(pool)) = (registry.endpoint(endpoint.id), registry.pool(pool))
                && let Some(kept) = known.remove(&endpoint.id).filter(|kept| kept.address == live.address)
            {
                live.restore(&kept, pool, now);
            }
        }
        known.clear();
    }

    fn make(&self, endpoint: &pando_routing::Endpoint) -> Arc<Endpoint> {
        let limits = &self.plane.limits;
        let idle = IdleLinks::new(self.plane.workers, limits.upstream_idle_connections, limits.upstream_idle);
        Arc::new(Endpoint::new(endpoint.id, endpoint.address, idle, self.plane.sequence.clone()))
    }
}

fn lock<T>(held: &StdMutex<T>) -> MutexGuard<'_, T> {
    // Nothing in here panics half-way.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether `offered` replaces `held`; false: it is the same. What is near is no part of what was published, so that the same
/// version may come again with another locality; so it may with another secret part, which travels by a way of its own.
fn is_news(held: Option<&Table>, offered: &Table) -> Result<bool, Refusal> {
    let Some(held) = held else { return Ok(true) };
    let text = |version: TableVersion| version.to_string();
    match offered.version.cmp(&held.version) {
        std::cmp::Ordering::Greater => Ok(true),
        std::cmp::Ordering::Equal if offered.same_content(held) => Ok(offered.locality != held.locality),
        std::cmp::Ordering::Equal
            if offered.secret.mark != held.secret.mark && offered.same_but_secrets(held) =>
        {
            Ok(true)
        }
        std::cmp::Ordering::Equal => Err(Refusal::Conflict(text(held.version))),
        std::cmp::Ordering::Less => {
            Err(Refusal::Lower { offered: text(offered.version), held: text(held.version) })
        }
    }
}

#[cfg(test)]
mod tests {
    use pando_routing::{Pool, PoolId, SecretMark, Secrets, TicketKey};

    use super::*;

    fn table(epoch: u64, revision: u64, pool: Option<&str>) -> Table {
        let pools = pool.map(|name| (PoolId(name.to_owned()), Pool::default()));
        let version = TableVersion { epoch, revision };
        Table { schema: 1, version, pools: pools.into_iter().collect(), ..Table::default() }
    }

    #[test]
    fn only_higher_versions_are_news() {
        let held = table(2, 5, None);
        assert!(is_news(None, &held).unwrap());
        assert!(is_news(Some(&held), &table(2, 6, None)).unwrap());
        assert!(is_news(Some(&held), &table(3, 0, None)).unwrap());
        assert!(!is_news(Some(&held), &table(2, 5, None)).unwrap());
        assert!(matches!(is_news(Some(&held), &table(2, 5, Some("p"))), Err(Refusal::Conflict(_))));
        assert!(matches!(is_news(Some(&held), &table(2, 4, None)), Err(Refusal::Lower { .. })));
        assert!(matches!(is_news(Some(&held), &table(1, 9, None)), Err(Refusal::Lower { .. })));
    }

    #[test]
    fn the_same_version_is_news_with_another_secret_part() {
        let with = |mark: &str, key: u8, pool: Option<&str>| {
            let (mark, ticket_keys) = (SecretMark(mark.to_owned()), vec![TicketKey([key; 32])]);
            Table { secret: Secrets { mark, ticket_keys, ..Secrets::default() }, ..table(2, 5, pool) }
        };
        let held = with("a", 1, None);
        assert!(is_news(Some(&held), &with("b", 2, None)).unwrap());
        assert!(is_news(Some(&table(2, 5, None)), &held).unwrap());
        assert!(!is_news(Some(&held), &with("a", 1, None)).unwrap());
        // Of one version and mark there is one table, and of one version one without secrets.
        for wrong in [with("a", 2, None), with("b", 2, Some("p"))] {
            assert!(matches!(is_news(Some(&held), &wrong), Err(Refusal::Conflict(_))));
        }
    }

    #[test]
    fn the_same_version_is_news_when_something_else_is_near() {
        let held = table(2, 5, None);
        let near = |place: &str| Table { locality: Some(place.to_owned()), ..table(2, 5, None) };
        assert!(is_news(Some(&held), &near("main")).unwrap());
        assert!(!is_news(Some(&near("main")), &near("main")).unwrap());
        assert!(is_news(Some(&near("main")), &near("other")).unwrap());
        assert!(is_news(Some(&near("main")), &held).unwrap());
        let older = Table { locality: Some("main".to_owned()), ..table(2, 4, None) };
        assert!(matches!(is_news(Some(&held), &older), Err(Refusal::Lower { .. })));
    }
}
