//! Tokens: who may call, and what for. The store has their hashes alone.

use std::fmt::Write;

use pando_api::auth::{Bearer, PREFIX, Scope};
use pando_api::v1::tokens::TokenInfo;
use pando_api::{ErrorBody, ErrorCode};
use pando_model::time::{Millis, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::join::Grant;
use crate::store::value::decode;
use crate::store::{Entry, Expect, Key, Op, Outcome, Range, Revision, Store, StoreError, Txn, keys};

/// The value of `/v1/tokens/ID`. The id is the first 16 digits of `hash`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredToken {
    pub name: String,
    #[serde(flatten)]
    pub scope: Scope,
    pub created_at: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    /// SHA-256 of the token's text, in hexadecimal. The text is 256 random bits, so no salt or stretching is needed.
    pub hash: String,
    /// With the scope `join`: what the server is to be that comes with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub join: Option<Grant>,
}

impl StoredToken {
    /// A join token and its id.
    #[must_use]
    pub fn for_joining(
        bearer: &Bearer,
        grant: Grant,
        now: Timestamp,
        expires_at: Timestamp,
    ) -> (String, Self) {
        let hash = hash_of(bearer);
        let name = grant.name.as_ref().map_or("a server".to_owned(), ToString::to_string);
        let scope = Scope::Join;
        let (expires_at, join) = (Some(expires_at), Some(grant));
        (id_of(&hash), Self { name, scope, created_at: now, expires_at, hash, join })
    }
}

/// Whoever a good token belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    pub id: String,
    pub name: String,
    pub scope: Scope,
}

/// A new token's text: 256 bits of the system's randomness.
///
/// # Errors
/// When the system has no randomness to give.
pub fn draw() -> Result<Bearer, ErrorBody> {
    let mut bytes = [0u8; 32];
    let unavailable = |_| ErrorBody::new(ErrorCode::Unavailable, "the system has no randomness for a token");
    getrandom::fill(&mut bytes).map_err(unavailable)?;
    Bearer::new(format!("{PREFIX}{}", hex::encode(bytes)))
        .map_err(|error| ErrorBody::new(ErrorCode::Internal, error.to_string()))
}

/// A token that was not stored yet.
#[derive(Debug, Clone)]
pub struct NewToken {
    pub name: String,
    pub scope: Scope,
    /// `None`: until it is removed.
    pub expires_in: Option<Millis>,
}

/// Stores a token's hash (with `also` in the same transaction). Storing the same text again renews its settings, so a daemon
/// may do so at each start with the token that it finds in its files.
///
/// # Errors
/// When the store fails.
pub async fn install(
    store: &dyn Store,
    bearer: &Bearer,
    new: &NewToken,
    now: Timestamp,
    also: Vec<Op>,
) -> Result<TokenInfo, StoreError> {
    let hash = hash_of(bearer);
    let token = StoredToken {
        name: new.name.clone(),
        scope: new.scope.clone(),
        created_at: now,
        expires_at: new.expires_in.map(|length| now + length),
        hash,
        join: None,
    };
    let id = id_of(&token.hash);
    store.txn(Txn::new().put(Key::Token(id.clone()), &token)?.ops(also)).await?;
    Ok(info(id, token))
}

/// Whose token it is, if it is known and has not expired.
///
/// # Errors
/// When the store fails: then nobody is let in.
pub async fn check(store: &dyn Store, bearer: &Bearer, now: Timestamp) -> Result<Option<Caller>, StoreError> {
    let hash = hash_of(bearer);
    let id = id_of(&hash);
    let Some(entry) = store.get(&Key::Token(id.clone())).await? else { return Ok(None) };
    let token: StoredToken = decode(&entry)?;
    let known = same(token.hash.as_bytes(), hash.as_bytes());
    let valid = token.expires_at.is_none_or(|at| now < at);
    Ok((known && valid).then_some(Caller { id, name: token.name, scope: token.scope }))
}

/// A token as it is stored, and the revision that it was last put at.
///
/// # Errors
/// When the store fails.
pub async fn stored(store: &dyn Store, id: &str) -> Result<Option<(Revision, StoredToken)>, StoreError> {
    let entry = store.get(&Key::Token(id.to_owned())).await?;
    entry.map(|entry| Ok((entry.modified, decode(&entry)?))).transpose()
}

/// Every token, oldest first.
///
/// # Errors
/// When the store fails.
pub async fn list(store: &dyn Store) -> Result<Vec<TokenInfo>, StoreError> {
    let (_, entries) = store.list(Range::prefix(keys::TOKENS)).await?;
    let read = entries.iter().filter_map(|entry| Some((token_id(entry)?, entry)));
    let tokens = read.map(|(id, entry)| Ok(info(id, decode(entry)?)));
    let mut tokens = tokens.collect::<Result<Vec<_>, StoreError>>()?;
    tokens.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
    Ok(tokens)
}

/// What removing a token came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removed {
    Done(TokenInfo),
    Unknown,
    /// It is the last one that may do everything and does not expire.
    LastAdmin,
}

/// Removes a token by its id; `also` (its event) goes into the same transaction.
///
/// # Errors
/// When the store fails.
pub async fn remove(
    store: &dyn Store,
    id: &str,
    also: impl Fn(&TokenInfo) -> Result<Vec<Op>, StoreError>,
) -> Result<Removed, StoreError> {
    let tokens = list(store).await?;
    let Some(token) = tokens.iter().find(|token| token.id == id) else { return Ok(Removed::Unknown) };
    let lasting = |token: &&TokenInfo| token.scope == Scope::Admin && token.expires_at.is_none();
    if lasting(&token) && tokens.iter().filter(lasting).count() == 1 {
        return Ok(Removed::LastAdmin);
    }
    let key = Key::Token(id.to_owned());
    let txn = Txn::new().guard(&key, Expect::Exists).delete(&key).ops(also(token)?);
    match store.txn(txn).await? {
        Outcome::Committed(_) => Ok(Removed::Done(token.clone())),
        Outcome::Conflict => Ok(Removed::Unknown),
    }
}

/// How long an expired token is still listed, so that whoever wonders why it lets nobody in finds it.
const LISTED_EXPIRED: Millis = Millis::from_secs(7 * 24 * 3600);

/// Deletes tokens that expired long ago; how many.
///
/// # Errors
/// When the store fails.
pub async fn purge(store: &dyn Store, now: Timestamp) -> Result<usize, StoreError> {
    let tokens = list(store).await?;
    let old = tokens.iter().filter(|token| token.expires_at.is_some_and(|at| at + LISTED_EXPIRED < now));
    let keys: Vec<Key> = old.map(|token| Key::Token(token.id.clone())).collect();
    if !keys.is_empty() {
        store.txn(keys.iter().fold(Txn::new(), Txn::delete)).await?;
    }
    Ok(keys.len())
}

fn info(id: String, token: StoredToken) -> TokenInfo {
    let StoredToken { name, scope, created_at, expires_at, join, .. } = token;
    let used = join.is_some_and(|grant| grant.used.is_some());
    TokenInfo { id, name, scope, created_at, expires_at, used }
}

fn token_id(entry: &Entry) -> Option<String> {
    match entry.key.parse() {
        Ok(Key::Token(id)) => Some(id),
        _ => None,
    }
}

fn hash_of(bearer: &Bearer) -> String {
    let digest = Sha256::digest(bearer.reveal().as_bytes());
    digest.iter().fold(String::with_capacity(64), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn id_of(hash: &str) -> String {
    hash[..16].to_owned()
}

/// Takes the same time wherever the difference is.
fn same(left: &[u8], right: &[u8]) -> bool {
    left.len() == right.len() && left.iter().zip(right).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory;

    fn new(scope: Scope, expires_in: Option<Millis>) -> NewToken {
        NewToken { name: "ci".to_owned(), scope, expires_in }
    }

    #[tokio::test]
    async fn a_token_is_known_until_it_expires_or_is_removed() {
        let store = memory::open().unwrap();
        let (start, bearer) = (Timestamp::from_millis(1000), draw().unwrap());
        let wanted = new(Scope::Read, Some(Millis(500)));
        let info = install(&store, &bearer, &wanted, start, vec![]).await.unwrap();
        let known = |now| check(&store, &bearer, now);
        assert_eq!(known(start).await.unwrap().unwrap().scope, Scope::Read);
        assert!(known(start + Millis(499)).await.unwrap().is_some());
        assert_eq!(known(start + Millis(500)).await.unwrap(), None);
        assert_eq!(check(&store, &draw().unwrap(), start).await.unwrap(), None);
        let removed = remove(&store, &info.id, |_| Ok(vec![])).await.unwrap();
        assert_eq!(removed, Removed::Done(info.clone()));
        assert_eq!(known(start).await.unwrap(), None);
        assert_eq!(remove(&store, &info.id, |_| Ok(vec![])).await.unwrap(), Removed::Unknown);
    }

    #[tokio::test]
    async fn the_text_is_nowhere_in_the_store() {
        let store = memory::open().unwrap();
        let bearer = draw().unwrap();
        install(&store, &bearer, &new(Scope::Admin, None), Timestamp::default(), vec![]).await.unwrap();
        let (_, entries) = store.list(Range::prefix("/")).await.unwrap();
        let text = bearer.reveal().strip_prefix(PREFIX).unwrap();
        for entry in entries {
            assert!(!String::from_utf8_lossy(&entry.value).contains(text) && !entry.key.contains(text));
        }
    }

    #[tokio::test]
    async fn the_last_admin_token_stays() {
        let store = memory::open().unwrap();
        let now = Timestamp::default();
        let first = install(&store, &draw().unwrap(), &new(Scope::Admin, None), now, vec![]).await.unwrap();
        let brief = new(Scope::Admin, Some(Millis::from_secs(9)));
        install(&store, &draw().unwrap(), &brief, now, vec![]).await.unwrap();
        let rid = |id: String| {
            let store = &store;
            async move { remove(store, &id, |_| Ok(vec![])).await.unwrap() }
        };
        assert_eq!(rid(first.id.clone()).await, Removed::LastAdmin);
        install(&store, &draw().unwrap(), &new(Scope::Admin, None), now, vec![]).await.unwrap();
        assert!(matches!(rid(first.id).await, Removed::Done(_)));
    }

    #[tokio::test]
    async fn only_what_expired_long_ago_is_purged() {
        let store = memory::open().unwrap();
        let now = Timestamp::default();
        for expires_in in [None, Some(Millis(1)), Some(Millis::from_secs(3600))] {
            install(&store, &draw().unwrap(), &new(Scope::Read, expires_in), now, vec![]).await.unwrap();
        }
        assert_eq!(purge(&store, now + LISTED_EXPIRED).await.unwrap(), 0);
        assert_eq!(purge(&store, now + LISTED_EXPIRED + Millis(2)).await.unwrap(), 1);
        assert_eq!(list(&store).await.unwrap().len(), 2);
    }

    #[test]
    fn comparing_is_exact() {
        assert!(same(b"abc", b"abc") && same(b"", b""));
        assert!(!same(b"abc", b"abd") && !same(b"abc", b"ab") && !same(b"xbc", b"abc"));
    }
}
