//! What the authority publishes, signed: the exact bytes travel with their signature through any hands.
//!
//! A signature says of what kind the bytes are, so that nobody can pass one kind off as another.

use std::fmt;
use std::str::FromStr;

use ring::rand::SystemRandom;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::TrustError;

/// What a signature is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Table,
    Assignment,
    /// The secret part of tables, for entry points alone.
    Secrets,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Assignment => "assignment",
            Self::Secrets => "secrets",
        }
    }

    /// What is signed: the kind's own beginning, then the bytes.
    fn message(self, payload: &str) -> Vec<u8> {
        format!("pando {} v1\n{payload}", self.word()).into_bytes()
    }
}

/// A JSON text and its signature. Nothing is known of it until [`SignedBytes::verify`]. What it says is not shown when it is
/// printed: there may be keys in it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedBytes {
    /// Exactly as it was signed.
    pub payload: String,
    /// Ed25519, in hexadecimal digits.
    pub signature: String,
}

impl fmt::Debug for SignedBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.payload.len();
        f.debug_struct("SignedBytes").field("bytes", &bytes).field("signature", &self.signature).finish()
    }
}

impl SignedBytes {
    /// The value, if the authority signed it as of this kind.
    ///
    /// # Errors
    /// [`TrustError::Signature`]; or when what was signed can't be understood, as from a later version.
    pub fn verify<T: DeserializeOwned>(&self, key: &VerifyingKey, kind: Kind) -> Result<T, TrustError> {
        if !key.has_signed(kind, self) {
            return Err(TrustError::Signature(kind.word()));
        }
        self.read_unverified()
    }

    /// The value, whoever wrote it. For where the bytes come from is known otherwise.
    ///
    /// # Errors
    /// When the text is no such value.
    pub fn read_unverified<T: DeserializeOwned>(&self) -> Result<T, TrustError> {
        serde_json::from_str(&self.payload)
            .map_err(|error| TrustError::Unreadable { what: "what was signed", why: unquoted(&error) })
    }
}

/// Why a text is not understood, without what it says: `serde_json` quotes what it met, which may be a key.
fn unquoted(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match (text.find('"'), text.rfind('"')) {
        (Some(start), Some(end)) if end > start => format!("{}(a text){}", &text[..start], &text[end + 1..]),
        _ => text,
    }
}

/// A value and the signed form that it came from or was made into.
#[derive(Debug, Clone, PartialEq)]
pub struct Signed<T> {
    pub value: T,
    pub bytes: SignedBytes,
}

impl<T: DeserializeOwned> Signed<T> {
    /// # Errors
    /// As [`SignedBytes::verify`].
    pub fn open(bytes: SignedBytes, key: &VerifyingKey, kind: Kind) -> Result<Self, TrustError> {
        Ok(Self { value: bytes.verify(key, kind)?, bytes })
    }
}

/// The public half of the authority's signing key. 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    fn has_signed(&self, kind: Kind, signed: &SignedBytes) -> bool {
        let key = UnparsedPublicKey::new(&ED25519, self.0);
        let signature = hex::decode(&signed.signature);
        signature.is_ok_and(|signature| key.verify(&kind.message(&signed.payload), &signature).is_ok())
    }
}

impl fmt::Display for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl FromStr for VerifyingKey {
    type Err = TrustError;

    fn from_str(text: &str) -> Result<Self, TrustError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| TrustError::Word {
            text: text.to_owned(),
            what: "a signing key",
            why: "it has 64 hexadecimal digits",
        })?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for VerifyingKey {
    type Error = TrustError;

    fn try_from(text: String) -> Result<Self, TrustError> {
        text.parse()
    }
}

impl From<VerifyingKey> for String {
    fn from(key: VerifyingKey) -> Self {
        key.to_string()
    }
}

/// The secret half, with the form that is stored.
pub(crate) struct SigningKey {
    pair: Ed25519KeyPair,
    pkcs8: Vec<u8>,
}

impl SigningKey {
    pub(crate) fn make() -> Result<Self, TrustError> {
        let what = "the signing key";
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new())
            .map_err(|error| TrustError::make(what, error))?;
        Self::read(pkcs8.as_ref().to_vec())
    }

    pub(crate) fn read(pkcs8: Vec<u8>) -> Result<Self, TrustError> {
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8)
            .map_err(|error| TrustError::Unreadable { what: "the signing key", why: error.to_string() })?;
        Ok(Self { pair, pkcs8 })
    }

    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    pub(crate) fn public(&self) -> VerifyingKey {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.pair.public_key().as_ref());
        VerifyingKey(bytes)
    }

    pub(crate) fn sign(&self, kind: Kind, payload: String) -> SignedBytes {
        let signature = hex::encode(self.pair.sign(&kind.message(&payload)));
        SignedBytes { payload, signature }
    }
}
