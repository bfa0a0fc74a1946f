//! The id that a request has in logs, headers and error pages.

use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};
use uuid::Uuid;

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
    let mut text = Uuid::encode_buffer();
    let text = Uuid::now_v7().hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
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
}
