//! Rate limits, shared by all workers.

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use pando_routing::balance::hash::SecretKey;
use pando_routing::balance::rate::{Decision, LimitField, Limiter, PolicyField, Quota, subject};
use pando_routing::balance::sticky::cookie;
use pando_routing::rule::Asks;
use pando_routing::rule::limits::{RateKey, RateLimit};

/// Parts of a limiter, each behind a lock of its own, so that workers seldom meet.
const PARTS: usize = 16;

/// One limit and its subjects.
#[derive(Debug)]
pub(super) struct SharedLimit {
    pub(super) rule: RateLimit,
    quota: Quota,
    parts: [Mutex<Limiter>; PARTS],
}

/// What the limits of a rule say to one request.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    /// Values of `RateLimit-Policy` and `RateLimit`.
    pub(super) policy: String,
    pub(super) left: String,
    /// Seconds until it may come again, if it may not now.
    pub(super) wait: Option<u64>,
}

impl SharedLimit {
    pub(super) fn new(rule: &RateLimit) -> Self {
        let RateLimit { requests, window_seconds, burst, subjects, .. } = *rule;
        let quota = Quota { requests, window_seconds, burst: burst.unwrap_or(requests) };
        let subjects = usize::try_from(subjects).unwrap_or(usize::MAX).div_ceil(PARTS);
        let parts = std::array::from_fn(|_| Mutex::new(Limiter::new(quota, subjects)));
        Self { rule: rule.clone(), quota, parts }
    }

    fn check(&self, subject: u64, now: u64) -> Decision {
        // The limiter itself goes by the upper bits.
        let part = &self.parts[usize::try_from(subject % PARTS as u64).unwrap_or(0)];
        part.lock().unwrap_or_else(PoisonError::into_inner).check(subject, now)
    }

    fn subject(&self, asks: &impl Asks, key: &SecretKey) -> u64 {
        let address = || subject(key, Some(asks.address()), None);
        let of_value = |value: Option<&[u8]>| value.map(|value| subject(key, None, Some(value)));
        match &self.rule.key {
            RateKey::Address => address(),
            RateKey::Network(bits) => subject(key, None, Some(&network(asks.address(), bits.v4, bits.v6))),
            RateKey::Header(name) => of_value(asks.header(name).next()).unwrap_or_else(address),
            RateKey::Cookie(name) => {
                let mut values =
                    asks.header("cookie").flat_map(|field| cookie::values(field, name.as_bytes()));
                of_value(values.next()).unwrap_or_else(address)
            }
            RateKey::Everyone => subject(key, None, None),
        }
    }
}

/// An address without what follows its first bits; never as long as another family's.
fn network(address: IpAddr, v4: u8, v6: u8) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let rest = u32::MAX.checked_shr(v4.into()).unwrap_or(0);
            (address.to_bits() & !rest).to_be_bytes().to_vec()
        }
        IpAddr::V6(address) => {
            let rest = u128::MAX.checked_shr(v6.into()).unwrap_or(0);
            (address.to_bits() & !rest).to_be_bytes().to_vec()
        }
    }
}

/// Counts a request against each. `now` in the microseconds of `moment`.
pub(super) fn check<'l>(
    limits: impl IntoIterator<Item = &'l SharedLimit>,
    asks: &impl Asks,
    key: &SecretKey,
    now: u64,
) -> Verdict {
    let mut verdict = Verdict::default();
    for limit in limits {
        let decision = limit.check(limit.subject(asks, key), now);
        let name = &*limit.rule.name;
        append(&mut verdict.policy, &PolicyField { name, quota: limit.quota });
        append(&mut verdict.left, &LimitField { name, decision });
        if !decision.allowed {
            verdict.wait = verdict.wait.max(Some(decision.retry_after_seconds));
        }
    }
    verdict
}

fn append(list: &mut String, field: &impl std::fmt::Display) {
    use std::fmt::Write;
    let comma = if list.is_empty() { "" } else { ", " };
    // Writing to memory doesn't fail.
    let _ = write!(list, "{comma}{field}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_count_as_one() {
        let of = |address: &str| network(address.parse().unwrap(), 24, 48);
        assert_eq!(of("192.0.2.7"), of("::ffff:192.0.2.200"));
        assert_ne!(of("192.0.2.7"), of("192.0.3.7"));
        assert_eq!(of("2001:db8:1:2::7"), of("2001:db8:1:ffff::1"));
        assert_ne!(of("2001:db8:1::7"), of("2001:db8:2::7"));
    }
}
