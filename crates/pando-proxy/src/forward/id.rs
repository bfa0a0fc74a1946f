//! The id that a request has in logs, headers and error pages.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use pando_http::{Known, RequestHead, Span};
use siphasher::sip128::SipHasher13;
use uuid::Builder;

pub(crate) const HEADER: &str = "x-request-id";

/// Longer ones are replaced: they are written to every log on the way.
const LONGEST: usize = 128;

/// A request's id.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Id {
    /// The client's own, in the request's head.
    Given(Span),
    Made([u8; 36]),
}

impl Id {
    /// The client's, if there is exactly one and it is visible ASCII of at most 128 characters; else a new UUIDv7 of
    /// that time.
    pub(crate) fn of(head: &RequestHead, bytes: &[u8], at_millis: i64) -> Self {
        let given = head.fields.only(Known::XRequestId).map(|field| field.value);
        given.filter(|given| is_sane(given.bytes(bytes))).map_or_else(|| make(at_millis), Self::Given)
    }

    /// `bytes` are those of the head that it was made for.
    pub(crate) fn text<'a>(&'a self, bytes: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Given(span) => span.bytes(bytes),
            Self::Made(text) => text,
        }
    }
}

fn is_sane(bytes: &[u8]) -> bool {
    (1..=LONGEST).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

fn make(at_millis: i64) -> Id {
    let millis = u64::try_from(at_millis).unwrap_or_default();
    let id = Builder::from_unix_timestamp_millis(millis, &noise()).into_uuid();
    let mut text = [0; 36];
    id.hyphenated().encode_lower(&mut text);
    Id::Made(text)
}

/// Bytes that nobody can foretell: a keyed hash of a counter, its key drawn once. Asking the system for each request would cost
/// more than the rest of the id.
fn noise() -> [u8; 10] {
    static KEYED: LazyLock<SipHasher13> = LazyLock::new(|| {
        let key = RandomState::new();
        SipHasher13::new_with_keys(key.hash_one(0u8), key.hash_one(1u8))
    });
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let hash = KEYED.hash(&COUNT.fetch_add(1, Relaxed).to_le_bytes()).as_bytes();
    std::array::from_fn(|n| hash[n])
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id_of(values: &[&str]) -> String {
        let lines: String = values.iter().map(|value| format!("x-request-id: {value}\r\n")).collect();
        let text = format!("GET / HTTP/1.1\r\nhost: a\r\n{lines}\r\n");
        let mut head = RequestHead::default();
        head.read(text.as_bytes(), &pando_http::Limits::default()).unwrap();
        let id = Id::of(&head, text.as_bytes(), 1_793_614_830_456);
        String::from_utf8(id.text(text.as_bytes()).to_vec()).unwrap()
    }

    #[test]
    fn a_sane_id_is_kept_and_any_other_replaced() {
        let longest = "x".repeat(128);
        for kept in ["abc-123", "{\"a\":1}", longest.as_str()] {
            assert_eq!(id_of(&[kept]), kept);
        }
        let too_long = "x".repeat(129);
        let cases: [&[&str]; 5] = [&[], &[""], &["a b"], &[&too_long], &["a", "b"]];
        for replaced in cases {
            let id = id_of(replaced);
            assert_eq!(Uuid::parse_str(&id).unwrap().get_version_num(), 7, "{replaced:?}");
        }
    }

    #[test]
    fn made_ids_differ() {
        let text = |id: Id| id.text(&[]).to_vec();
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| text(make(1_793_614_830_456))).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
