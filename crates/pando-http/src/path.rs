//! Paths as they are matched: one spelling for what servers take for the same.
//!
//! A rule for `/admin` must hold for `/%61dmin`, `/x/../admin` and `//admin` alike, since the endpoint behind it may well
//! read them so. Matching looks at this spelling; the endpoint gets what the client wrote.

/// Writes the path's normal spelling into `out` and answers true; or false, with `out` untouched, when it is spelt so already.
///
/// Escapes of letters, digits, `-`, `.`, `_` and `~` are resolved (RFC 3986, 6.2.2.2), empty segments and `.` removed, `..`
/// followed, never above the root. `%2F` stays what it is: not a slash. What is no escape stays as well.
pub fn normal(path: &[u8], out: &mut Vec<u8>) -> bool {
    if !is_suspect(path) {
        return false;
    }
    let decoded = decode(path);
    let start = out.len();
    let ends_open = matches!(decoded.rsplit(|byte| *byte == b'/').next(), Some(b"" | b"." | b".."));
    for segment in decoded.split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => {
                let parent = out[start..].iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                out.truncate(start + parent);
            }
            name => {
                out.push(b'/');
                out.extend_from_slice(name);
            }
        }
    }
    if ends_open || out.len() == start {
        out.push(b'/');
    }
    if &out[start..] == path {
        out.truncate(start);
        return false;
    }
    true
}

/// Whether a path may be spelt otherwise than normal; most are not.
fn is_suspect(path: &[u8]) -> bool {
    if path.first() != Some(&b'/') {
        return false;
    }
    memchr::memchr2_iter(b'%', b'/', path)
        .any(|at| path[at] == b'%' || matches!(path.get(at + 1), Some(b'/' | b'.')))
}

fn decode(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        match unreserved(&path[at..]) {
            Some(byte) => {
                decoded.push(byte);
                at += 3;
            }
            None => {
                decoded.push(path[at]);
                at += 1;
            }
        }
    }
    decoded
}

/// What an escape at the start stands for, if that need not be escaped.
fn unreserved(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let byte = digit(*high)? << 4 | digit(*low)?;
    (byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')).then_some(byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn spelt(path: &str) -> String {
        let mut out = Vec::new();
        if normal(path.as_bytes(), &mut out) { String::from_utf8(out).unwrap() } else { path.to_owned() }
    }

    #[test]
    fn what_servers_take_for_the_same_is_spelt_the_same() {
        for (path, expected) in [
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/%61dmin", "/admin"),
            ("/x/../admin", "/admin"),
            ("/x/%2e%2E/admin", "/admin"),
            ("//admin", "/admin"),
            ("/a//b/", "/a/b/"),
            ("/a/./b/.", "/a/b/"),
            ("/a/b/..", "/a/"),
            ("/../..", "/"),
            ("/..", "/"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a%2Fb", "/a%2Fb"),
            ("/a%20b", "/a%20b"),
            ("/100%", "/100%"),
            ("/%zz%4", "/%zz%4"),
            ("/...", "/..."),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(spelt(path), expected, "{path}");
        }
    }

    proptest! {
        #[test]
        fn once_is_enough_and_nothing_leads_above_the_root(path in "/([a%2eE./]|%2e|%61){0,20}") {
            let once = spelt(&path);
            prop_assert!(once.starts_with('/'));
            prop_assert!(!once.split('/').any(|segment| segment == ".." || segment == "."), "{}", once);
            // An escape that only a decoded one completes is not decoded again: nobody decodes twice.
            if !once.contains('%') {
                prop_assert_eq!(spelt(&once), once);
            }
        }
    }
}
