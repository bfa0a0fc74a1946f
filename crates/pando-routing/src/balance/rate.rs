//! Rate limits by subject: an address, a header, or both.
//!
//! The generic cell rate algorithm (ITU-T I.371), which is a token bucket that needs one
//! number: when the bucket would be full again. Subjects live in a table of fixed size
//! that evicts whoever has used the least, so that nobody can fill memory, and who
//! presses hardest is remembered longest.

use std::fmt;
use std::net::IpAddr;

use super::hash::SecretKey;
use super::random::mix;

/// So much in so much time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// What comes back in one window, evenly.
    pub requests: u32,
    pub window_seconds: u32,
    /// What may be used at once; usually the same as `requests`.
    pub burst: u32,
}

/// The answer for one request, in the terms of draft-ietf-httpapi-ratelimit-headers-10.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    /// Requests that are left right now.
    pub remaining: u32,
    /// Seconds until all of them are back, rounded up.
    pub reset_seconds: u64,
    /// Seconds until one more is allowed, rounded up, at least 1; 0 if this one was.
    pub retry_after_seconds: u64,
}

impl Quota {
    /// Nanoseconds until one request is back. A quota of nothing lets nothing through.
    fn step(&self) -> u64 {
        let window = u64::from(self.window_seconds.max(1)) * 1_000_000_000;
        window / u64::from(self.requests.max(1))
    }

    /// Whether one more is allowed, and when the bucket is full again. `full` is that time before, both in nanoseconds.
    fn decide(&self, full: u64, now: u64) -> (Decision, u64) {
        let step = self.step();
        let now = now.saturating_mul(1000);
        let depth = step.saturating_mul(self.burst.into());
        let (before, with_this) = (full.max(now), full.max(now).saturating_add(step));
        let allowed = self.requests > 0 && with_this - now <= depth;
        let after = if allowed { with_this } else { before };
        let decision = Decision {
            allowed,
            remaining: u32::try_from(depth.saturating_sub(after - now) / step).unwrap_or(u32::MAX),
            reset_seconds: (after - now).div_ceil(1_000_000_000),
            retry_after_seconds: if allowed { 0 } else { self.wait(with_this, now.saturating_add(depth)) },
        };
        (decision, after)
    }

    /// Of a quota of nothing, a window: there is no right answer.
    fn wait(&self, with_this: u64, at_most: u64) -> u64 {
        if self.requests == 0 || self.burst == 0 {
            return self.window_seconds.max(1).into();
        }
        with_this.saturating_sub(at_most).div_ceil(1_000_000_000).max(1)
    }
}

/// So many subjects share a part of the table.
const WAYS: usize = 8;

/// One quota and its subjects. Belongs to one worker, or stands behind a lock; [`Limiter::check`] looks at eight places.
#[derive(Debug, Clone)]
pub struct Limiter {
    quota: Quota,
    places: Box<[[Place; WAYS]]>,
}

/// A subject, and when its bucket is full again; before that moment the place is in use.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    subject: u64,
    full: u64,
}

impl Limiter {
    /// With room for at least so many subjects that have used something of their quota: 16 bytes each, taken at once.
    #[must_use]
    pub fn new(quota: Quota, subjects: usize) -> Self {
        let parts = subjects.div_ceil(WAYS).max(1);
        Self { quota, places: vec![[Place::default(); WAYS]; parts].into() }
    }

    #[must_use]
    pub fn quota(&self) -> Quota {
        self.quota
    }

    /// Counts a request of that subject, see [`subject`], if it is allowed. One that is refused costs nothing.
    #[must_use]
    pub fn check(&mut self, subject: u64, now: u64) -> Decision {
        let quota = self.quota;
        let place = self.place(subject);
        if place.subject != subject {
            *place = Place { subject, full: 0 };
        }
        let (decision, full) = quota.decide(place.full, now);
        place.full = full;
        decision
    }

    /// The subject's place; if it has none, the one that is full soonest, whose subject has used the least.
    fn place(&mut self, subject: u64) -> &mut Place {
        let parts = u64::try_from(self.places.len()).unwrap_or(u64::MAX);
        let part = usize::try_from(super::random::share_of(subject, parts)).unwrap_or(0);
        let part = &mut self.places[part];
        let known = part.iter().position(|place| place.subject == subject);
        let (soonest, _) = part
            .iter()
            .enumerate()
            .fold((0, u64::MAX), |best, (n, place)| if place.full < best.1 { (n, place.full) } else { best });
        &mut part[known.unwrap_or(soonest)]
    }
}

/// What a rate limit is kept for. An IPv6 address counts by its /64, of which one visitor has all; an IPv4 address in IPv6's clothes
/// counts as what it is. The key keeps clients from choosing whose place they share.
#[must_use]
pub fn subject(key: &SecretKey, address: Option<IpAddr>, header: Option<&[u8]>) -> u64 {
    let address = match address.map(|address| address.to_canonical()) {
        None => 0,
        Some(IpAddr::V4(address)) => key.hash(&address.octets()),
        Some(IpAddr::V6(address)) => key.hash(&address.octets()[..8]),
    };
    let header = header.map_or(0, |value| key.hash(value));
    mix(address ^ header.rotate_left(1))
}

/// The value of `RateLimit-Policy`.
#[derive(Debug, Clone, Copy)]
pub struct PolicyField<'a> {
    pub name: &'a str,
    pub quota: Quota,
}

/// The value of `RateLimit`.
#[derive(Debug, Clone, Copy)]
pub struct LimitField<'a> {
    pub name: &'a str,
    pub decision: Decision,
}

impl fmt::Display for PolicyField<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        quoted(self.name, f)?;
        write!(f, ";q={};w={}", self.quota.requests, self.quota.window_seconds)
    }
}

impl fmt::Display for LimitField<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        quoted(self.name, f)?;
        write!(f, ";r={};t={}", self.decision.remaining, self.decision.reset_seconds)
    }
}

/// A string of RFC 8941; what can't be in one is left out.
fn quoted(name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str("\"")?;
    for character in name.chars().filter(|character| matches!(character, ' '..='~')) {
        if matches!(character, '"' | '\\') {
            f.write_str("\\")?;
        }
        write!(f, "{character}")?;
    }
    f.write_str("\"")
}

#[cfg(test)]
mod tests;
