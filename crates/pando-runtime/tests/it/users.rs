//! Runs as other users: only root may, and then what a run may do ends with its user.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use pando_runtime::{Place, RunSpec, Runtime};

use crate::support::{Fixture, PATIENCE, spec};

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A user of this test alone, removed at its end.
struct User(String);

impl User {
    fn unused(purpose: &str) -> Self {
        Self(format!("pando-t{}-{purpose}", std::process::id()))
    }
}

impl Drop for User {
    fn drop(&mut self) {
        // A server of a test bed may have a user with the same number, whose processes look like this one's.
        let removed = Command::new("userdel").args(["--force", &self.0]).output().unwrap();
        assert!(removed.status.success() || !is_root() || std::thread::panicking(), "{removed:?}");
    }
}

fn as_user(user: &str, command: &str) -> RunSpec {
    RunSpec { user: Some(user.to_owned()), ..spec(command) }
}

#[tokio::test]
async fn a_missing_user_is_made_and_the_run_becomes_it_whole() {
    let mut fixture = Fixture::new();
    let user = User::unused("made");
    if !is_root() {
        let refused = fixture.runtime.start(as_user(&user.0, "true")).await.unwrap_err().to_string();
        return assert!(refused.contains("only root can make one"), "{refused}");
    }
    let command = "id -un; id -Gn; echo $USER; grep -E '^(Uid|Groups)' /proc/self/status; getent passwd $USER | cut -d: -f7";
    let output = fixture.output_of(&as_user(&user.0, command)).await;
    assert_eq!(output[..3], [user.0.as_str(), &user.0, &user.0]);
    let uids: Vec<&str> = output[3].split_whitespace().skip(1).collect();
    assert!(uids.iter().all(|uid| *uid == uids[0] && *uid != "0"), "{uids:?}");
    assert_eq!(output[4].split_whitespace().collect::<Vec<_>>(), ["Groups:"], "no group of root's is left");
    assert_eq!(output[5], "/usr/sbin/nologin");
}

#[tokio::test]
async fn starts_that_need_the_same_new_user_make_it_once() {
    let mut fixture = Fixture::new();
    let user = User::unused("once");
    let specs: Vec<RunSpec> = (0..4).map(|_| as_user(&user.0, "true")).collect();
    let starts = specs.iter().map(|spec| fixture.runtime.start(spec.clone()));
    let started = futures_util::future::join_all(starts).await;
    assert!(started.iter().all(|result| result.is_ok() == is_root()), "{started:?}");
    // A user that still runs something can't be removed.
    for _ in started.iter().filter(|result| result.is_ok()) {
        tokio::time::timeout(PATIENCE, fixture.events.recv()).await.unwrap();
    }
}

#[tokio::test]
async fn a_run_as_another_user_sees_nothing_of_the_other_runs() {
    let mut fixture = Fixture::new();
    if !is_root() {
        let refused = fixture.runtime.start(as_user("root", "true")).await.unwrap_err().to_string();
        return assert!(refused.contains("only root can run it as `root`"), "{refused}");
    }
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(fixture.root.path(), open).unwrap();
    let runs = fixture.root.path().join("runs");
    let logs = fixture.root.path().join("logs");
    let command = format!("ls {} {} 2>&1; kill -9 $PPID 2>&1; true", runs.display(), logs.display());
    let output = fixture.output_of(&as_user("nobody", &command)).await;
    assert_eq!(output.iter().filter(|line| line.contains("Permission denied")).count(), 2, "{output:?}");
    assert!(output.iter().any(|line| line.contains("not permitted")), "{output:?}");
}

#[tokio::test]
async fn a_release_that_its_user_may_not_enter_is_refused_with_the_remedy() {
    let fixture = Fixture::new();
    let closed = fixture.root.path().join("release");
    std::fs::create_dir(&closed).unwrap();
    std::fs::set_permissions(&closed, std::fs::Permissions::from_mode(0o700)).unwrap();
    let spec = RunSpec {
        place: Place::Directory(closed.clone()),
        ..as_user(if is_root() { "nobody" } else { "root" }, "true")
    };
    let refused = fixture.runtime.start(spec).await.unwrap_err().to_string();
    if !is_root() {
        return assert!(refused.contains("only root can"), "{refused}");
    }
    assert!(refused.contains("user `nobody` may not enter its directory"), "{refused}");
    assert!(refused.contains("chmod o+x"), "{refused}");
}

#[tokio::test]
async fn naming_oneself_is_nothing_special() {
    let mut fixture = Fixture::new();
    let own = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    let output = fixture.output_of(&as_user(own.trim(), "id -un")).await;
    assert_eq!(output, [own.trim()]);
}
