//! System users: found, made, and what a command that runs as one finds in its environment.

use std::collections::BTreeMap;
use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::sync::Mutex;

/// A line of `/etc/passwd`, or what stands for it in a directory service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: String,
}

#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    #[error(
        "`{0}` can't be a system user: at most {LONGEST_NAME} lower-case letters, digits, `-` and `_`, a letter first"
    )]
    Name(String),
    #[error("can't run `{program}` for the user `{name}`")]
    Run { program: &'static str, name: String, source: io::Error },
    #[error("can't make the user `{name}`: `useradd` says: {said}")]
    Make { name: String, said: String },
    #[error("there is no user `{0}`, and only root can make one")]
    NotRoot(String),
    #[error("there is no user `{0}`")]
    Missing(String),
}

/// `useradd` takes no longer names.
pub const LONGEST_NAME: usize = 32;

/// Making a user takes some ten milliseconds; asking a directory service over the network may take longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Debian's, with the administrator's own programs first.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// One at a time in this program: `useradd` locks its files, and fails when they are locked.
static MAKING: Mutex<()> = Mutex::const_new(());

/// The account `name`, made when it is missing and this program is root.
///
/// # Errors
/// When the name can't be one, or the account is missing and can't be made.
pub async fn ensure(name: &str) -> Result<Account, AccountError> {
    check_name(name)?;
    if let Some(account) = look_up(name).await? {
        return Ok(account);
    }
    if !rustix::process::geteuid().is_root() {
        return Err(AccountError::NotRoot(name.to_owned()));
    }
    let _one_at_a_time = MAKING.lock().await;
    if let Some(account) = look_up(name).await? {
        return Ok(account);
    }
    let said = make(name).await?;
    // Somebody else may have made it meanwhile, which `useradd` calls a failure.
    look_up(name).await?.ok_or_else(|| AccountError::Make { name: name.to_owned(), said })
}

/// The account `name`.
///
/// # Errors
/// When there is none.
pub async fn existing(name: &str) -> Result<Account, AccountError> {
    look_up(name).await?.ok_or_else(|| AccountError::Missing(name.to_owned()))
}

/// `given` with what is missing of `PATH`, `HOME`, `USER`, `LANG` and `TZ`: from `defaults`, else from the system. What
/// belongs to a person (`HOME`, `USER`) is not taken from `defaults` when the command becomes `another` user. Blocks for a
/// look into `/etc/passwd`.
#[must_use]
pub fn environment(
    given: &BTreeMap<String, String>,
    defaults: &BTreeMap<String, String>,
    another: Option<&Account>,
) -> BTreeMap<String, String> {
    let own = own();
    let user = another.or(own.as_ref());
    // The same on every server of a cluster, whatever its image was set to.
    let mut system = vec![("PATH", PATH), ("LANG", "C.UTF-8"), ("TZ", "UTC")];
    if let Some(user) = user {
        system.extend([("HOME", user.home.as_str()), ("USER", user.name.as_str())]);
    }
    let mut env = given.clone();
    for (name, value) in system {
        let personal = matches!(name, "HOME" | "USER") && another.is_some();
        let default = defaults.get(name).filter(|_| !personal);
        env.entry(name.to_owned()).or_insert_with(|| default.cloned().unwrap_or_else(|| value.to_owned()));
    }
    env
}

/// The account `name`, as far as `/etc/passwd` knows. Blocks.
pub(crate) fn find(name: &str) -> Option<Account> {
    passwd().lines().filter_map(parse).find(|account| account.name == name)
}

/// Who runs this program, as far as `/etc/passwd` knows.
fn own() -> Option<Account> {
    let uid = rustix::process::geteuid().as_raw();
    passwd().lines().filter_map(parse).find(|account| account.uid == uid)
}

fn passwd() -> String {
    std::fs::read_to_string("/etc/passwd").unwrap_or_default()
}

async fn look_up(name: &str) -> Result<Option<Account>, AccountError> {
    if let Some(account) = find(name) {
        return Ok(Some(account));
    }
    match output("getent", &["passwd", "--", name]).await {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).lines().find_map(parse)),
        // Where there is no `getent`, there is no directory service either.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AccountError::Run { program: "getent", name: name.to_owned(), source }),
    }
}

/// What `useradd` says to it.
async fn make(name: &str) -> Result<String, AccountError> {
    let args = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", "--", name];
    let made = output("useradd", &args).await;
    let made =
        made.map_err(|source| AccountError::Run { program: "useradd", name: name.to_owned(), source })?;
    Ok(String::from_utf8_lossy(&made.stderr).trim().to_owned())
}

async fn output(program: &str, args: &[&str]) -> io::Result<Output> {
    let mut command = Command::new(program);
    command.args(args).env("PATH", PATH).stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(PATIENCE, command.output()).await?
}

fn parse(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, _] = fields[..] else { return None };
    let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
    Some(Account { name: name.to_owned(), uid, gid, home: home.to_owned() })
}

fn check_name(name: &str) -> Result<(), AccountError> {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    let rest = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    if first && rest && name.len() <= LONGEST_NAME {
        return Ok(());
    }
    Err(AccountError::Name(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_passwd_lines() {
        let account = Account { name: "www".to_owned(), uid: 33, gid: 34, home: "/var/www".to_owned() };
        assert_eq!(parse("www:x:33:34:www:/var/www:/usr/sbin/nologin"), Some(account));
        for bad in ["", "www:x:33", "www:x:a:34:www:/:/bin/sh", "+::::::"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn names_that_useradd_would_misread_are_refused() {
        for good in ["pando-shop", "_x", "a"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "-rf", "A", "a b", "a:b", "1a", &"a".repeat(33)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn root_is_found_and_nobody_else_is_made_up() {
        assert_eq!(ensure("root").await.unwrap().uid, 0);
        assert_eq!(existing("root").await.unwrap().uid, 0);
        let missing = existing("pando-surely-not").await.unwrap_err();
        assert_eq!(missing.to_string(), "there is no user `pando-surely-not`");
    }

    #[test]
    fn what_is_given_stays_and_what_is_missing_comes() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        let app = Account { name: "pando-a".to_owned(), uid: 9, gid: 9, home: "/nonexistent".to_owned() };
        let given = map(&[("TZ", "Europe/Paris"), ("A", "b")]);
        let defaults = map(&[("PATH", "/opt/bin"), ("HOME", "/home/ada"), ("EDITOR", "ed")]);
        let expected = [("A", "b"), ("LANG", "C.UTF-8"), ("PATH", "/opt/bin"), ("TZ", "Europe/Paris")];
        let mut other = map(&expected);
        other.extend(map(&[("HOME", "/nonexistent"), ("USER", "pando-a")]));
        assert_eq!(environment(&given, &defaults, Some(&app)), other);
        assert_eq!(environment(&given, &defaults, None)["HOME"], "/home/ada");
        assert_eq!(environment(&map(&[]), &map(&[]), None)["PATH"], PATH);
    }
}
