//! What may stand in a `Host` header.

/// `name`, `name:port`, `1.2.3.4:port`, `[::1]:port`; names have letters, digits, `-`, `.`, `_` and `~`, at most 255 of them.
#[must_use]
pub fn is_host(host: &[u8]) -> bool {
    let Ok(host) = std::str::from_utf8(host) else { return false };
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => ("v6", port),
            _ => return false,
        },
        None => host.find(':').map_or((host, ""), |colon| host.split_at(colon)),
    };
    let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    !name.is_empty() && name.len() <= 255 && name.bytes().all(is_name) && is_port(port)
}

/// Nothing, `:`, or `:` and a number below 65536.
fn is_port(port: &str) -> bool {
    let Some(digits) = port.strip_prefix(':') else { return port.is_empty() };
    digits.is_empty() || digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_or_without_a_port() {
        for good in ["a.example", "A.example:8080", "10.0.0.1", "[::1]:80", "[::1]", "a_b", "a.", "a:"] {
            assert!(is_host(good.as_bytes()), "{good}");
        }
        for bad in ["", "a b", "a/b", "a:b", "a:99999", "[::g]", "[::1", "u@a", "a,b", "a%41", "ä", ":80"] {
            assert!(!is_host(bad.as_bytes()), "{bad}");
        }
        assert!(!is_host(&[0xff]));
    }
}
