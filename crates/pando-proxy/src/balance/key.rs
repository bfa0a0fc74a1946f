//! The key that this proxy makes up where a table has none; kept, so that visitors find their replica again after a restart.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::path::{Path, PathBuf};

use pando_routing::balance::hash::SecretKey;
use pando_rt::fs::{read_if_there, write_atomically};

/// For the proxy alone.
const MODE: u32 = 0o600;

/// The key kept beside the last table; a new one if there is none. Without a place to keep it, or when that fails, one that lasts
/// until the proxy ends.
pub(crate) fn load(state_file: Option<&Path>) -> SecretKey {
    let Some(path) = state_file.map(beside) else { return make() };
    load_from(&path).unwrap_or_else(|error| {
        tracing::warn!(path = %path.display(), %error, "sticky sessions won't outlive this proxy: their key can't be kept");
        make()
    })
}

fn beside(state_file: &Path) -> PathBuf {
    let mut path = state_file.as_os_str().to_owned();
    path.push(".key");
    path.into()
}

fn load_from(path: &Path) -> io::Result<SecretKey> {
    let held = read_if_there(path)?.and_then(|bytes| parse(&bytes));
    if let Some(key) = held {
        return Ok(key);
    }
    let key = make();
    write_atomically(&std::path::absolute(path)?, String::from(key).as_bytes(), MODE)?;
    Ok(key)
}

fn parse(bytes: &[u8]) -> Option<SecretKey> {
    let text = std::str::from_utf8(bytes).ok()?;
    SecretKey::try_from(text.trim().to_owned()).ok()
}

/// Another one each time.
pub(crate) fn make() -> SecretKey {
    let mut bytes = [0; 16];
    if let Err(error) = getrandom::fill(&mut bytes) {
        // The standard library's own keys are drawn from the same source, or a lesser one.
        tracing::warn!(%error, "the system gives no random numbers");
        let halves: [u64; 2] = std::array::from_fn(|n| RandomState::new().hash_one(n));
        bytes[..8].copy_from_slice(&halves[0].to_le_bytes());
        bytes[8..].copy_from_slice(&halves[1].to_le_bytes());
    }
    SecretKey(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_kept_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("table.json");
        let key = load(Some(&state));
        assert_eq!(load(Some(&state)), key);
        let kept = directory.path().join("table.json.key");
        assert_eq!(std::fs::metadata(&kept).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&kept, "damaged").unwrap();
        let new = load(Some(&state));
        assert!(new != key && load(Some(&state)) == new);
        assert!(load(None) != load(None));
        assert!(load(Some(Path::new("/proc/nowhere/table.json"))) != key);
    }
}
