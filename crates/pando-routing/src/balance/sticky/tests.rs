use proptest::prelude::*;

use super::cookie::{values, without};
use super::*;

const KEY: SecretKey = SecretKey([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);

fn rest(field: &[u8], name: &[u8]) -> Vec<u8> {
    without(field, name).flat_map(|range| field[range].to_vec()).collect()
}

fn check(field: &str, found: &[&str], left: &str) {
    let values: Vec<String> =
        values(field.as_bytes(), b"lb").map(|value| String::from_utf8(value.to_vec()).unwrap()).collect();
    assert_eq!(values, found, "{field:?}");
    assert_eq!(String::from_utf8(rest(field.as_bytes(), b"lb")).unwrap(), left, "{field:?}");
}

#[test]
fn the_cookie_is_found_and_taken_off_wherever_it_stands() {
    check("lb=x", &["x"], "");
    check("lb=x; a=1", &["x"], "a=1");
    check("a=1; lb=x", &["x"], "a=1");
    check("a=1; lb=x; b=2", &["x"], "a=1; b=2");
    check("lb=x; a=1; lb=y; b=2; lb=z", &["x", "y", "z"], "a=1; b=2");
    check("lb=x; lb=y", &["x", "y"], "");
    check("a=1;lb=x;b=2", &["x"], "a=1;b=2");
    check("\tlb = x ;a=1", &["x"], "a=1");
    check("lb=a=b; c=d", &["a=b"], "c=d");
    check("lb=; a=1", &[""], "a=1");
    check("lb=x;", &["x"], "");
    check("lb=x; ", &["x"], "");
}

#[test]
fn what_is_not_it_goes_on_as_it_came() {
    for field in [
        "",
        " ",
        ";",
        ";;",
        " a=1 ;; b=2 ; ",
        "lb",
        "lb; a=1",
        "LB=x",
        "xlb=1; lbx=2",
        "=lb",
        "a=\"lb=1\"",
        "a=1;",
        "\u{1f36a}=1; b=\u{0}",
    ] {
        check(field, &[], field);
    }
}

#[test]
fn the_token_is_siphash_of_the_name_in_base64url() {
    let mut vector = SipHasher24::new_with_key(&KEY.0);
    vector.write(&(0..15).collect::<Vec<u8>>());
    // The authors' vector for fifteen bytes.
    let published =
        [0x54, 0x93, 0xe9, 0x99, 0x33, 0xb0, 0xa8, 0x11, 0x7e, 0x08, 0xec, 0x0f, 0x97, 0xcf, 0xc3, 0xd9];
    assert_eq!(vector.finish128().as_bytes(), published);
    let token = Token::new(&KEY, "web-1");
    assert_eq!(token.as_str().len(), 22);
    assert!(token.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    assert_ne!(token, Token::new(&KEY, "web-2"));
    assert_ne!(token, Token::new(&SecretKey([9; 16]), "web-1"));
    assert_eq!(format!("{token:?}"), "Token(…)");
}

#[test]
fn a_visitor_stays_while_its_replica_can() {
    let tokens = Tokens::new(&KEY, ["web-1", "web-2", "web-3"]);
    let value = Token::new(&KEY, "web-2");
    let stay =
        |state: Stay| tokens.stay([value.as_str().as_bytes()], |n| if n == 1 { state } else { Stay::Ready });
    assert_eq!(stay(Stay::Ready), Some(1));
    assert_eq!(stay(Stay::Draining), Some(1), "its own until the drain ends");
    assert_eq!(stay(Stay::No), None, "not ready or gone: anew");
    assert_eq!(tokens.get(1), Some(value));
    assert_eq!(tokens.get(3), None);
    let gone = Tokens::new(&KEY, ["web-1", "web-3"]);
    assert_eq!(gone.stay([value.as_str().as_bytes()], |_| Stay::Ready), None);
}

#[test]
fn of_two_with_one_name_the_ready_one_goes_before_the_draining_one() {
    let tokens = Tokens::new(&KEY, ["web-1", "web-1"]);
    let value = Token::new(&KEY, "web-1");
    let stay = |states: [Stay; 2]| tokens.stay([value.as_str().as_bytes()], |n| states[n]);
    assert_eq!(stay([Stay::Draining, Stay::Ready]), Some(1));
    assert_eq!(stay([Stay::Draining, Stay::No]), Some(0));
}

#[test]
fn wrong_values_lead_nowhere_and_do_not_hide_a_right_one() {
    let tokens = Tokens::new(&KEY, ["web-1"]);
    let right = Token::new(&KEY, "web-1");
    let right = right.as_str().as_bytes();
    let all = |values: &[&[u8]]| tokens.stay(values.iter().copied(), |_| Stay::Ready);
    assert_eq!(all(&[b"", &right[..21], &[right, b"x"].concat(), right]), Some(0));
    assert_eq!(all(&[b"a", b"b", b"c", b"d", right]), None, "a fifth is not looked at");
    for n in 0..right.len() {
        let mut wrong = right.to_vec();
        wrong[n] ^= 1;
        assert_eq!(all(&[&wrong]), None);
    }
}

#[test]
fn set_cookie_says_what_the_policy_says() {
    let token = Token::new(&KEY, "web-1");
    let set_by = |secure, same_site, max_age_seconds, tls| {
        let policy = Sticky { cookie: "lb".into(), max_age_seconds, same_site, secure };
        SetCookie { policy: &policy, token, tls }.to_string().replace(token.as_str(), "T")
    };
    let set = |same_site, max_age_seconds, tls| set_by(None, same_site, max_age_seconds, tls);
    assert_eq!(
        set(SameSite::Lax, 86_400, true),
        "lb=T; Path=/; HttpOnly; Max-Age=86400; Secure; SameSite=Lax"
    );
    assert_eq!(set(SameSite::Strict, 0, false), "lb=T; Path=/; HttpOnly; SameSite=Strict");
    assert_eq!(set(SameSite::None, 0, true), "lb=T; Path=/; HttpOnly; Secure; SameSite=None");
    assert_eq!(set(SameSite::None, 0, false), "lb=T; Path=/; HttpOnly; SameSite=Lax");
    let behind_tls = set_by(Some(true), SameSite::None, 0, false);
    assert_eq!(behind_tls, "lb=T; Path=/; HttpOnly; Secure; SameSite=None");
    assert_eq!(set_by(Some(false), SameSite::None, 0, true), "lb=T; Path=/; HttpOnly; SameSite=Lax");
}

/// Pieces that fields are put together from by those who mean ill.
fn field() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"lb=x".to_vec()),
        Just(b"lb".to_vec()),
        Just(b";".to_vec()),
        Just(b"; ".to_vec()),
        Just(b"=".to_vec()),
        Just(b" \t".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"a=1".to_vec()),
        proptest::collection::vec(any::<u8>(), 0..6),
    ];
    proptest::collection::vec(piece, 0..20).prop_map(|pieces| pieces.concat())
}

/// Said once more, by splitting: what the pairs of the field are, trimmed.
fn pairs(field: &[u8]) -> Vec<Vec<u8>> {
    let trimmed = |pair: &[u8]| {
        let is_space = |byte: &u8| *byte == b' ' || *byte == b'\t';
        let from = pair.iter().position(|byte| !is_space(byte)).unwrap_or(pair.len());
        let to = pair.iter().rposition(|byte| !is_space(byte)).map_or(from, |last| last + 1);
        pair[from..to].to_vec()
    };
    field.split(|byte| *byte == b';').map(trimmed).collect()
}

fn is_ours(pair: &[u8]) -> bool {
    let mut halves = pair.splitn(2, |byte| *byte == b'=');
    let name = halves.next().unwrap_or_default();
    name.trim_ascii_end() == b"lb"
        && halves.next().is_some()
        && !name.ends_with(b"\x0c")
        && !name.ends_with(b"\n")
        && !name.ends_with(b"\r")
}

proptest! {
    #[test]
    fn any_field_loses_our_cookie_and_nothing_else(field in field()) {
        let left = rest(&field, b"lb");
        prop_assert_eq!(values(&left, b"lb").count(), 0);
        let solid = |pairs: Vec<Vec<u8>>| pairs.into_iter().filter(|pair| !pair.is_empty()).collect::<Vec<_>>();
        let expected: Vec<_> = solid(pairs(&field)).into_iter().filter(|pair| !is_ours(pair)).collect();
        prop_assert_eq!(solid(pairs(&left)), expected);
        prop_assert!(left.len() <= field.len());
        if values(&field, b"lb").count() == 0 {
            prop_assert_eq!(left, field);
        }
    }

    #[test]
    fn ranges_are_in_order_apart_and_never_empty(field in field()) {
        let mut end = 0;
        for range in without(&field, b"lb").filter(|_| !field.is_empty()) {
            prop_assert!(range.start >= end && range.end <= field.len());
            end = range.end;
        }
    }

    #[test]
    fn hostile_values_never_lead_to_a_replica(value in proptest::collection::vec(any::<u8>(), 0..64)) {
        let tokens = Tokens::new(&KEY, ["web-1", "web-2"]);
        prop_assert_eq!(tokens.stay([&*value], |_| Stay::Ready), None);
    }
}
