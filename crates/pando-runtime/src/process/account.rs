//! System users that runs become.

use std::fs;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::sync::Mutex;

/// A line of `/etc/passwd`, or what stands for it in a directory service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: String,
}

/// Making a user takes some ten milliseconds; asking a directory service over the network may take longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// `useradd` takes no longer names.
const LONGEST_NAME: usize = 32;

#[derive(Debug, Default)]
pub(super) struct Accounts {
    /// One at a time: `useradd` locks the file and fails when it is locked.
    making: Mutex<()>,
}

impl Accounts {
    /// The account `name`, made when it is missing and this program is root. The error is a sentence without an end.
    pub(super) async fn of(&self, name: &str) -> Result<Account, String> {
        check_name(name)?;
        if let Some(account) = look_up(name).await? {
            return Ok(account);
        }
        if !is_root() {
            return Err(format!("there is no user `{name}`, and only root can make one"));
        }
        let _one_at_a_time = self.making.lock().await;
        if let Some(account) = look_up(name).await? {
            return Ok(account);
        }
        make(name).await?;
        look_up(name).await?.ok_or_else(|| format!("user `{name}` was made and can't be found"))
    }
}

/// Whether this program is root.
pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Who runs this program, as far as `/etc/passwd` knows.
pub(super) fn own() -> Option<Account> {
    let uid = rustix::process::geteuid().as_raw();
    let text = fs::read_to_string("/etc/passwd").ok()?;
    text.lines().filter_map(parse).find(|account| account.uid == uid)
}

/// The account `name`, as far as `/etc/passwd` knows.
pub(crate) fn find_account(name: &str) -> Option<Account> {
    let text = fs::read_to_string("/etc/passwd").unwrap_or_default();
    text.lines().filter_map(parse).find(|account| account.name == name)
}

/// Makes the account `name` when it is missing. The error is a sentence without an end.
pub(crate) async fn ensure_account(name: &str) -> Result<(), String> {
    Accounts::default().of(name).await.map(|_| ())
}

async fn look_up(name: &str) -> Result<Option<Account>, String> {
    if let Some(account) = find_account(name) {
        return Ok(Some(account));
    }
    match output(Command::new("getent").args(["passwd", "--", name])).await {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).lines().find_map(parse)),
        // Where there is no `getent`, there is no directory service either.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("can't look up user `{name}`: {error}")),
    }
}

async fn make(name: &str) -> Result<(), String> {
    let args = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", "--", name];
    let made = output(Command::new("useradd").args(args)).await;
    let output = made.map_err(|error| format!("can't make user `{name}` with `useradd`: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("can't make user `{name}`: `useradd` says: {}", said.trim()))
}

async fn output(command: &mut Command) -> io::Result<std::process::Output> {
    command.stdin(std::process::Stdio::null()).kill_on_drop(true);
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    tokio::time::timeout(PATIENCE, command.env("PATH", path).output()).await?
}

fn parse(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, _] = fields[..] else { return None };
    Some(Account {
        name: name.to_owned(),
        uid: uid.parse().ok()?,
        gid: gid.parse().ok()?,
        home: home.to_owned(),
    })
}

fn check_name(name: &str) -> Result<(), String> {
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    let rest = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
    if first && rest && name.len() <= LONGEST_NAME {
        return Ok(());
    }
    Err(format!(
        "`{name}` can't be a system user: at most {LONGEST_NAME} lower-case letters, digits, `-` and `_`, a letter first"
    ))
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
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in ["", "-rf", "A", "a b", "a:b", "1a", &"a".repeat(33)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn root_is_found() {
        assert_eq!(Accounts::default().of("root").await.unwrap().uid, 0);
    }
}
