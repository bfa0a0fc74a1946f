//! Sticky sessions: a cookie that says which replica a visitor stays with.
//!
//! Its value is a keyed hash of the replica's stable name (SipHash-2-4 with 128 bits of
//! result): it means the same on all balancers, survives their restarts and the
//! replica's replacement, and tells a visitor nothing; who doesn't know the key can't
//! choose a replica. The cookie is set by the balancer and taken off again before the
//! replica sees it.

pub mod cookie;

#[cfg(test)]
mod tests;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use siphasher::sip128::{Hasher128, SipHasher24};
use std::hash::Hasher;

use super::hash::SecretKey;
use crate::policy::{SameSite, Sticky};

/// 128 bits in base64url without padding.
const LENGTH: usize = 22;

/// The cookie's value for one replica.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Token([u8; LENGTH]);

impl Token {
    #[must_use]
    pub fn new(key: &SecretKey, name: &str) -> Self {
        let mut hasher = SipHasher24::new_with_key(&key.0);
        // Apart from the places of consistent hashing, which are 64 bits under the same key.
        hasher.write(b"sticky\0");
        hasher.write(name.as_bytes());
        let mut text = [b'A'; LENGTH];
        // 16 bytes are 22 characters, always.
        let _ = URL_SAFE_NO_PAD.encode_slice(hasher.finish128().as_bytes(), &mut text);
        Self(text)
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Takes as long for any value of this length, so that time doesn't tell how much of a guess was right.
    fn is(&self, value: &[u8]) -> bool {
        let differ = self.0.iter().zip(value).fold(0, |differ, (a, b)| differ | (a ^ b));
        value.len() == LENGTH && differ == 0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// The tokens of one pool's endpoints, by index; made once a table.
#[derive(Debug, Clone, Default)]
pub struct Tokens(Box<[Token]>);

/// Whether an endpoint may keep its visitors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stay {
    /// Active, ready, not ejected, not full.
    Ready,
    /// It gets nobody new, but keeps its own until its drain ends.
    Draining,
    /// Not ready, or gone.
    No,
}

impl Tokens {
    /// `names` of the endpoints that may keep visitors, draining ones too.
    #[must_use]
    pub fn new<'n>(key: &SecretKey, names: impl IntoIterator<Item = &'n str>) -> Self {
        Self(names.into_iter().map(|name| Token::new(key, name)).collect())
    }

    #[must_use]
    pub fn get(&self, n: usize) -> Option<Token> {
        self.0.get(n).copied()
    }

    /// The endpoint that a visitor with these values of the cookie stays with. `None`: choose anew, and set the cookie.
    ///
    /// The first value that leads anywhere counts. While a replica is exchanged there are two of its name: the one that is ready
    /// goes before the one that drains.
    #[must_use]
    pub fn stay<'v>(
        &self,
        values: impl IntoIterator<Item = &'v [u8]>,
        stay: impl Fn(usize) -> Stay,
    ) -> Option<usize> {
        values.into_iter().take(MOST_VALUES).find_map(|value| self.resolve(value, &stay))
    }

    fn resolve(&self, value: &[u8], stay: &impl Fn(usize) -> Stay) -> Option<usize> {
        let mut draining = None;
        for n in (0..self.0.len()).filter(|n| self.0[*n].is(value)) {
            match stay(n) {
                Stay::Ready => return Some(n),
                Stay::Draining => draining = draining.or(Some(n)),
                Stay::No => {}
            }
        }
        draining
    }
}

/// A browser sends two of one name when they were set for two paths or domains; more are made to cost time.
const MOST_VALUES: usize = 4;

/// The value of a `Set-Cookie` field; as text by its `Display`.
#[derive(Debug, Clone, Copy)]
pub struct SetCookie<'a> {
    pub policy: &'a Sticky,
    pub token: Token,
    /// Whether the visitor came over TLS.
    pub tls: bool,
}

impl fmt::Display for SetCookie<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, token, tls } = self;
        let secure = policy.secure.unwrap_or(*tls);
        write!(f, "{}={}; Path=/; HttpOnly", policy.cookie, token.as_str())?;
        if policy.max_age_seconds > 0 {
            write!(f, "; Max-Age={}", policy.max_age_seconds)?;
        }
        if secure {
            f.write_str("; Secure")?;
        }
        f.write_str(match policy.same_site {
            SameSite::Strict => "; SameSite=Strict",
            // Browsers refuse it without `Secure`.
            SameSite::None if secure => "; SameSite=None",
            SameSite::None | SameSite::Lax => "; SameSite=Lax",
        })
    }
}
