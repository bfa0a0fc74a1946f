//! Packed releases, by the SHA-256 of their bytes.
//!
//! `HEAD /v1/artifacts/DIGEST` says whether it is there (200 or 404), `PUT` sends
//! it, `GET` fetches it, whole or by `Range`. Agents have `HEAD` and `GET`, too, for
//! what is on their disk.

use http::HeaderValue;
use pando_model::release::Digest;
use serde::{Deserialize, Serialize};

/// The answer to a `PUT` that was taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ArtifactStored {
    pub digest: Digest,
    pub bytes: u64,
    /// It was there already; what was sent was not needed.
    pub existed: bool,
}

/// `bytes=N-` or `bytes=N-M` as first and one past the last. `None`: not within the file, or of another form.
#[must_use]
pub fn part_of(value: &HeaderValue, length: u64) -> Option<(u64, u64)> {
    let (first, last) = value.to_str().ok()?.strip_prefix("bytes=")?.split_once('-')?;
    let first: u64 = first.parse().ok()?;
    let end = if last.is_empty() { length } else { last.parse::<u64>().ok()?.checked_add(1)?.min(length) };
    (first < end).then_some((first, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_within_the_file_are_served() {
        for (text, part) in [
            ("bytes=0-", Some((0, 10))),
            ("bytes=4-", Some((4, 10))),
            ("bytes=4-6", Some((4, 7))),
            ("bytes=4-99", Some((4, 10))),
            ("bytes=10-", None),
            ("bytes=6-4", None),
            ("bytes=-3", None),
            ("bytes=0-1,3-4", None),
            ("lines=0-", None),
            ("bytes=18446744073709551615-18446744073709551615", None),
        ] {
            assert_eq!(part_of(&HeaderValue::from_static(text), 10), part, "{text}");
        }
    }
}
