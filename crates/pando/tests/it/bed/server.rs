//! One server of the bed: how it is booted, used, broken and brought back.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use super::must;
use super::network::Link;
use crate::answer::told;

/// What a server is made of.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// Of its disk, in megabytes: more than a test puts on it, less than would hurt the machine.
    pub(crate) disk: u32,
    /// It has a container engine, which a boot starts.
    pub(crate) engine: bool,
}

pub(crate) const PLAIN: Kind = Kind { disk: 768, engine: false };

pub(crate) struct Server {
    pub(crate) name: String,
    pub(crate) link: Link,
    /// On the machine: what survives a crash of the server.
    pub(super) disk: PathBuf,
    pub(super) kind: Kind,
    /// `unshare`, whose only child is the server's first process.
    outer: Option<Child>,
    /// The server's first process, as the machine sees it.
    pub(super) init: u32,
}

/// Puts the server's own directories in place, with a `/sys` that is its own network's and has control groups for an engine alone; where no name is known but those in /etc/hosts, says so, and reaps whatever is orphaned until it is killed.
const INIT: &str = r#"
set -e
if [ "$2" = engine ]; then
    mkdir -p "$1/cgroup"
    mount --rbind /sys/fs/cgroup "$1/cgroup"
fi
mount -t sysfs sysfs /sys
if [ "$2" = engine ]; then mount --rbind "$1/cgroup" /sys/fs/cgroup; fi
mount --bind "$1/lib" /var/lib/pando
mount -t tmpfs -o size=64m tmpfs /run
mkdir -m 1777 /run/hits
mkdir -p "$1/etc/up" "$1/etc/work"
mount -t overlay -o "lowerdir=/etc,upperdir=$1/etc/up,workdir=$1/etc/work" overlay /etc
echo 'nameserver 127.0.0.1' > /etc/resolv.conf
mount -t tmpfs -o size=1m tmpfs /sys/fs/bpf 2>/dev/null || true
touch "$1/up"
trap : TERM
while :; do sleep 3600 & wait $!; done
"#;

impl Server {
    pub(crate) fn boot(name: &str, link: Link, disk: &Path, kind: Kind) -> Self {
        fs::create_dir_all(disk).unwrap();
        let size = format!("size={}m", kind.disk);
        must("mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &disk.to_string_lossy()]);
        fs::create_dir_all(disk.join("lib")).unwrap();
        fs::create_dir_all(disk.join("etc")).unwrap();
        fs::create_dir_all("/var/lib/pando").unwrap();
        let (name, disk) = (name.to_owned(), disk.to_owned());
        let mut server = Self { name, link, disk, kind, outer: None, init: 0 };
        server.power_on();
        server
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.link.address
    }

    /// Its network, for a thread that wants to be in it.
    pub(crate) fn namespace_file(&self) -> fs::File {
        fs::File::open(format!("/run/netns/{}", self.link.namespace)).unwrap()
    }

    /// Boots it with the disks that it has.
    pub(crate) fn power_on(&mut self) {
        assert!(self.outer.is_none(), "{} is up", self.name);
        let up = self.disk.join("up");
        let _ = fs::remove_file(&up);
        let mut unshare = Command::new("nsenter");
        unshare.arg(format!("--net=/run/netns/{}", self.link.namespace));
        unshare.args(["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
        unshare.args(["bash", "-c", INIT, "init"]).arg(&self.disk);
        unshare.arg(if self.kind.engine { "engine" } else { "plain" });
        unshare.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let outer = unshare.spawn().unwrap();
        wait_until(&format!("{} boots", self.name), || up.exists());
        let children = format!("/proc/{0}/task/{0}/children", outer.id());
        let children = fs::read_to_string(children).unwrap();
        self.init = children.split_whitespace().next().unwrap().parse().unwrap();
        self.outer = Some(outer);
        self.link.set_plugged(true);
        if self.kind.engine {
            self.start_engine();
        }
    }

    /// The power fails: every process is gone at once, the cable is dead.
    pub(crate) fn power_off(&mut self) {
        self.link.set_plugged(false);
        if let Some(mut outer) = self.outer.take() {
            crate::e2e::bed::kill(self.init);
            outer.wait().unwrap();
        }
        self.remove_links();
    }

    /// A program in this server, in a directory that it shares with the machine.
    pub(crate) fn command(&self, program: &Path, dir: &Path) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.init.to_string(), "--mount", "--net", "--pid"]);
        command.arg(format!("--wdns={}", dir.display())).arg("--").arg(program).stdin(Stdio::null());
        command
    }

    /// `pando` here.
    pub(crate) fn pando(&self, args: &[&str]) -> Output {
        self.command(Path::new(env!("CARGO_BIN_EXE_pando")), Path::new("/")).args(args).output().unwrap()
    }

    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.pando(args);
        assert!(
            output.status.success(),
            "pando {args:?} on {}: {}\n{}",
            self.name,
            told(&output),
            self.daemon_log()
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts its daemon, as a boot does.
    pub(crate) fn start(&self) {
        self.ok(&["server", "start"]);
    }

    /// A line of shell here, which must succeed; what it printed.
    pub(crate) fn sh(&self, line: &str) -> String {
        let output = self.command(Path::new("sh"), Path::new("/")).args(["-c", line]).output().unwrap();
        assert!(output.status.success(), "`{line}` on {}: {}", self.name, told(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Nothing goes to these addresses nor comes from them, until [`Server::heal`].
    pub(crate) fn cut_off_from(&self, others: &[Ipv4Addr]) {
        let list: Vec<String> = others.iter().map(ToString::to_string).collect();
        let list = list.join(", ");
        self.sh(&format!(
            "nft 'add table ip cut; add chain ip cut i {{ type filter hook input priority -500; }}; \
             add chain ip cut o {{ type filter hook output priority -500; }}; \
             add rule ip cut i ip saddr {{ {list} }} drop; add rule ip cut o ip daddr {{ {list} }} drop'"
        ));
    }

    pub(crate) fn heal(&self) {
        self.sh("nft delete table ip cut");
    }

    /// No more than so many megabytes a second go out from here; what the control plane and the agent send is counted.
    pub(crate) fn limit_sending(&self, megabytes: u32) {
        self.sh(&format!(
            "nft 'add table ip line; add chain ip line o {{ type filter hook output priority -400; }}; \
             add rule ip line o oif != lo limit rate over {megabytes} mbytes/second drop; \
             add rule ip line o oif != lo tcp sport {{ 7420, 7421 }} counter'"
        ));
    }

    /// Bytes that the control plane and the agent have sent since [`Server::limit_sending`].
    pub(crate) fn handed_out(&self) -> u64 {
        let told = self.sh("nft list chain ip line o | sed -n 's/.* bytes \\([0-9]*\\).*/\\1/p'");
        told.trim().parse().unwrap()
    }

    /// A byte in the middle of each of these files is another from now on.
    pub(crate) fn damage(&self, files: &str) {
        self.sh(&format!(
            "for file in $(ls -d {files} 2>/dev/null); do printf '\\377\\000' | dd of=$file bs=1 seek=$(($(stat -c %s $file) / 2)) conv=notrunc 2>/dev/null; done"
        ));
    }

    /// Leaves so many kilobytes on its disk.
    pub(crate) fn fill_disk(&self, leave_kb: u64) {
        // Others may write between the look and the deed.
        self.sh(&format!(
            "for try in 1 2 3 4 5 6 7 8 9 10; do \
               free=$(df --output=avail -k /var/lib/pando | tail -1); \
               fallocate -l $((free - {leave_kb}))K /var/lib/pando/ballast && exit 0; \
             done; exit 1"
        ));
    }

    /// Leaves nothing at all, whoever else writes just now.
    pub(crate) fn fill_disk_up(&self) {
        self.fill_disk(1024);
        self.sh("cat /dev/zero > /var/lib/pando/ballast-rest 2>/dev/null || true");
    }

    pub(crate) fn free_disk(&self) {
        self.sh("rm -f /var/lib/pando/ballast /var/lib/pando/ballast-rest");
    }

    /// A path of this server's, as the machine sees it.
    pub(crate) fn inside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// Its wall clock is off by so many seconds from now on, for all programs that start after the first such call. The disk keeps
    /// that over a loss of power.
    ///
    /// Own code, since libfaketime shifts what measures durations too, unless each program's environment says otherwise, and
    /// a daemon has an environment of its own.
    pub(crate) fn shift_clock(&self, seconds: i64) {
        fs::write(self.disk.join("clock.c"), include_str!("clock.c")).unwrap();
        fs::write(self.disk.join("clock-shift"), seconds.to_ne_bytes()).unwrap();
        let disk = self.disk.display();
        self.sh(&format!(
            "test -e /etc/clock.so || cc -shared -fPIC -O1 -o /etc/clock.so {disk}/clock.c; \
             dd if={disk}/clock-shift of=/etc/clock-shift conv=notrunc 2>/dev/null; echo /etc/clock.so > /etc/ld.so.preload"
        ));
        let now = self.sh("date +%s").trim().parse::<i64>().unwrap();
        let true_now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let off = now - i64::try_from(true_now.as_secs()).unwrap();
        assert!((off - seconds).abs() <= 2, "the clock of {} is off by {off} s, not {seconds}", self.name);
    }

    /// The pid of the daemon, as the machine sees it; `None`: it does not run just now.
    pub(crate) fn daemon_pid(&self) -> Option<u32> {
        self.kept_pid("daemon")
    }

    pub(crate) fn proxy_pid(&self) -> Option<u32> {
        self.kept_pid("proxy")
    }

    fn kept_pid(&self, name: &str) -> Option<u32> {
        let path = self.disk.join("lib/keep").join(name).join("state.json");
        let state: serde_json::Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
        let inner = u32::try_from(state["child"]["pid"].as_u64()?).ok()?;
        of_machine(self.init, inner)
    }

    /// The instances that run here, by id: replica and release, as they were told.
    pub(crate) fn instances(&self) -> BTreeMap<String, (String, String)> {
        let mut found = BTreeMap::new();
        for pid in pids_of(self.init) {
            let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let environ = String::from_utf8_lossy(&environ).into_owned();
            let of = |name: &str| {
                let mut lines = environ.split('\0').filter_map(|line| line.split_once('='));
                lines.find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
            };
            if let (Some(id), Some(replica), Some(release)) =
                (of("PANDO_INSTANCE"), of("PANDO_REPLICA"), of("PANDO_RELEASE"))
            {
                found.insert(id, (replica, release));
            }
        }
        found
    }

    pub(crate) fn daemon_log(&self) -> String {
        let text = fs::read_to_string(self.disk.join("lib/log/daemon.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(40).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

/// The machine's pids of all processes of the pid namespace that is `init`'s.
fn pids_of(init: u32) -> Vec<u32> {
    let namespace = |pid: u32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let Some(wanted) = namespace(init) else { return Vec::new() };
    let all = fs::read_dir("/proc").unwrap().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| namespace(*pid).as_ref() == Some(&wanted)).collect()
}

/// The machine's pid of a process that its own pid namespace, which is `init`'s, knows by another.
pub(super) fn of_machine(init: u32, inner: u32) -> Option<u32> {
    pids_of(init).into_iter().find(|pid| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("NSpid:")).unwrap_or_default();
        line.split_whitespace().last() == Some(inner.to_string().as_str())
    })
}

pub(crate) fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !is_so() {
        assert!(Instant::now() < deadline, "{what}: not within 20 s");
        std::thread::sleep(Duration::from_millis(5));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut outer) = self.outer.take() {
            // Its first process takes all others with it.
            let pid = rustix::process::Pid::from_raw(i32::try_from(self.init).unwrap_or(0));
            if let Some(pid) = pid {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            let _ = outer.wait();
        }
        self.remove_cgroups();
        self.link.remove();
        let _ = Command::new("umount").arg("--lazy").arg(&self.disk).output();
    }
}
