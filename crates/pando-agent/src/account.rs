//! The system user of an app, for what the agent itself does on its behalf: giving it its files, checks, exec.
//!
//! Replicas become this user in the runtime.

use std::collections::BTreeMap;
use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use pando_model::name::AppName;
use sha2::{Digest, Sha256};
use tokio::process::Command;

/// `useradd` takes no longer names.
const LONGEST: usize = 32;

/// A directory service over the network may take its time.
const PATIENCE: Duration = Duration::from_secs(20);

/// Debian's, with the administrator's own programs first.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) home: String,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum AccountError {
    #[error("can't run `{program}` for the user `{name}`")]
    Run { program: &'static str, name: String, source: io::Error },
    #[error("can't make the user `{name}`: `useradd` says: {said}")]
    Make { name: String, said: String },
    #[error("there is no user `{0}`")]
    Missing(String),
}

/// `pando-APP`; a long name is cut, and told from others by a digest.
pub(crate) fn user_of(app: &AppName) -> String {
    let whole = format!("pando-{app}");
    if whole.len() <= LONGEST {
        return whole;
    }
    let digest = hex::encode(Sha256::digest(app.as_str().as_bytes()));
    format!("{}-{}", &whole[..LONGEST - 9], &digest[..8])
}

/// The account `name`, made when it is missing.
pub(crate) async fn ensure(name: &str) -> Result<Account, AccountError> {
    if let Some(account) = look_up(name).await? {
        return Ok(account);
    }
    let args = ["--system", "--user-group", "--no-create-home", "--shell", "/usr/sbin/nologin", "--", name];
    let made = output("useradd", &args).await;
    let made =
        made.map_err(|source| AccountError::Run { program: "useradd", name: name.to_owned(), source })?;
    match look_up(name).await? {
        Some(account) => Ok(account),
        None => {
            let said = String::from_utf8_lossy(&made.stderr).trim().to_owned();
            Err(AccountError::Make { name: name.to_owned(), said })
        }
    }
}

/// The account `name`, which must be there.
pub(crate) async fn existing(name: &str) -> Result<Account, AccountError> {
    look_up(name).await?.ok_or_else(|| AccountError::Missing(name.to_owned()))
}

/// Who this program runs as, as far as `/etc/passwd` knows.
fn own() -> Option<Account> {
    let uid = rustix::process::geteuid().as_raw();
    passwd().lines().filter_map(parse).find(|account| account.uid == uid)
}

async fn look_up(name: &str) -> Result<Option<Account>, AccountError> {
    if let Some(account) = passwd().lines().filter_map(parse).find(|account| account.name == name) {
        return Ok(Some(account));
    }
    match output("getent", &["passwd", "--", name]).await {
        Ok(output) => Ok(String::from_utf8_lossy(&output.stdout).lines().find_map(parse)),
        // Where there is no `getent`, there is no directory service either.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(AccountError::Run { program: "getent", name: name.to_owned(), source }),
    }
}

fn passwd() -> String {
    std::fs::read_to_string("/etc/passwd").unwrap_or_default()
}

fn parse(line: &str) -> Option<Account> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, _, home, _] = fields[..] else { return None };
    let (uid, gid) = (uid.parse().ok()?, gid.parse().ok()?);
    Some(Account { name: name.to_owned(), uid, gid, home: home.to_owned() })
}

async fn output(program: &str, args: &[&str]) -> io::Result<Output> {
    let mut command = Command::new(program);
    command.args(args).env("PATH", PATH).stdin(Stdio::null()).kill_on_drop(true);
    tokio::time::timeout(PATIENCE, command.output()).await?
}

/// `given` with what is missing of `PATH`, `HOME`, `USER`, `LANG` and `TZ`, as the runtime completes it for replicas: from
/// `defaults`, else from the system; `HOME` and `USER` of another user never come from `defaults`.
pub(crate) fn environment(
    given: &BTreeMap<String, String>,
    defaults: &BTreeMap<String, String>,
    account: Option<&Account>,
) -> BTreeMap<String, String> {
    let own = own();
    let user = account.or(own.as_ref());
    let mut system = vec![("PATH", PATH), ("LANG", "C.UTF-8"), ("TZ", "UTC")];
    if let Some(user) = user {
        system.extend([("HOME", user.home.as_str()), ("USER", user.name.as_str())]);
    }
    let mut env = given.clone();
    for (name, value) in system {
        let personal = matches!(name, "HOME" | "USER") && account.is_some();
        let default = defaults.get(name).filter(|_| !personal);
        env.entry(name.to_owned()).or_insert_with(|| default.cloned().unwrap_or_else(|| value.to_owned()));
    }
    env
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_names_fit_useradd_and_differ() {
        let user = |name: &str| user_of(&AppName::new(name).unwrap());
        assert_eq!(user("hits"), "pando-hits");
        let (long, other) = (user(&"a".repeat(63)), user(&"a".repeat(62)));
        assert!(long.len() == 32 && other.len() == 32 && long != other, "{long} {other}");
    }

    #[tokio::test]
    async fn root_is_found_and_nobody_else_is_made_up() {
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
        let env =
            environment(&map(&[("TZ", "Asia/Tokyo")]), &map(&[("HOME", "/h"), ("LANG", "C")]), Some(&app));
        assert_eq!((env["TZ"].as_str(), env["LANG"].as_str()), ("Asia/Tokyo", "C"));
        assert_eq!((env["HOME"].as_str(), env["USER"].as_str()), ("/nonexistent", "pando-a"));
        assert_eq!(environment(&map(&[]), &map(&[("HOME", "/h")]), None)["HOME"], "/h");
    }
}
