//! What the store keeps of secrets is sealed by a key that is not in it.
//!
//! The key is a file on the control server's disk, readable by its owner alone, made
//! at the first start. Who has the store's files, or a copy of them, has no secret; who
//! has both has all. A sealed text belongs to the place that it was sealed for, so that
//! nobody can put one secret where another is expected.

use std::fmt;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pando_rt::fs::{read_if_there, write_atomically};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom, SystemRandom};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Bytes of a key.
const KEY_LEN: usize = 32;

/// Seals and opens. Prints nothing of its key.
pub struct Vault {
    key: LessSafeKey,
    /// Names the key without telling it.
    id: String,
    /// `None`: the key is nowhere but in memory.
    file: Option<PathBuf>,
}

/// A secret as the store may have it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    /// Which key sealed it: 16 hexadecimal digits.
    key: String,
    /// Nonce and ciphertext (AES-256-GCM), in base64.
    sealed: String,
}

impl Sealed {
    /// As it is written; another for each sealing, be it of the same secret.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.sealed
    }
}

#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    #[error("can't {doing} `{}`, the key of the store's secrets", path.display())]
    File { doing: &'static str, path: PathBuf, source: io::Error },
    #[error(
        "`{}` is no key of the store's secrets (it has 64 hexadecimal digits): put it back from a backup",
        path.display()
    )]
    NoKey { path: PathBuf },
    #[error(
        "`{}`, the key of the store's secrets, may be read by others: `chmod 600` it",
        path.display()
    )]
    Open { path: PathBuf },
    #[error("{place} was sealed with another key than {here}: put the key back that belongs to this store")]
    OtherKey { place: String, here: String },
    #[error("{place} is damaged: it does not open with its key")]
    Damaged { place: String },
    #[error("{place} opens, and holds what can't be understood")]
    Unreadable { place: String },
    #[error("the system has no randomness")]
    Random,
}

impl fmt::Debug for Vault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Vault").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Vault {
    /// With the key in `path`, which is made there if there is no such file. Blocking.
    ///
    /// # Errors
    /// When the file can't be read or made, is no key, or others may read it.
    pub fn open(path: &Path) -> Result<Self, VaultError> {
        let failed = |doing, source| VaultError::File { doing, path: path.to_owned(), source };
        let Some(bytes) = read_if_there(path).map_err(|error| failed("read", error))? else {
            let key = random::<KEY_LEN>()?;
            let text = hex::encode(key) + "\n";
            write_atomically(path, text.as_bytes(), 0o600).map_err(|error| failed("write", error))?;
            return Self::of(&key, Some(path));
        };
        let mode = std::fs::metadata(path).map_err(|error| failed("read", error))?.permissions().mode();
        if mode & 0o077 != 0 {
            return Err(VaultError::Open { path: path.to_owned() });
        }
        let mut key = [0; KEY_LEN];
        let read = hex::decode_to_slice(bytes.trim_ascii(), &mut key);
        read.map_err(|_| VaultError::NoKey { path: path.to_owned() })?;
        Self::of(&key, Some(path))
    }

    /// With a key that nobody keeps: for a store that lives in memory.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn ephemeral() -> Result<Self, VaultError> {
        Self::of(&random()?, None)
    }

    fn of(key: &[u8; KEY_LEN], file: Option<&Path>) -> Result<Self, VaultError> {
        let unbound = UnboundKey::new(&AES_256_GCM, key).map_err(|_| VaultError::Random)?;
        let named = digest(&SHA256, &[b"pando vault key\n", &key[..]].concat());
        let id = hex::encode(&named.as_ref()[..8]);
        Ok(Self { key: LessSafeKey::new(unbound), id, file: file.map(Path::to_owned) })
    }

    /// A secret for one place, such as a key of the store.
    ///
    /// # Errors
    /// When the system has no randomness, or the value has no form in JSON.
    pub fn seal(&self, place: &str, secret: &impl Serialize) -> Result<Sealed, VaultError> {
        let unreadable = |_| VaultError::Unreadable { place: place.to_owned() };
        let mut sealed = serde_json::to_vec(secret).map_err(unreadable)?;
        let nonce = random::<NONCE_LEN>()?;
        let aad = Aad::from(place.as_bytes());
        let used = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_append_tag(used, aad, &mut sealed).map_err(|_| VaultError::Random)?;
        Ok(Sealed { key: self.id.clone(), sealed: STANDARD.encode([&nonce[..], &sealed].concat()) })
    }

    /// What was sealed for this place.
    ///
    /// # Errors
    /// When another key sealed it, or it was changed, or sealed for another place.
    pub fn open_sealed<T: DeserializeOwned>(&self, place: &str, sealed: &Sealed) -> Result<T, VaultError> {
        if sealed.key != self.id {
            let here = self.file.as_ref();
            let here = here.map_or("the one in memory".to_owned(), |file| format!("`{}`", file.display()));
            return Err(VaultError::OtherKey { place: place.to_owned(), here });
        }
        let damaged = || VaultError::Damaged { place: place.to_owned() };
        let bytes = STANDARD.decode(&sealed.sealed).map_err(|_| damaged())?;
        let (nonce, rest) = bytes.split_first_chunk::<NONCE_LEN>().ok_or_else(damaged)?;
        let mut rest = rest.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self.key.open_in_place(nonce, Aad::from(place.as_bytes()), &mut rest);
        let plain = plain.map_err(|_| damaged())?;
        // What serde says of it could quote it.
        serde_json::from_slice(plain).map_err(|_| VaultError::Unreadable { place: place.to_owned() })
    }
}

fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| VaultError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};

    use super::*;

    fn opens(vault: &Vault, place: &str, sealed: &Sealed) -> Result<String, VaultError> {
        vault.open_sealed(place, sealed)
    }

    #[test]
    fn the_key_is_made_once_and_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secrets.key");
        let sealed = Vault::open(&path).unwrap().seal("here", &"a secret").unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(opens(&Vault::open(&path).unwrap(), "here", &sealed).unwrap(), "a secret");
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Vault::open(&path), Err(VaultError::Open { .. })));
        fs::write(&path, "short").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let error = Vault::open(&path).unwrap_err().to_string();
        assert!(error.contains("secrets.key") && error.contains("backup"), "{error}");
    }

    #[test]
    fn what_is_sealed_shows_nothing_and_is_never_twice_the_same() {
        let vault = Vault::ephemeral().unwrap();
        let [one, two] = [(); 2].map(|()| vault.seal("here", &"a long enough secret").unwrap());
        assert_ne!(one, two);
        let text = serde_json::to_string(&one).unwrap();
        assert!(!text.contains("secret") && !text.contains(&STANDARD.encode("a long enough secret")[..12]));
        assert_eq!(serde_json::from_str::<Sealed>(&text).unwrap(), one);
        assert!(!format!("{vault:?}").contains("key"));
    }

    #[test]
    fn it_opens_by_its_own_key_in_its_own_place_and_unchanged() {
        let (vault, other) = (Vault::ephemeral().unwrap(), Vault::ephemeral().unwrap());
        let sealed = vault.seal("here", &"a secret").unwrap();
        assert!(matches!(opens(&other, "here", &sealed), Err(VaultError::OtherKey { .. })));
        assert!(matches!(opens(&vault, "there", &sealed), Err(VaultError::Damaged { .. })));
        for at in 0..sealed.sealed.len() {
            let mut text = sealed.sealed.clone().into_bytes();
            text[at] = if text[at] == b'A' { b'B' } else { b'A' };
            let changed = Sealed { sealed: String::from_utf8(text).unwrap(), ..sealed.clone() };
            assert!(matches!(opens(&vault, "here", &changed), Err(VaultError::Damaged { .. })), "{at}");
        }
        let number = vault.seal("here", &7).unwrap();
        assert!(matches!(opens(&vault, "here", &number), Err(VaultError::Unreadable { .. })));
    }
}
