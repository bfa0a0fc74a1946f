//! Container engines of the bed's servers: each server's own, as its package sets it up, with its rules for packets.
//!
//! Nothing of it is the machine's but the kernel: sockets and pids lie in the
//! server's `/run`, images on the server's disk, containers under a control group of
//! the server's name. Its end takes them all along.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use super::server::{Kind, Server, of_machine, wait_until};
use super::{Bed, must, registry};

/// Room for an image of some twenty megabytes, some releases of it, and their layers.
pub(crate) const WITH_ENGINE: Kind = Kind { disk: 1024, engine: true };

/// `containerd` is a service of its own, as under systemd: it outlives the engine, and holds the containers.
const START: &str = r#"
root=$1 group=$2 registry=$3
mkdir -p "$root/containerd" "$root/engine"
if ! pgrep -x containerd >/dev/null; then
    setsid -f containerd --root "$root/containerd" --state /run/containerd \
        --address /run/containerd/containerd.sock >>"$root/containerd.log" 2>&1 </dev/null
    for try in $(seq 200); do test -S /run/containerd/containerd.sock && break; sleep 0.05; done
fi
rm -f /run/docker.pid
setsid -f dockerd --data-root="$root/engine" --containerd=/run/containerd/containerd.sock \
    --cgroup-parent="/$group" --registry-mirror="http://$registry" --insecure-registry="$registry" $(cat "$root/engine-flags" 2>/dev/null) >>"$root/engine.log" 2>&1 </dev/null
"#;

impl Bed {
    /// Servers that have an engine each.
    pub(crate) fn with_engines(names: &[&str]) -> Self {
        Self::of_kind(names, WITH_ENGINE)
    }
}

impl Server {
    /// Starts its engine, as a boot does, and returns when it answers.
    pub(crate) fn start_engine(&self) {
        let mut start = self.command(Path::new("bash"), Path::new("/"));
        let registry = format!("{}:{}", self.link.gateway, registry::PORT);
        start.args(["-c", START, "start"]).arg(&self.disk).args([&self.link.namespace, &registry]);
        let started = start.output();
        assert!(started.unwrap().status.success(), "{}", self.engine_log());
        wait_until(&format!("the engine of {} answers: {}", self.name, self.engine_log()), || {
            self.docker_output(&["version"]).status.success()
        });
    }

    /// Flags that it is started with from now on.
    pub(crate) fn set_engine_flags(&self, flags: &str) {
        fs::write(self.disk.join("engine-flags"), flags).unwrap();
    }

    /// The engine alone; its containers and what holds them are not asked.
    pub(crate) fn signal_engine(&self, signal: Signal) {
        let inner = fs::read_to_string(self.inside("/run/docker.pid")).unwrap();
        let pid = of_machine(self.init, inner.trim().parse().unwrap()).expect("its engine runs");
        let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        if signal == Signal::KILL {
            wait_until("the engine has ended", || {
                !fs::exists(format!("/proc/{}", pid.as_raw_nonzero())).unwrap()
            });
        }
    }

    fn docker_output(&self, args: &[&str]) -> std::process::Output {
        let mut command = self.command(Path::new("docker"), Path::new("/"));
        command.env_remove("DOCKER_HOST").args(args).output().unwrap()
    }

    /// `docker` here, which must succeed; what it printed.
    pub(crate) fn docker(&self, args: &[&str]) -> String {
        let output = self.docker_output(args);
        assert!(
            output.status.success(),
            "docker {args:?} on {}: {}",
            self.name,
            crate::answer::told(&output)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// Gives its engine an image of the machine's.
    pub(crate) fn load_image(&self, image: &str) {
        let mut save = Command::new("docker").args(["save", image]).stdout(Stdio::piped()).spawn().unwrap();
        let mut load = self.command(Path::new("docker"), Path::new("/"));
        let loaded = load.arg("load").stdin(save.stdout.take().unwrap()).output().unwrap();
        assert!(
            save.wait().unwrap().success() && loaded.status.success(),
            "{}",
            crate::answer::told(&loaded)
        );
    }

    /// Ids of Pando's containers that run here.
    pub(crate) fn containers(&self) -> Vec<String> {
        let listed = self.docker(&["ps", "--no-trunc", "-q", "--filter", "label=pando.run"]);
        let mut ids: Vec<String> = listed.lines().map(str::to_owned).collect();
        ids.sort();
        ids
    }

    /// Ids of the images that its engine has of an app, by release, such as `v2`.
    pub(crate) fn images_of(&self, app: &str) -> std::collections::BTreeMap<String, String> {
        let listed =
            self.docker(&["images", "--no-trunc", "--format", "{{.Tag}} {{.ID}}", &format!("pando/{app}")]);
        let named = listed.lines().filter_map(|line| line.split_once(' '));
        named.map(|(tag, id)| (tag.split('-').next().unwrap_or(tag).to_owned(), id.to_owned())).collect()
    }

    /// An archive is being unpacked in it.
    pub(crate) fn is_loading(&self) -> bool {
        let inside = fs::read_dir(self.disk.join("engine/tmp")).into_iter().flatten().flatten();
        inside.flat_map(|import| fs::read_dir(import.path()).into_iter().flatten()).next().is_some()
    }

    pub(crate) fn engine_log(&self) -> String {
        let text = fs::read_to_string(self.disk.join("engine.log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Bridges and cables of containers go with the power. Connections that nobody answers any more would keep a container's network
    /// for minutes, with the address that the next one gets.
    pub(super) fn remove_links(&self) {
        if self.kind.engine {
            let names = "ip -o link | sed 's/^[0-9]*: //; s/[@:].*//' | grep -v -e '^lo$' -e '^eth0$'";
            // One end of a pair takes the other along, and the engine's last ones go by themselves.
            let line = format!(
                "for link in $({names}); do ip link del $link || ! ip link show $link || exit 1; done"
            );
            must("ip", &["netns", "exec", &self.link.namespace, "sh", "-c", &line]);
        }
    }

    /// What its containers leave behind when their processes are gone.
    pub(super) fn remove_cgroups(&self) {
        if self.kind.engine {
            let group = format!("*/{}*", self.link.namespace);
            let mut find = Command::new("find");
            find.args([
                "/sys/fs/cgroup",
                "-depth",
                "-type",
                "d",
                "-path",
                &group,
                "-exec",
                "rmdir",
                "{}",
                "+",
            ]);
            let _ = find.process_group(0).output();
        }
    }
}
