//! The id that a request has in logs, headers and error pages.

use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use uuid::{Builder, Uuid};

pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// Longer ones are replaced: they are written to every log on the way.
const LONGEST: usize = 128;

/// The client's, if there is exactly one and it is visible ASCII of at most 128 characters; else a new UUIDv7.
pub(super) fn of(headers: &HeaderMap) -> HeaderValue {
    let mut given = headers.get_all(HEADER).iter();
    match (given.next(), given.next()) {
        (Some(value), None) if is_sane(value) => value.clone(),
        _ => make(),
    }
}

fn is_sane(value: &HeaderValue) -> bool {
    let bytes = value.as_bytes();
    (1..=LONGEST).contains(&bytes.len()) && bytes.iter().all(u8::is_ascii_graphic)
}

fn make() -> HeaderValue {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let millis = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    let id = Builder::from_unix_timestamp_millis(millis, &noise()).into_uuid();
    let mut text = Uuid::encode_buffer();
    let text = id.hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}

/// Bytes that nobody can foretell: a keyed hash of a counter, its key drawn once. Asking the system for each request would cost
/// more than the rest of the id.
fn noise() -> [u8; 10] {
    static KEY: LazyLock<RandomState> = LazyLock::new(RandomState::new);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Relaxed);
    let mut noise = [0; 10];
    noise[..8].copy_from_slice(&KEY.hash_one((count, 0u8)).to_le_bytes());
    noise[8..].copy_from_slice(&KEY.hash_one((count, 1u8)).to_le_bytes()[..2]);
    noise
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_of(values: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(HEADER, HeaderValue::from_str(value).unwrap());
        }
        of(&headers).to_str().unwrap().to_owned()
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
        let ids: std::collections::HashSet<_> = (0..10_000).map(|_| make()).collect();
        assert_eq!(ids.len(), 10_000);
    }
}
