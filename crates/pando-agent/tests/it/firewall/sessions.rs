//! A person who is logged in over a real SSH server is not locked out.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::bed::{Bed, assign, bed, done, in_force, problem, rules};
use crate::bench::until;

const SERVER: u8 = 2;
const OPERATOR: u8 = 4;

fn key(path: &Path) {
    let path = path.to_str().unwrap();
    done(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f", path]));
}

/// At 10.77.0.2, with keys of its own.
fn sshd(bed: &mut Bed, port: u16) {
    let directory = bed.directory.path().to_owned();
    key(&directory.join("host"));
    key(&directory.join("user"));
    let path = |name: &str| directory.join(name).to_str().unwrap().to_owned();
    let config = format!(
        "Port {port}\nHostKey {}\nAuthorizedKeysFile {}\nPidFile none\nStrictModes no\nUsePAM no\n\
         PermitRootLogin yes\nPasswordAuthentication no\n",
        path("host"),
        path("user.pub"),
    );
    std::fs::write(directory.join("sshd_config"), config).unwrap();
    // It wants a directory that the system's own makes at its start.
    std::fs::create_dir_all("/run/sshd").unwrap();
    let config = path("sshd_config");
    let mut command = bed.command(SERVER, "/usr/sbin/sshd", &["-D", "-e", "-f", &config]);
    let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    bed.keep(child);
}

/// Somebody who waits. Killed, the session ends as well: what runs in it reads until then.
fn log_in(bed: &Bed, port: u16) -> Child {
    let key = bed.directory.path().join("user");
    let port = port.to_string();
    let words = ["-i", key.to_str().unwrap(), "-p", &port, "-o", "StrictHostKeyChecking=no"];
    let more = ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-o", "ConnectionAttempts=20"];
    let waiting = format!("{} cat", mark(bed));
    let mut command =
        bed.command(OPERATOR, "ssh", &[&words[..], &more, &["root@10.77.0.2", &waiting]].concat());
    let output = std::fs::File::create(said(bed)).unwrap();
    command.stdin(Stdio::piped()).stdout(output).stderr(Stdio::null()).spawn().unwrap()
}

fn said(bed: &Bed) -> PathBuf {
    bed.directory.path().join("said")
}

/// What is said to the session comes back from it.
async fn echo(bed: &Bed, session: &mut Child, word: &str) {
    session.stdin.as_mut().unwrap().write_all(format!("{word}\n").as_bytes()).unwrap();
    let came = || std::fs::read_to_string(said(bed)).unwrap().ends_with(&format!("{word}\n"));
    until("an echo", came).await;
}

fn mark(bed: &Bed) -> String {
    format!("PANDO_TEST_BED={}", bed.directory.path().display())
}

/// What runs in the session knows where it comes from.
async fn logged_in(bed: &Bed) {
    let mark = mark(bed);
    let told = |entry: std::fs::DirEntry| {
        let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
        let has = |mark: &str| environment.windows(mark.len()).any(|window| window == mark.as_bytes());
        has(&mark) && has("SSH_CONNECTION=10.77.0.4 ")
    };
    until("a session", || std::fs::read_dir("/proc").unwrap().flatten().any(told)).await;
}

async fn log_out(bed: &Bed, mut session: Child) {
    session.kill().unwrap();
    session.wait().unwrap();
    let established = || bed.run(SERVER, "ss", &["-Htn", "state", "established", "sport", "=", ":22"]);
    until("the end of the session", || established().is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_who_is_logged_in_holds_rules_up_that_would_lock_them_out() {
    let Some(mut bed) = bed(&[1, SERVER, OPERATOR]) else { return };
    sshd(&mut bed, 22);
    let session = log_in(&bed, 22);
    logged_in(&bed).await;
    let control = bed.control(1);
    let agent = bed.agent(SERVER, &control);
    let closed = || rules(&["22 10.77.0.200", "7421 10.77.0.1"]);
    assign(&control, SERVER, 1, closed());
    let said = problem(&control, SERVER, "logged in over SSH from 10.77.0.4").await;
    println!("{said}");
    assert!(said.contains("allow-ssh 10.77.0.4") && bed.table(SERVER).is_empty());
    // It stays so when they leave, and through a restart: what locks out is the next login.
    log_out(&bed, session).await;
    drop(agent);
    control.forget_reports();
    let _agent = bed.agent(SERVER, &control);
    problem(&control, SERVER, "logged in over SSH from 10.77.0.4").await;
    assert!(bed.table(SERVER).is_empty());
    // Named, they come into force; so they do when it is forced.
    assign(&control, SERVER, 2, rules(&["22 10.77.0.200 10.77.0.4", "7421 10.77.0.1"]));
    in_force(&control, SERVER, 2).await;
    let mut forced = closed();
    forced.cut_sessions = true;
    let mut session = log_in(&bed, 22);
    logged_in(&bed).await;
    assign(&control, SERVER, 3, forced);
    in_force(&control, SERVER, 3).await;
    echo(&bed, &mut session, "still here").await;
    log_out(&bed, session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_open_before_the_first_rules_goes_on() {
    let Some(mut bed) = bed(&[1, SERVER, OPERATOR]) else { return };
    sshd(&mut bed, 22);
    let mut session = log_in(&bed, 22);
    logged_in(&bed).await;
    echo(&bed, &mut session, "before").await;
    let control = bed.control(1);
    let _agent = bed.agent(SERVER, &control);
    // Until now nobody kept count of connections here.
    let closed = rules(&["22 10.77.0.200", "7421 10.77.0.1"]);
    assign(&control, SERVER, 1, pando_model::FirewallRules { cut_sessions: true, ..closed });
    in_force(&control, SERVER, 1).await;
    echo(&bed, &mut session, "after").await;
    assert!(!bed.reaches(OPERATOR, "10.77.0.2:22".parse().unwrap()), "but nobody new comes in");
    log_out(&bed, session).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ssh_server_on_another_port_is_not_closed_by_accident() {
    let Some(mut bed) = bed(&[1, SERVER]) else { return };
    sshd(&mut bed, 2222);
    let listens = |bed: &Bed| bed.run(SERVER, "ss", &["-Hltn"]).contains(":2222");
    until("an SSH server", || listens(&bed)).await;
    let control = bed.control(1);
    let _agent = bed.agent(SERVER, &control);
    assign(&control, SERVER, 1, rules(&["22", "7421 10.77.0.1"]));
    let said = problem(&control, SERVER, "listens on port 2222").await;
    assert!(said.contains("firewall open 2222") && bed.table(SERVER).is_empty());
    assign(&control, SERVER, 2, rules(&["22", "2222", "7421 10.77.0.1"]));
    in_force(&control, SERVER, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_connected_to_the_api_holds_rules_up_that_would_keep_them_off() {
    let Some(bed) = bed(&[1, 3]) else { return };
    let control = bed.control(1);
    // Another server, known by another address than the one it comes from.
    let other = bed.agent(3, &control);
    control.until_of("a report", |server| server == super::bed::id(3), |_| true).await;
    let _agent = bed.agent(1, &control);
    assign(&control, 1, 1, rules(&["22", "7420 10.77.0.200", "7421"]));
    let said = problem(&control, 1, "10.77.0.3 is connected to the API").await;
    println!("{said}");
    assert!(said.contains("allow-control 10.77.0.3") && bed.table(1).is_empty());
    assign(&control, 1, 2, rules(&["22", "7420 10.77.0.3", "7421"]));
    in_force(&control, 1, 2).await;
    drop(other);
}
