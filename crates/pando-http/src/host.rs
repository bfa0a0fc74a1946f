//! What may stand in a `Host` header.

use crate::request::framing::number;

/// `name`, `name:port`, `1.2.3.4:port`, `[::1]:port`; names have letters, digits, `-`, `.`, `_` and `~`, at most 255 of them.
#[must_use]
pub fn is_host(host: &[u8]) -> bool {
    if host.first() == Some(&b'[') {
        return is_v6(host);
    }
    let name = host.iter().position(|byte| !OF_NAME[usize::from(*byte)]).unwrap_or(host.len());
    let (name, port) = host.split_at(name);
    (1..=255).contains(&name.len()) && is_port(port)
}

/// `[::1]`, with or without a port.
fn is_v6(host: &[u8]) -> bool {
    let Some((address, port)) = std::str::from_utf8(host).ok().and_then(|host| host[1..].split_once(']'))
    else {
        return false;
    };
    address.parse::<std::net::Ipv6Addr>().is_ok() && is_port(port.as_bytes())
}

/// Which bytes a name has.
const OF_NAME: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        byte += 1;
    }
    table
};

/// Nothing, `:`, or `:` and a number below 65536.
fn is_port(port: &[u8]) -> bool {
    match port {
        [] | [b':'] => true,
        [b':', digits @ ..] => number(digits).is_some_and(|port| port <= u64::from(u16::MAX)),
        _ => false,
    }
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
