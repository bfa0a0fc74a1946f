//! Finding and hiding one cookie.

use pando_routing::balance::sticky::cookie::{values, without};

/// Taking a cookie off leaves none of that name, all of every other, in order, and takes nothing twice.
pub fn cookie(data: &[u8]) {
    let Some(at) = data.iter().position(|byte| *byte == b'\n') else { return };
    let (name, field) = (&data[..at], &data[at + 1..]);
    if name.is_empty() || name.iter().any(|byte| !byte.is_ascii_alphanumeric() && *byte != b'_') {
        return;
    }
    let rest = rest_of(field, name);
    assert_eq!(values(&rest, name).count(), 0, "it is still there");
    assert_eq!(rest_of(&rest, name), rest, "taking it off twice takes more");
    if values(field, name).next().is_none() {
        assert_eq!(rest, field, "a field without it goes on as it came");
    }
    for other in [b"a".as_slice(), b"session", b"x_1"].into_iter().filter(|other| *other != name) {
        let before: Vec<_> = values(field, other).collect();
        assert_eq!(values(&rest, other).collect::<Vec<_>>(), before, "another cookie has changed");
    }
}

fn rest_of(field: &[u8], name: &[u8]) -> Vec<u8> {
    without(field, name).flat_map(|range| field[range].iter().copied()).collect()
}
