//! Hashed passwords: which are taken, and how dear they may be. A guess costs the proxy what it costs to check one.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::TableError;
use crate::certificate::SecretText;

type Users = BTreeMap<Arc<str>, BTreeMap<Arc<str>, SecretText>>;

/// 2^12 rounds take a quarter of a second.
const BCRYPT_COSTS: std::ops::RangeInclusive<u32> = 4..=12;

/// 5,000 unless said.
const MOST_ROUNDS: u32 = 100_000;

/// Nobody's list is longer; who has more users has another system for them.
const MOST_USERS: usize = 1_000;

pub(super) fn check(sets: &Users, errors: &mut Vec<TableError>) {
    for (set, users) in sets {
        let wrong = |user: &str, why| TableError::User { set: set.to_string(), user: user.to_owned(), why };
        if users.len() > MOST_USERS {
            errors.push(wrong("", "a set has at most 1000 users"));
        }
        for (user, hash) in users {
            if user.is_empty() || user.contains(|c: char| c == ':' || c.is_control()) {
                errors.push(wrong(user, "a user's name is not empty and has no `:`"));
            }
            errors.extend(fault(&hash.0).map(|why| wrong(user, why)));
        }
    }
}

fn fault(hash: &str) -> Option<&'static str> {
    let mut parts = hash.strip_prefix('$').unwrap_or_default().split('$');
    match parts.next().unwrap_or_default() {
        "2a" | "2b" | "2y" => bcrypt(parts.next(), parts.next(), parts.next()),
        "6" => sha512(&parts.collect::<Vec<_>>()),
        _ => Some(
            "the password must be hashed by bcrypt (`htpasswd -nB NAME`) or SHA-512-crypt (`openssl passwd -6`)",
        ),
    }
}

fn bcrypt(cost: Option<&str>, rest: Option<&str>, more: Option<&str>) -> Option<&'static str> {
    let cost = cost.filter(|cost| cost.len() == 2).and_then(|cost| cost.parse().ok());
    let is_whole = rest.is_some_and(|rest| rest.len() == 53 && rest.bytes().all(is_digit)) && more.is_none();
    match cost {
        Some(cost) if !BCRYPT_COSTS.contains(&cost) => Some("the cost of its bcrypt hash must be 4 to 12"),
        Some(_) if is_whole => None,
        _ => Some("its bcrypt hash is not whole"),
    }
}

fn sha512(parts: &[&str]) -> Option<&'static str> {
    let (rounds, rest) = match parts {
        [rounds, rest @ ..] if rounds.starts_with("rounds=") => {
            (rounds.strip_prefix("rounds=").and_then(|rounds| rounds.parse().ok()), rest)
        }
        rest => (Some(5_000), rest),
    };
    let is_whole = matches!(rest, [salt, hash] if (1..=16).contains(&salt.len()) && hash.len() == 86 && hash.bytes().all(is_digit));
    match rounds {
        Some(1_000..=MOST_ROUNDS) if is_whole => None,
        Some(1_000..=MOST_ROUNDS) => Some("its SHA-512-crypt hash is not whole"),
        _ => Some("the rounds of its SHA-512-crypt hash must be 1000 to 100000"),
    }
}

/// Of the base 64 that `crypt` has.
fn is_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/')
}

#[cfg(test)]
mod tests {
    use super::*;

    const BCRYPT: &str = "$2y$05$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe";
    const SHA512: &str = "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1";

    #[test]
    fn hashes_that_can_be_checked_in_time_are_taken() {
        assert_eq!(fault(BCRYPT), None);
        assert_eq!(fault(SHA512), None);
        assert_eq!(fault(&SHA512.replace("$6$", "$6$rounds=10000$")), None);
        for wrong in [
            "",
            "secret",
            "$apr1$x$y",
            "$2y$13$bvIG6Nmid91Mu9RcmmWZfO5HJIMCT8riNW0hEp8f6/FuA2/mHZFpe",
            &BCRYPT[..59],
            &BCRYPT.replace("$2y$05", "$2y$5"),
            &SHA512.replace("$6$", "$6$rounds=1000000$"),
            &SHA512.replace("$6$", "$6$rounds=x$"),
            &SHA512[..99],
        ] {
            assert!(fault(wrong).is_some(), "{wrong}");
        }
    }
}
