//! `pando server add`: a machine with nothing but an SSH server becomes a server of the cluster.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use crate::answer::told;
use crate::bed::{Bed, must};

mod docker;

const SSHD: &str = "/usr/sbin/sshd";

/// A bed whose last server runs an SSH server, and the ways in to it.
struct Door {
    bed: Bed,
    dir: PathBuf,
}

impl Door {
    /// `main` has made a cluster; `app-2` has an SSH server with a user `ada`, whose sudo is as `sudoers` says.
    fn open(sudoers: &str) -> Self {
        let bed = Bed::of(&["main", "app-2"]);
        bed.found();
        Self::of(bed, sudoers)
    }

    /// The same, with a cluster that is there.
    fn of(bed: Bed, sudoers: &str) -> Self {
        assert!(
            fs::exists(SSHD).unwrap(),
            "this test needs an SSH server: `apt-get install openssh-server sudo`"
        );
        let dir = bed.path("ssh");
        fs::create_dir_all(&dir).unwrap();
        let door = Self { bed, dir };
        for key in ["host", "user"] {
            let path = door.path(key);
            must("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path]);
        }
        door.set_up(sudoers);
        door.start_sshd();
        door
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).to_string_lossy().into_owned()
    }

    /// The machine's own files are under an overlay: what is written there goes with it.
    fn set_up(&self, sudoers: &str) {
        let address = self.bed.server("app-2").address();
        let machine = self.bed.server("app-2");
        machine.sh("mount -t tmpfs -o size=400m tmpfs /usr/local/bin && mkdir -p /run/sshd && \
             useradd --create-home --base-dir /run ada && usermod -p '*' ada");
        machine
            .sh(&format!("printf '%s\\n' '{sudoers}' > /etc/sudoers.d/ada && chmod 440 /etc/sudoers.d/ada"));
        let keys = format!("cat {} > /run/keys && chmod 644 /run/keys", self.path("user.pub"));
        machine.sh(&keys);
        let server = format!(
            "Port 2222\nListenAddress {address}\nHostKey {}\nPidFile /run/sshd.pid\nAuthorizedKeysFile /run/keys\n\
             UsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nStrictModes no\n",
            self.path("host")
        );
        fs::write(self.path("sshd_config"), server).unwrap();
        let host_key = fs::read_to_string(self.path("host.pub")).unwrap();
        fs::write(self.path("known_hosts"), format!("[{address}]:2222 {host_key}")).unwrap();
        let client = format!(
            "Host app-2 app-2.example.com\n  HostName {address}\nHost *\n  Port 2222\n  User root\n  IdentityFile {}\n\
             \x20 IdentitiesOnly yes\n  UserKnownHostsFile {}\n  GlobalKnownHostsFile /dev/null\n",
            self.path("user"),
            self.path("known_hosts"),
        );
        fs::write(self.path("config"), client).unwrap();
    }

    fn start_sshd(&self) {
        self.bed.server("app-2").sh(&format!("{SSHD} -f {}", self.path("sshd_config")));
    }

    /// `pando server add` on `main`, with the test's own ssh configuration.
    fn add(&self, args: &[&str]) -> Output {
        let config = self.path("config");
        let words = [&["server", "add", "-F", config.as_str()], args].concat();
        self.bed.command(&words).output().unwrap()
    }

    #[track_caller]
    fn check_refused(&self, args: &[&str], code: i32, words: &str) {
        let output = self.add(args);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && text.contains(words), "{args:?}: {}", told(&output));
    }
}

const WORKER: &[&str] = &["app-2", "--role", "worker"];

#[test]
fn cluster_a_machine_with_an_ssh_server_becomes_a_server_with_one_command() {
    let door = Door::open("ada ALL=(ALL) NOPASSWD: ALL");
    let dry = door.add(&[WORKER, &["--dry-run"]].concat());
    let steps = String::from_utf8_lossy(&dry.stdout).into_owned();
    assert!(dry.status.success() && steps.contains("join the cluster as app-2"), "{}", told(&dry));
    assert_eq!(door.bed.json(&["server", "ls"])["servers"].as_array().unwrap().len(), 1);

    // As somebody who is not root, by another name of the host.
    let output = door.add(&["ada@app-2.example.com", "--role", "worker", "--role", "web"]);
    assert!(output.status.success(), "{}\n{}", told(&output), door.bed.logs());
    let shown = door.bed.json(&["server", "show", "app-2"]);
    assert_eq!((&shown["state"], &shown["roles"]), (&"alive".into(), &serde_json::json!(["web", "worker"])));
    let address = door.bed.server("app-2").address().to_string();
    assert_eq!(shown["private_address"], address.as_str());
    let digest = |path: &str| door.bed.server("app-2").sh(&format!("sha256sum < {path}"));
    assert_eq!(digest("/usr/local/bin/pando"), digest(env!("CARGO_BIN_EXE_pando")));

    // Again: nothing is copied, nothing is started anew.
    let pid = door.bed.server("app-2").daemon_pid();
    let again = door.add(WORKER);
    let talk = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(again.status.success() && talk.contains("app-2 of this cluster already"), "{}", told(&again));
    assert!(!talk.contains("copied"), "{talk}");
    assert_eq!(door.bed.server("app-2").daemon_pid(), pid);
    assert!(pid.is_some());
    door.check_refused(
        &["app-2", "--role", "web", "--name", "other"],
        2,
        "the server `app-2` of this cluster already",
    );

    // A join word that was not needed, or did its work, opens nothing any more.
    let events = door.bed.ok(&["events", "--all"]);
    assert!(events.contains("app-2") && events.contains("joined"), "{events}");
}

#[test]
fn cluster_what_keeps_a_machine_from_joining_is_told() {
    let door = Door::open("ada ALL=(ALL) ALL");
    let bed = &door.bed;
    door.check_refused(
        &["ada@app-2", "--role", "worker"],
        1,
        "ada on app-2 becomes root only with a password",
    );
    door.check_refused(&["nobody-of-that-name.invalid", "--role", "worker"], 1, "there is no host");
    door.check_refused(&["app-2", "--role", "worker", "-p", "2223"], 1, "answers, but not to SSH");
    // Somebody with another key, and somebody who never spoke to the machine.
    let strange = |known_hosts: &str, key: &str| {
        let text = fs::read_to_string(door.path("config")).unwrap();
        let text = text.replace(&door.path("known_hosts"), &door.path(known_hosts));
        fs::write(door.path("strange"), text.replace(&door.path("user"), &door.path(key))).unwrap();
        let strange = door.path("strange");
        let words = [&["server", "add", "-F", strange.as_str()], WORKER].concat();
        String::from_utf8_lossy(&bed.command(&words).output().unwrap().stderr).into_owned()
    };
    let refused = strange("known_hosts", "host");
    assert!(refused.contains("app-2 does not let you in"), "{refused}");
    let unknown = strange("nowhere", "user");
    assert!(unknown.contains("key is not the one that your ssh knows"), "{unknown}");

    bed.server("app-2").sh("nc -l -p 7421 >/dev/null 2>&1 & echo $! > /run/nc.pid; sleep 0.2");
    door.check_refused(WORKER, 1, "port 7421 on app-2 is taken by `nc`");
    bed.server("app-2").sh("kill $(cat /run/nc.pid)");

    bed.server("app-2").sh("fallocate -l 395M /usr/local/bin/ballast");
    door.check_refused(WORKER, 1, "left for /usr/local/bin");
    bed.server("app-2").sh("rm /usr/local/bin/ballast");

    // Only the control plane's port is closed: SSH goes on.
    let main = bed.server("main").address();
    bed.server("app-2").sh(&format!(
        "nft 'add table ip cut; add chain ip cut o {{ type filter hook output priority -500; }}; \
         add rule ip cut o ip daddr {main} tcp dport 7420 reject with tcp reset'"
    ));
    door.check_refused(WORKER, 1, "app-2 can't reach the control plane");
    bed.server("app-2").heal();
    // No token that was made in vain is left.
    let tokens = bed.json(&["token", "ls"]);
    let left = tokens["tokens"].as_array().unwrap().iter().filter(|token| token["scope"] == "join").count();
    assert_eq!(left, 0, "{tokens}");

    bed.server("app-2").sh("mkdir -p /var/lib/pando && echo '{\"id\": \"01890000-0000-7000-8000-0000000000ff\"}' > /var/lib/pando/server.json");
    door.check_refused(WORKER, 4, "another cluster, or was removed from this one");
}

/// A machine whose own firewall would drop what the cluster sends.
#[test]
fn cluster_another_firewall_in_the_way_is_named_with_what_mends_it() {
    let door = Door::open("ada ALL=(ALL) NOPASSWD: ALL");
    door.bed.server("app-2").sh(
        "nft 'add table inet filter; add chain inet filter input { type filter hook input priority 0; policy drop; }; \
         add rule inet filter input ct state established,related accept; add rule inet filter input iif lo accept; \
         add rule inet filter input tcp dport 2222 accept'",
    );
    let output = door.add(&["app-2", "--role", "worker"]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(4), "{}", told(&output));
    assert!(text.contains("is a server of the cluster now, but a firewall there drops"), "{text}");
    assert!(text.contains("7421"), "{text}");
}

/// Not a part of the bed: what the machine under the tests has.
#[test]
fn cluster_the_ssh_tools_are_there() {
    for tool in [SSHD, "/usr/bin/ssh", "/usr/bin/sudo"] {
        assert!(fs::exists(tool).unwrap(), "`{tool}` is missing: `apt-get install openssh-server sudo`");
    }
    assert!(
        Command::new("nc").arg("-h").output().is_ok(),
        "`nc` is missing: `apt-get install netcat-openbsd`"
    );
}
