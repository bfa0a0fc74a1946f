//! Consistent hashing with bounded loads: the same key goes to the same endpoint,
//! until that one has more than its share.
//!
//! Placement is by rendezvous (Thaler, Ravishankar: "Using name-based mappings to
//! increase hit rates", 1998): every endpoint has a score for a key, and the highest
//! wins. Taking one of n away moves its own keys and no other; adding one takes
//! 1/(n+1) of each. With weights the score is `-log2(u) / weight`, and the least wins
//! (Schindelhauer, Schomaker: "Weighted distributed hash tables", 2005).
//!
//! The load of each is bounded as Mirrokni, Thorup and Zadimoghaddam have it
//! ("Consistent hashing with bounded loads", 2018): with m requests in flight
//! including this one, an endpoint takes no more than ⌈c · m · weight / all weights⌉;
//! what is beyond goes to the key's next endpoint. With c above 1 somebody always has
//! room.
//!
//! Hashes are SipHash-2-4 with 64 bits of result under a key that all balancers of a
//! cluster share, so that they agree, and that clients don't know, so that they can't
//! aim. Scores are computed in integers alone: the same on every machine.

use std::net::IpAddr;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

use super::pick::Candidates;
use super::random::mix;

/// A 128-bit key, the same on all balancers. Written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretKey(pub [u8; 16]);

impl TryFrom<String> for SecretKey {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        // What was given is a secret, and not repeated.
        let wrong = "a balancing key has 32 hexadecimal digits";
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong);
        }
        u128::from_str_radix(&text, 16).map(|bits| Self(bits.to_be_bytes())).map_err(|_| wrong)
    }
}

impl From<SecretKey> for String {
    fn from(key: SecretKey) -> Self {
        format!("{:032x}", u128::from_be_bytes(key.0))
    }
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

impl SecretKey {
    /// SipHash-2-4-64 of `bytes`.
    #[must_use]
    pub fn hash(&self, bytes: &[u8]) -> u64 {
        SipHasher24::new_with_key(&self.0).hash(bytes)
    }

    /// The same of a client's address, however it is written: one IPv4 address in IPv6's clothes counts as what it is.
    #[must_use]
    pub fn hash_address(&self, address: IpAddr) -> u64 {
        match address.to_canonical() {
            IpAddr::V4(address) => self.hash(&address.octets()),
            IpAddr::V6(address) => self.hash(&address.octets()),
        }
    }
}

/// The default of how much more than its share one may have in flight, in percent: 125, the `c` = 1.25 with which Vimeo and HAProxy's
/// guide run it.
pub const BOUND_PERCENT: u32 = 125;

/// Where keys belong among the endpoints of one table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Places {
    /// Hashes of the endpoints' names, by index.
    names: Box<[u64]>,
    bound_percent: u32,
}

impl Places {
    /// `names` by the index of the candidates; a replica that comes again under its name gets its keys again. Of two with one
    /// name the first gets all. `bound_percent` is 100 times the paper's `c`; at least 101 is meant, or 0 for no bound.
    #[must_use]
    pub fn new<'n>(key: &SecretKey, names: impl IntoIterator<Item = &'n str>, bound_percent: u32) -> Self {
        let names = names.into_iter().map(|name| key.hash(name.as_bytes())).collect();
        let bound_percent = if bound_percent == 0 { 0 } else { bound_percent.max(101) };
        Self { names, bound_percent }
    }

    /// Of those in `tier` that may, the first in the order of this key that has room. `key` is the hash of what the request
    /// shows. Two passes, no memory.
    #[must_use]
    pub fn find(&self, key: u64, candidates: &impl Candidates, tier: Range<usize>) -> Option<usize> {
        let able = || tier.clone().filter(|n| *n < self.names.len() && candidates.may(*n));
        let share = Share::of(able(), candidates, self.bound_percent);
        let mut best: Option<Bid> = None;
        let mut first: Option<Bid> = None;
        for n in able() {
            let bid = Bid { n, score: mix(key ^ self.names[n]), weight: weight(candidates, n) };
            if first.as_ref().is_none_or(|held| bid.beats(held)) {
                first = Some(bid);
            }
            if share.has_room(candidates.in_flight(n), bid.weight)
                && best.as_ref().is_none_or(|held| bid.beats(held))
            {
                best = Some(bid);
            }
        }
        // Other workers may have filled all between the two looks; then it stays where it belongs.
        best.or(first).map(|bid| bid.n)
    }
}

fn weight(candidates: &impl Candidates, n: usize) -> u32 {
    candidates.weight(n).clamp(1, 256)
}

/// What there is to share: requests in flight with the one to come, and weights.
struct Share {
    requests: u64,
    weights: u64,
    bound_percent: u32,
}

impl Share {
    fn of(able: impl Iterator<Item = usize>, candidates: &impl Candidates, bound_percent: u32) -> Self {
        let none = Self { requests: 1, weights: 0, bound_percent };
        if bound_percent == 0 {
            return none;
        }
        able.fold(none, |sum, n| Self {
            requests: sum.requests.saturating_add(candidates.in_flight(n)),
            weights: sum.weights + u64::from(weight(candidates, n)),
            ..sum
        })
    }

    /// Whether one more stays within ⌈c · m · weight / weights⌉.
    fn has_room(&self, in_flight: u64, weight: u32) -> bool {
        let whole = u128::from(self.bound_percent) * u128::from(self.requests) * u128::from(weight);
        self.bound_percent == 0
            || u128::from(in_flight) < whole.div_ceil(100 * u128::from(self.weights.max(1)))
    }
}

/// One endpoint's claim to a key.
#[derive(Clone, Copy)]
struct Bid {
    n: usize,
    score: u64,
    weight: u32,
}

impl Bid {
    /// The logarithm is monotone, so that equal weights need none.
    fn beats(&self, other: &Self) -> bool {
        if self.weight == other.weight {
            return self.score > other.score;
        }
        let mine = u128::from(minus_log2(self.score)) * u128::from(other.weight);
        let its = u128::from(minus_log2(other.score)) * u128::from(self.weight);
        (mine, other.score) < (its, self.score)
    }
}

/// `-log2(bits / 2⁶⁴)` in units of 2⁻³²: by table and straight lines, at most 3 · 10⁻⁶ off, and never rising where it should
/// fall.
fn minus_log2(bits: u64) -> u64 {
    let zeros = bits.leading_zeros();
    if zeros == 64 {
        return 65 << 32;
    }
    // 1.f as a fraction of 2⁶³: eight bits for the step of the table, 32 for the place in it.
    let fraction = (bits << zeros) << 1;
    let step = usize::try_from(fraction >> 56).unwrap_or(0);
    let place = (fraction >> 24) & 0xFFFF_FFFF;
    let rise = LOG2[step + 1] - LOG2[step];
    let log = LOG2[step] + ((rise * place) >> 32);
    ((u64::from(zeros) + 1) << 32) - log
}

/// log2(1 + i/256) in units of 2⁻³².
static LOG2: [u64; 257] = log2_table();

const fn log2_table() -> [u64; 257] {
    let mut table = [0; 257];
    let mut step = 0;
    while step < 256 {
        table[step] = log2_of_one_and(step as u64);
        step += 1;
    }
    table[256] = 1 << 32;
    table
}

/// Bit by bit: squaring doubles the logarithm, and what goes over 2 is the next bit.
const fn log2_of_one_and(parts: u64) -> u64 {
    let mut value: u128 = (256 + parts as u128) << 54;
    let mut log = 0;
    let mut bit = 0;
    while bit < 32 {
        value = (value * value) >> 62;
        log <<= 1;
        if value >> 63 != 0 {
            value >>= 1;
            log |= 1;
        }
        bit += 1;
    }
    log
}

#[cfg(test)]
mod tests;
