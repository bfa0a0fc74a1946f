//! Names and passwords over HTTP (RFC 7617), checked at a bounded price.
//!
//! A password's hash is made to be dear to check, so that each request can't pay for it, and nobody shall make the proxy pay by
//! guessing. Who was right is remembered for a while by a keyed hash; checks are made on few threads beside those
//! that serve; each address may cause so many a minute, and only so many wait.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pando_routing::SecretText;
use pando_routing::balance::SECOND;
use pando_routing::balance::hash::SecretKey;
use pando_routing::balance::rate::{Limiter, Quota, subject};
use tokio::sync::Semaphore;

use crate::balance::moment;

/// Threads that check passwords, of all rules.
static SEATS: Semaphore = Semaphore::const_new(2);

/// Requests that wait for a seat, of one rule.
const MOST_WAITING: usize = 128;

/// How long they wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// Checks that one address may cause; who was right before needs none.
const CHECKS: Quota = Quota { requests: 30, window_seconds: 60, burst: 60 };

/// Addresses that are remembered for that.
const ADDRESSES: usize = 4096;

/// Answers that are remembered, right ones for ten minutes and wrong ones for one.
const MOST_KNOWN: usize = 4096;
const RIGHT_FOR: u64 = 600 * SECOND;
const WRONG_FOR: u64 = 60 * SECOND;

/// Bytes of a name and a password together. Hashing takes longer for longer ones.
const LONGEST: usize = 512;

/// The users of one rule.
pub(super) type Users = BTreeMap<Arc<str>, SecretText>;

/// Whether somebody may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    Right,
    /// Or none.
    Wrong,
    /// Their address has caused too many checks; seconds to wait.
    TooMany(u64),
    /// Too many wait for a check.
    Busy,
}

/// What a rule remembers of passwords.
#[derive(Debug)]
pub(super) struct Passwords {
    keys: [SecretKey; 2],
    known: Mutex<HashMap<[u64; 2], Known>>,
    checks: Mutex<Limiter>,
    waiting: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    right: bool,
    until: u64,
}

impl Passwords {
    pub(super) fn new() -> Self {
        Self {
            keys: [crate::balance::key::make(), crate::balance::key::make()],
            known: Mutex::default(),
            checks: Mutex::new(Limiter::new(CHECKS, ADDRESSES)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// `field` is the value of `Authorization`.
    pub(super) async fn ask(&self, users: &Arc<Users>, field: Option<&[u8]>, address: IpAddr) -> Word {
        let Some((name, password)) = field.and_then(credentials) else { return Word::Wrong };
        // A name that nobody has takes as long as one that somebody has.
        let hash = users.get(&*name).or_else(|| users.values().next());
        let (Some(hash), is_known) = (hash.cloned(), users.contains_key(&*name)) else { return Word::Wrong };
        let token = self.token(&name, &password, &hash);
        if let Some(right) = self.remembered(token) {
            return if right { Word::Right } else { Word::Wrong };
        }
        let who = subject(&self.keys[0], Some(address), None);
        let decision = lock(&self.checks).check(who, moment::now());
        if !decision.allowed {
            return Word::TooMany(decision.retry_after_seconds);
        }
        match self.check(password, hash).await {
            None => Word::Busy,
            Some(matches) => {
                let right = matches && is_known;
                self.remember(token, right);
                if right { Word::Right } else { Word::Wrong }
            }
        }
    }

    fn token(&self, name: &str, password: &str, hash: &SecretText) -> [u64; 2] {
        let text = [name, "\0", password, "\0", &hash.0].concat();
        self.keys.map(|key| key.hash(text.as_bytes()))
    }

    fn remembered(&self, token: [u64; 2]) -> Option<bool> {
        let known = lock(&self.known).get(&token).copied()?;
        (known.until > moment::now()).then_some(known.right)
    }

    fn remember(&self, token: [u64; 2], right: bool) {
        let now = moment::now();
        let until = now + if right { RIGHT_FOR } else { WRONG_FOR };
        let mut known = lock(&self.known);
        if known.len() >= MOST_KNOWN {
            known.retain(|_, known| known.until > now);
        }
        if known.len() >= MOST_KNOWN {
            // Guesses are what there is too much of.
            known.retain(|_, known| known.right);
        }
        if known.len() < MOST_KNOWN {
            known.insert(token, Known { right, until });
        }
    }

    /// `None`: no seat came free in time, or too many wait already.
    async fn check(&self, password: String, hash: SecretText) -> Option<bool> {
        let _waiting = Waiting::enter(&self.waiting)?;
        let seat = tokio::time::timeout(PATIENCE, SEATS.acquire()).await.ok()?.ok()?;
        // The seat is held until the check is done, even if nobody waits for it any more.
        tokio::task::spawn_blocking(move || {
            let right = matches(&password, &hash.0);
            drop(seat);
            right
        })
        .await
        .ok()
    }
}

/// One of those who wait.
struct Waiting<'w>(&'w AtomicUsize);

impl<'w> Waiting<'w> {
    fn enter(count: &'w AtomicUsize) -> Option<Self> {
        let place = Self(count);
        (count.fetch_add(1, SeqCst) < MOST_WAITING).then_some(place)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Name and password.
fn credentials(field: &[u8]) -> Option<(String, String)> {
    let (scheme, encoded) = field.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") || encoded.len() > LONGEST * 4 / 3 + 4 {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim_ascii()).ok()?).ok()?;
    let (name, password) = text.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

fn matches(password: &str, hash: &str) -> bool {
    use sha_crypt::{PasswordVerifier, ShaCrypt};
    if hash.starts_with("$6$") {
        return ShaCrypt::SHA512.verify_password(password.as_bytes(), hash).is_ok();
    }
    bcrypt::verify(password, hash).unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_of_other_programs_are_understood() {
        // Made by `openssl passwd -6 -salt saltstring 'Hello world!'`, and by Openwall's and others' test vectors.
        let sha = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";
        assert!(matches("Hello world!", sha) && !matches("Hello world", sha));
        let bcrypt = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        assert!(matches("U*U", bcrypt) && !matches("U*V", bcrypt));
        assert!(!matches("x", "plain") && !matches("x", "$6$") && !matches("", ""));
    }

    #[test]
    fn credentials_are_read_as_the_standard_has_them() {
        let read = |field: &str| credentials(field.as_bytes());
        let expected = Some(("Aladdin".to_owned(), "open sesame".to_owned()));
        assert_eq!(read("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), expected);
        assert_eq!(read("bAsIc  QWxhZGRpbjpvcGVuIHNlc2FtZQ=="), expected);
        assert_eq!(
            read(&format!("Basic {}", STANDARD.encode("a:b:c"))),
            Some(("a".to_owned(), "b:c".to_owned()))
        );
        for wrong in [
            "",
            "Basic",
            "Basic !",
            "Bearer abc",
            "Basic QWxhZGRpbg==",
            &format!("Basic {}", "A".repeat(4096)),
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn memory_is_bounded_and_who_was_right_is_kept() {
        let passwords = Passwords::new();
        passwords.remember([0, 0], true);
        for n in 1..20_000 {
            passwords.remember([n, n], false);
        }
        assert!(lock(&passwords.known).len() <= MOST_KNOWN);
        assert_eq!(passwords.remembered([0, 0]), Some(true));
    }
}
