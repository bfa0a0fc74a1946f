//! The join word: everything that a server needs to join, in one word that can be copied.
//!
//! It carries the address of the API, the fingerprint of the authority, so that
//! the joining server knows whom it speaks to before it says anything, and the
//! secret that works once. Its own check tells a torn copy from a refused one.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};

use crate::{ClusterUrl, Fingerprint, TrustError};

const PREFIX: &str = "pando-join-";
const FORM: u8 = 1;
const SECRET: usize = 24;
const CHECK: usize = 4;
const SECRET_PREFIX: &str = "pando_join_";

/// A secret of 192 random bits; hidden from debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinSecret([u8; SECRET]);

impl JoinSecret {
    /// # Errors
    /// When the system has no randomness.
    pub fn make() -> Result<Self, TrustError> {
        let mut bytes = [0; SECRET];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|error| TrustError::make("a join token", error))?;
        Ok(Self(bytes))
    }

    /// As it stands in an `Authorization` header: `pando_join_` and hexadecimal digits.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{SECRET_PREFIX}{}", hex::encode(self.0))
    }
}

impl fmt::Debug for JoinSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinSecret(hidden)")
    }
}

impl FromStr for JoinSecret {
    type Err = TrustError;

    /// Reads what [`JoinSecret::reveal`] says.
    fn from_str(text: &str) -> Result<Self, TrustError> {
        let mut bytes = [0; SECRET];
        let digits = text.strip_prefix(SECRET_PREFIX).unwrap_or_default();
        hex::decode_to_slice(digits, &mut bytes)
            .map_err(|_| TrustError::JoinWord { why: "the secret is not whole" })?;
        Ok(Self(bytes))
    }
}

/// See the module. Displayed, it shows its secret: it is made to be shown to one person, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinWord {
    pub url: ClusterUrl,
    pub secret: JoinSecret,
}

impl fmt::Display for JoinWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = vec![FORM];
        bytes.extend(self.url.fingerprint.as_bytes());
        bytes.extend(self.secret.0);
        bytes.extend(self.url.authority().as_bytes());
        bytes.extend(check(&bytes));
        write!(f, "{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for JoinWord {
    type Err = TrustError;

    fn from_str(text: &str) -> Result<Self, TrustError> {
        let damaged = |why| TrustError::JoinWord { why };
        let code = text.trim().strip_prefix(PREFIX).ok_or(damaged("it begins with `pando-join-`"))?;
        let bytes = URL_SAFE_NO_PAD.decode(code).map_err(|_| damaged("a letter is wrong or missing"))?;
        let (bytes, found) = bytes.split_last_chunk::<CHECK>().ok_or(damaged("its end is missing"))?;
        if &check(bytes) != found {
            return Err(damaged("a part is missing or wrong"));
        }
        let (form, rest) = bytes.split_first().ok_or(damaged("its end is missing"))?;
        if *form != FORM {
            return Err(damaged("it is of a later version of pando: install that here"));
        }
        let (fingerprint, rest) = rest.split_first_chunk().ok_or(damaged("its end is missing"))?;
        let (secret, place) = rest.split_first_chunk().ok_or(damaged("its end is missing"))?;
        let place = std::str::from_utf8(place).map_err(|_| damaged("its address is no text"))?;
        let url = ClusterUrl::from_authority(place, Fingerprint::from_bytes(*fingerprint))?;
        Ok(Self { url, secret: JoinSecret(*secret) })
    }
}

fn check(bytes: &[u8]) -> [u8; CHECK] {
    let mut check = [0; CHECK];
    check.iter_mut().zip(digest(&SHA256, bytes).as_ref()).for_each(|(to, from)| *to = *from);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word() -> JoinWord {
        let fingerprint = Fingerprint::from_bytes([7; 32]);
        JoinWord {
            url: ClusterUrl::new("control.example.com", 7420, fingerprint).unwrap(),
            secret: JoinSecret::make().unwrap(),
        }
    }

    #[test]
    fn words_are_one_word_and_round_trip() {
        let word = word();
        let text = word.to_string();
        assert!(
            text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')),
            "{text}"
        );
        assert_eq!(format!(" {text}\n").parse::<JoinWord>().unwrap(), word);
        assert_eq!(word.secret.reveal().parse::<JoinSecret>().unwrap(), word.secret);
        assert!(!format!("{word:?}").contains(&word.secret.reveal()[11..]));
        assert_ne!(self::word().secret, word.secret);
    }

    #[test]
    fn a_torn_or_mistyped_word_is_told_from_a_refused_one() {
        let text = word().to_string();
        for end in 0..text.len() {
            assert!(text[..end].parse::<JoinWord>().is_err(), "{end}");
        }
        for place in 0..text.len() {
            let mut other = text.clone().into_bytes();
            other[place] = if other[place] == b'A' { b'B' } else { b'A' };
            let error = String::from_utf8(other).unwrap().parse::<JoinWord>().unwrap_err();
            assert!(error.to_string().contains("copy it whole"), "{error}");
        }
        assert!("pando_join_00".parse::<JoinSecret>().is_err());
    }
}
