//! The last table on disk, so that a proxy that starts alone serves as before.

use std::io;
use std::path::{Path, PathBuf};

use pando_routing::Table;
use pando_rt::fs::{read_if_there, write_atomically};

/// Only the proxy and those who administer it need to read which addresses serve.
const MODE: u32 = 0o640;

/// Keys are the proxy's alone.
const SECRET_MODE: u32 = 0o600;

/// Writes a table as it came, which is quicker than writing it anew.
///
/// # Errors
/// Whatever the disk answers; the old content is then still there.
pub(super) fn write(path: &Path, text: &[u8], is_secret: bool) -> io::Result<()> {
    // A bare file name has no directory to sync.
    let mode = if is_secret { SECRET_MODE } else { MODE };
    write_atomically(&std::path::absolute(path)?, text, mode)
}

/// The table that was in use last, if there is one. What cannot be used is reported, set aside and otherwise ignored: a proxy
/// that starts empty is told its table soon, one that doesn't start isn't.
pub(crate) fn read(path: &Path) -> Option<Table> {
    let bytes = match read_if_there(path) {
        Ok(bytes) => bytes?,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "cannot read the last table; starting without");
            return None;
        }
    };
    match parse(&bytes) {
        Ok(table) => Some(table),
        Err(why) => {
            let aside = set_aside(path);
            tracing::error!(path = %path.display(), why, aside, "the last table is damaged; starting without");
            None
        }
    }
}

fn parse(bytes: &[u8]) -> Result<Table, String> {
    let table = Table::read(bytes)?;
    table
        .validate()
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
    Ok(table)
}

/// Renames the file so that it can be looked at later and isn't met again. Says where it went.
fn set_aside(path: &Path) -> String {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".damaged");
    let aside = PathBuf::from(aside);
    match std::fs::rename(path, &aside) {
        Ok(()) => aside.display().to_string(),
        Err(error) => format!("left in place: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_and_damage_is_set_aside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("table.json");
        assert_eq!(read(&path), None);
        let table = Table { schema: 1, ..Table::default() };
        write(&path, &serde_json::to_vec(&table).unwrap(), false).unwrap();
        assert_eq!(read(&path), Some(table));

        for damage in
            [&b"{\"schema\": 1, \"ver"[..], b"", b"{\"schema\":7,\"version\":{\"epoch\":1,\"revision\":1}}"]
        {
            std::fs::write(&path, damage).unwrap();
            assert_eq!(read(&path), None);
            assert!(!path.exists());
            assert_eq!(std::fs::read(directory.path().join("table.json.damaged")).unwrap(), damage);
        }
    }
}
