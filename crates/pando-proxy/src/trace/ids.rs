//! Ids of traces and spans.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use siphasher::sip128::SipHasher13;

/// Never all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TraceId(pub(crate) [u8; 16]);

/// Never all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct SpanId(pub(crate) [u8; 8]);

impl TraceId {
    /// 63 bits that everybody who goes by a ratio draws alike: the last ones.
    pub(super) fn chance(self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1
    }

    pub(crate) fn hex(&self) -> Hex<'_> {
        Hex(&self.0)
    }
}

impl SpanId {
    pub(crate) fn hex(&self) -> Hex<'_> {
        Hex(&self.0)
    }
}

/// Bytes in small letters and digits.
#[derive(Debug)]
pub(crate) struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A new trace's.
pub(super) fn trace() -> TraceId {
    TraceId(drawn().max(1).to_be_bytes())
}

/// A new span's.
pub(super) fn span() -> SpanId {
    let [a, b, c, d, e, f, g, h, ..] = drawn().to_be_bytes();
    SpanId(u64::from_be_bytes([a, b, c, d, e, f, g, h]).max(1).to_be_bytes())
}

/// Bits that nobody can foretell and no two processes share: a keyed hash of a counter, its key drawn once.
fn drawn() -> u128 {
    static KEYED: LazyLock<SipHasher13> = LazyLock::new(|| {
        let key = RandomState::new();
        SipHasher13::new_with_keys(key.hash_one(0u8), key.hash_one(1u8))
    });
    static COUNT: AtomicU64 = AtomicU64::new(0);
    KEYED.hash(&COUNT.fetch_add(1, Relaxed).to_le_bytes()).as_u128()
}
