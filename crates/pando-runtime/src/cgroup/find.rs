//! Finds the cgroup that this program is in, in each hierarchy, and whether it may make others there.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Cgroups, Place, Version};
use crate::proc::{self, Stat};

/// The cgroup for the daemon itself and its shims, where limited siblings must be possible. `DelegateSubgroup=` of its
/// systemd unit names it too.
const OWN: &str = "daemon";

/// What `/proc/self/mountinfo` and `/proc/self/cgroup` say decides everything.
pub(super) fn find(mountinfo: &str, cgroup: &str) -> Cgroups {
    let unified = unified(mountinfo, cgroup);
    let place = |controller: &str| {
        let second = unified.as_ref().ok_or_else(String::new).and_then(|own| version_two(own, controller));
        match (second, legacy(mountinfo, cgroup, controller)) {
            (Ok(place), _) => Ok(place),
            (Err(_), Some(own)) => version_one(&own),
            (Err(why), None) if !why.is_empty() => Err(why),
            (Err(_), None) => Err(format!("this machine has no `{controller}` cgroup controller")),
        }
    };
    Cgroups { memory: place("memory"), cpu: place("cpu"), pids: place("pids") }
}

/// A mount of cgroups: where, of which part of the hierarchy, and with what options.
struct Mount<'a> {
    root: &'a str,
    point: &'a str,
    kind: &'a str,
    options: &'a str,
}

fn mounts(mountinfo: &str) -> impl Iterator<Item = Mount<'_>> {
    mountinfo.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let mut before = before.split(' ').skip(3);
        let mut after = after.split(' ');
        let (root, point) = (before.next()?, before.next()?);
        let (kind, options) = (after.next()?, after.nth(1)?);
        Some(Mount { root, point, kind, options })
    })
}

fn unified(mountinfo: &str, cgroup: &str) -> Option<PathBuf> {
    let mount = mounts(mountinfo).find(|mount| mount.kind == "cgroup2")?;
    let path = cgroup.lines().find_map(|line| line.strip_prefix("0::"))?;
    Some(own_directory(&mount, path))
}

fn legacy(mountinfo: &str, cgroup: &str, controller: &str) -> Option<PathBuf> {
    let has = |list: &str| list.split(',').any(|item| item == controller);
    let mount = mounts(mountinfo).find(|mount| mount.kind == "cgroup" && has(mount.options))?;
    let path = cgroup.lines().find_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        has(controllers).then_some(path)
    })?;
    Some(own_directory(&mount, path))
}

/// Within a container the path may lie outside of what is mounted; then the mount's top is the nearest.
fn own_directory(mount: &Mount<'_>, path: &str) -> PathBuf {
    let top = PathBuf::from(mount.point);
    let below = path.strip_prefix(mount.root.trim_end_matches('/')).unwrap_or_default();
    let own = top.join(below.trim_start_matches('/'));
    if own.is_dir() { own } else { top }
}

fn version_one(own: &Path) -> Result<Place, String> {
    let parent = own.join("pando");
    make(&parent)?;
    Ok(Place { version: Version::V1, parent, home: own.to_owned() })
}

fn version_two(own: &Path, controller: &str) -> Result<Place, String> {
    let below_service = own.file_name().is_some_and(|name| name == OWN);
    let base = if below_service { own.parent().unwrap_or(own) } else { own };
    let offered = fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
    if !offered.split_whitespace().any(|name| name == controller) {
        return Err(format!(
            "the `{controller}` controller is not delegated to `{}` (`Delegate=yes` in the service does that)",
            base.display()
        ));
    }
    let home = enable(base, own, controller)?;
    let parent = base.join("pando");
    make(&parent)?;
    let enabled = fs::write(parent.join("cgroup.subtree_control"), format!("+{controller}"));
    enabled.map_err(|error| refused(&parent, &error))?;
    Ok(Place { version: Version::V2, parent, home })
}

/// Makes `controller` available below `base`. Answers with where this program is afterwards.
fn enable(base: &Path, own: &Path, controller: &str) -> Result<PathBuf, String> {
    let control = base.join("cgroup.subtree_control");
    let enable = || fs::write(&control, format!("+{controller}"));
    match enable() {
        Ok(()) => Ok(own.to_owned()),
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            let home = base.join(OWN);
            make(&home)?;
            move_down(base, &home)?;
            enable().map_err(|error| refused(base, &error))?;
            Ok(home)
        }
        Err(error) => Err(refused(base, &error)),
    }
}

/// Moves this program and its like, and nobody else's, from `base` to `home`.
fn move_down(base: &Path, home: &Path) -> Result<(), String> {
    let text = fs::read_to_string(base.join("cgroup.procs")).map_err(|error| refused(base, &error))?;
    let pids: Vec<u32> = text.lines().filter_map(|pid| pid.parse().ok()).collect();
    if let Some(other) = pids.iter().find(|pid| !is_ours(**pid)) {
        return Err(format!(
            "other programs (such as pid {other}) share its cgroup `{}`; a service with `Delegate=yes` has its own",
            base.display()
        ));
    }
    for pid in pids {
        match fs::write(home.join("cgroup.procs"), pid.to_string()) {
            // It ended meanwhile.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::SRCH.raw_os_error()) => {}
            Err(error) => return Err(refused(home, &error)),
            Ok(()) => {}
        }
    }
    Ok(())
}

/// This program, what it started, and other processes of the same executable, such as shims that an earlier run started.
fn is_ours(pid: u32) -> bool {
    let exe = |pid: u32| fs::read_link(format!("/proc/{pid}/exe")).ok();
    let this = std::process::id();
    let descends = || proc::descendants(&proc::all(), this).iter().any(|process| process.pid == pid);
    pid == this || Stat::of(pid).is_none() || (exe(pid).is_some() && exe(pid) == exe(this)) || descends()
}

fn make(directory: &Path) -> Result<(), String> {
    fs::create_dir_all(directory).map_err(|error| refused(directory, &error))
}

fn refused(path: &Path, error: &io::Error) -> String {
    format!(
        "no permission for cgroups in `{}` ({error}); run as root, or as a service with `Delegate=yes`",
        path.display()
    )
}
