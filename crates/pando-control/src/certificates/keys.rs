//! The keys that all load balancers share: what session tickets are sealed with, and what sticky cookies and hashing are keyed by.
//!
//! A ticket key seals for twelve hours and opens for twelve more, which is as long as a
//! ticket is good for. The one that seals next goes out a turn ahead: by the time that a
//! load balancer seals with it, all of them have had it for long.

use pando_model::time::{Millis, Timestamp};
use pando_routing::TicketKey;
use pando_routing::balance::hash::SecretKey;
use pando_trust::{Sealed, Vault, VaultError};
use serde::{Deserialize, Serialize};

use crate::store::value::decode;
use crate::store::{Key, Outcome, Store, StoreError, Txn};

/// How long a key seals, and how long a ticket is good for.
pub const TURN: Millis = Millis::from_secs(12 * 3600);

/// Keys that are kept to open with, at most; with those in use, no more than a table may have.
const MOST_BEFORE: usize = 4;

/// The value of `/v1/secrets/table`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredKeys {
    /// Since when the newest key seals.
    pub since: Timestamp,
    /// [`TableKeys`].
    pub secret: Sealed,
}

/// Prints none of its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableKeys {
    pub balancing: SecretKey,
    /// Seals.
    pub current: TicketKey,
    /// Seals after it.
    pub next: TicketKey,
    /// Sealed before, newest first; each opens until then.
    pub before: Vec<(TicketKey, Timestamp)>,
}

/// Why the keys could not be made or turned.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Vault(#[from] VaultError),
    #[error("the system has no randomness for the load balancers' keys")]
    Random,
}

impl TableKeys {
    fn make() -> Result<Self, KeysError> {
        let balancing = SecretKey(random()?);
        Ok(Self { balancing, current: TicketKey(random()?), next: TicketKey(random()?), before: Vec::new() })
    }

    /// The next turn, which begins at `now`. `fresh` seals after it.
    fn turned(self, fresh: TicketKey, now: Timestamp) -> Self {
        let Self { balancing, current, next, before } = self;
        let kept = before.into_iter().filter(|(_, until)| *until > now);
        let before = [(current, now + TURN)].into_iter().chain(kept).take(MOST_BEFORE).collect();
        Self { balancing, current: next, next: fresh, before }
    }

    /// As a table has them: the first seals, all of them open.
    #[must_use]
    pub fn in_order(&self) -> Vec<TicketKey> {
        [self.current, self.next].into_iter().chain(self.before.iter().map(|(key, _)| *key)).collect()
    }
}

impl StoredKeys {
    fn seal(keys: &TableKeys, since: Timestamp, vault: &Vault) -> Result<Self, VaultError> {
        Ok(Self { since, secret: vault.seal(&place(), keys)? })
    }

    /// # Errors
    /// When the vault's key did not seal them, or they are damaged.
    pub fn open(&self, vault: &Vault) -> Result<TableKeys, VaultError> {
        vault.open_sealed(&place(), &self.secret)
    }
}

fn place() -> String {
    Key::table_keys().to_string()
}

/// Makes the keys if there are none, and turns them when it is time. Whether it was.
///
/// # Errors
/// When the store or the vault fails; what was there stays.
pub async fn keep_fresh(store: &dyn Store, vault: &Vault, now: Timestamp) -> Result<bool, KeysError> {
    let key = Key::table_keys();
    let entry = store.get(&key).await?;
    let held: Option<StoredKeys> = entry.as_ref().map(decode).transpose()?;
    let keys = match &held {
        Some(held) if now.since(held.since) < TURN => return Ok(false),
        Some(held) => held.open(vault)?.turned(TicketKey(random()?), now),
        None => TableKeys::make()?,
    };
    let txn = Txn::new().unchanged(&key, entry.map(|entry| entry.modified));
    let txn = txn.put(&key, &StoredKeys::seal(&keys, now, vault)?)?;
    // Somebody else turned them at the same time, otherwise.
    Ok(matches!(store.txn(txn).await?, Outcome::Committed(_)))
}

fn random<const N: usize>() -> Result<[u8; N], KeysError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| KeysError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory;

    const START: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    async fn held(store: &dyn Store, vault: &Vault) -> TableKeys {
        let entry = store.get(&Key::table_keys()).await.unwrap().unwrap();
        decode::<StoredKeys>(&entry).unwrap().open(vault).unwrap()
    }

    #[tokio::test]
    async fn keys_turn_every_twelve_hours_and_open_for_twelve_more() {
        let (store, vault) = (memory::open().unwrap(), Vault::ephemeral().unwrap());
        assert!(keep_fresh(&store, &vault, START).await.unwrap());
        let first = held(&store, &vault).await;
        assert!(!keep_fresh(&store, &vault, START + TURN - Millis(1)).await.unwrap());
        assert!(keep_fresh(&store, &vault, START + TURN).await.unwrap());
        let second = held(&store, &vault).await;
        assert_eq!((second.balancing, second.current), (first.balancing, first.next));
        assert_eq!(second.in_order()[2..], [first.current]);
        assert!(keep_fresh(&store, &vault, START + TURN + TURN).await.unwrap());
        let third = held(&store, &vault).await;
        assert_eq!(third.in_order(), [second.next, third.next, second.current], "the first is of no use now");
    }

    #[tokio::test]
    async fn after_a_long_absence_what_sealed_until_now_still_opens() {
        let (store, vault) = (memory::open().unwrap(), Vault::ephemeral().unwrap());
        keep_fresh(&store, &vault, START).await.unwrap();
        let first = held(&store, &vault).await;
        let late = START + Millis::from_secs(30 * 24 * 3600);
        keep_fresh(&store, &vault, late).await.unwrap();
        let now = held(&store, &vault).await;
        assert_eq!(now.before, [(first.current, late + TURN)]);
        assert!(!keep_fresh(&store, &vault, late).await.unwrap());
    }

    #[tokio::test]
    async fn the_store_has_none_of_them_in_plain() {
        let (store, vault) = (memory::open().unwrap(), Vault::ephemeral().unwrap());
        keep_fresh(&store, &vault, START).await.unwrap();
        let keys = held(&store, &vault).await;
        let entry = store.get(&Key::table_keys()).await.unwrap().unwrap();
        let text = String::from_utf8_lossy(&entry.value).into_owned();
        for key in keys.in_order() {
            assert!(!text.contains(&String::from(key)));
        }
        assert!(!text.contains(&String::from(keys.balancing)));
        assert!(!format!("{keys:?}").contains(&String::from(keys.current)));
    }
}
