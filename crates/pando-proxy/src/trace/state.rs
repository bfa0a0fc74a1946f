//! `tracestate`: what tracing systems on the way have to say to their own kind.

/// A longer list is nobody's.
const MOST: usize = 32;

/// Writes the line of several fields' lists, in their order; nothing if one of them is malformed, or there is nothing in them.
pub(super) fn write<'a>(values: impl Iterator<Item = &'a [u8]>, out: &mut Vec<u8>) {
    let before = out.len();
    let mut keys: Vec<&[u8]> = Vec::new();
    for member in values.flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii) {
        if member.is_empty() {
            continue;
        }
        let known = key(member).filter(|key| keys.len() < MOST && !keys.contains(key));
        let Some(key) = known else { return out.truncate(before) };
        out.extend_from_slice(if keys.is_empty() { b"tracestate: " } else { b"," });
        out.extend_from_slice(member);
        keys.push(key);
    }
    if !keys.is_empty() {
        out.extend_from_slice(b"\r\n");
    }
}

/// A well-formed member's.
fn key(member: &[u8]) -> Option<&[u8]> {
    let equals = member.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&member[..equals], &member[equals + 1..]);
    (is_key(key) && is_value(value)).then_some(key)
}

/// `vendor`, or `tenant@vendor`.
fn is_key(key: &[u8]) -> bool {
    match key.iter().position(|byte| *byte == b'@') {
        None => is_name(key, 256, u8::is_ascii_lowercase),
        Some(at) => {
            let first = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
            is_name(&key[..at], 241, first) && is_name(&key[at + 1..], 14, u8::is_ascii_lowercase)
        }
    }
}

fn is_name(name: &[u8], most: usize, first: impl Fn(&u8) -> bool) -> bool {
    let part = |byte: &u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'*' | b'/');
    name.len() <= most && name.first().is_some_and(first) && name.iter().all(part)
}

/// Without space at its end, which was taken off already.
fn is_value(value: &[u8]) -> bool {
    let part = |byte: &u8| matches!(byte, b' '..=b'~') && !matches!(byte, b',' | b'=');
    (1..=256).contains(&value.len()) && value.iter().all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(values: &[&str]) -> String {
        let mut out = b"before|".to_vec();
        write(values.iter().map(|value| value.as_bytes()), &mut out);
        String::from_utf8(out).unwrap().strip_prefix("before|").unwrap().to_owned()
    }

    #[test]
    fn lists_are_joined_in_their_order() {
        assert_eq!(line(&["rojo=00f067aa0ba902b7", "", "congo=t61rcWkgMzE, a=b"]), {
            "tracestate: rojo=00f067aa0ba902b7,congo=t61rcWkgMzE,a=b\r\n"
        });
        assert_eq!(line(&["0fw529a3039@dt=FfF8/~ x", ",, ,"]), "tracestate: 0fw529a3039@dt=FfF8/~ x\r\n");
        assert_eq!(line(&[]), "");
        assert_eq!(line(&[",", " "]), "");
        let longest = format!("{}={}", "a".repeat(256), "b".repeat(256));
        assert_eq!(line(&[&longest]), format!("tracestate: {longest}\r\n"));
        let most: Vec<String> = (0..32).map(|n| format!("k{n}=v")).collect();
        assert_eq!(line(&[&most.join(",")]), format!("tracestate: {}\r\n", most.join(",")));
    }

    #[test]
    fn one_malformed_member_spoils_them_all() {
        let too_many: Vec<String> = (0..33).map(|n| format!("k{n}=v")).collect();
        for bad in [
            "a",
            "=a",
            "a=",
            "A=b",
            "0a=b",
            "a=b=c",
            "a b=c",
            "a@=b",
            "@a=b",
            "a@B=c",
            "a@0b=c",
            "a@b@c=d",
            "a=\u{e9}",
            "a=b\tc",
            "a=1,a=2",
            &format!("{}=b", "a".repeat(257)),
            &format!("a={}", "b".repeat(257)),
            &format!("{}@b=c", "a".repeat(242)),
            &format!("a@{}=c", "b".repeat(15)),
            &too_many.join(","),
        ] {
            assert_eq!(line(&["ok=1", bad]), "", "{bad}");
        }
    }
}
