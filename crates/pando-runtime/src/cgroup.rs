//! Limits on memory, CPU time and the number of processes by cgroups, both versions.
//!
//! Each run with limits gets a cgroup `pando/ID.ATTEMPT` below the one that the daemon is in, so that whatever limits the
//! daemon's parents stay in force. That asks for permission: root, or a service with `Delegate=yes`. Where it is missing,
//! [`Cgroups::warning`] says so and runs are not limited.

mod find;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pando_model::resources::Resources;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::proc::Process;

/// The length of time over which a share of the CPU is counted: the kernel's default, in microseconds.
const CPU_PERIOD: u64 = 100_000;

/// What is killed is gone within milliseconds, unless it hangs in the kernel.
const CLEAR_WITHIN: Duration = Duration::from_secs(1);

/// Where limits can be set on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cgroups {
    memory: Result<Place, String>,
    cpu: Result<Place, String>,
    pids: Result<Place, String>,
}

/// A directory in which runs get theirs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    version: Version,
    /// `…/pando`.
    parent: PathBuf,
    /// Where the daemon is, and its shims stay.
    home: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// The cgroup of one run in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RunGroup {
    directory: PathBuf,
    home: PathBuf,
    /// The file that counts the processes which the kernel ended for want of memory.
    counts_kills: Option<String>,
}

impl Cgroups {
    /// Looks where this program is, and prepares to make cgroups there. With version 2 that can mean to move this program
    /// one cgroup down, into `daemon`: one that holds processes can't have limited children.
    pub(crate) fn find() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        find::find(&read("/proc/self/mountinfo"), &read("/proc/self/cgroup"))
    }

    /// No limits, because of `why`.
    pub(crate) fn none(why: &str) -> Self {
        Self { memory: Err(why.to_owned()), cpu: Err(why.to_owned()), pids: Err(why.to_owned()) }
    }

    /// What can't be limited here although `resources` asks for it, and why, as a sentence.
    pub(crate) fn warning(&self, resources: &Resources) -> Option<String> {
        let missing = [
            ("memory", resources.memory_bytes.is_some(), &self.memory),
            ("CPU", resources.cpu_millis.is_some(), &self.cpu),
            ("process", resources.pids.is_some(), &self.pids),
        ];
        let missing = missing.into_iter().filter(|(_, asked, _)| *asked);
        let (names, reasons): (Vec<_>, Vec<_>) =
            missing.filter_map(|(name, _, place)| Some((name, place.as_ref().err()?))).unzip();
        let why = reasons.first()?;
        let names = match names.as_slice() {
            [but @ .., last] if !but.is_empty() => format!("{} and {last}", but.join(", ")),
            names => names.concat(),
        };
        Some(format!("{names} limits are not enforced: {why}"))
    }

    /// The cgroups that `name` can have here, one in each hierarchy. None of them need be there.
    pub(crate) fn all(&self, name: &str) -> Vec<RunGroup> {
        let mut groups: Vec<RunGroup> = Vec::new();
        for place in [&self.pids, &self.memory, &self.cpu].into_iter().flatten() {
            place.name(&mut groups, name);
        }
        groups
    }

    /// Like [`Cgroups::make`], and one also where nothing is limited, so that everything inside is known and can be ended.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn make_known(&self, name: &str, resources: &Resources) -> io::Result<Vec<RunGroup>> {
        let mut groups = self.all(name);
        groups.truncate(1);
        let made = groups.iter().try_for_each(|group| fs::create_dir_all(&group.directory));
        made.and_then(|()| self.make_from(groups, name, resources))
    }

    /// Makes the cgroups of the run `name` with its limits set; none when none are asked for or can be had. Those that an
    /// attempt cut short left behind are used again.
    ///
    /// # Errors
    /// When the kernel refuses; nothing is left behind then.
    pub(crate) fn make(&self, name: &str, resources: &Resources) -> io::Result<Vec<RunGroup>> {
        self.make_from(Vec::new(), name, resources)
    }

    fn make_from(
        &self,
        mut groups: Vec<RunGroup>,
        name: &str,
        resources: &Resources,
    ) -> io::Result<Vec<RunGroup>> {
        let made = self.make_into(&mut groups, name, resources);
        if made.is_err() {
            for group in &groups {
                let _ = group.remove();
            }
        }
        made.map(|()| groups)
    }

    fn make_into(&self, groups: &mut Vec<RunGroup>, name: &str, resources: &Resources) -> io::Result<()> {
        if let (Ok(place), Some(bytes)) = (&self.memory, resources.memory_bytes) {
            let group = place.group(groups, name)?;
            place.limit_memory(group, bytes)?;
        }
        if let (Ok(place), Some(millis)) = (&self.cpu, resources.cpu_millis) {
            let group = place.group(groups, name)?;
            place.limit_cpu(group, millis)?;
        }
        if let (Ok(place), Some(most)) = (&self.pids, resources.pids) {
            let group = place.group(groups, name)?;
            // Both versions call it so.
            fs::write(group.directory.join("pids.max"), most.to_string())?;
        }
        Ok(())
    }
}

impl Place {
    /// The run's group in this hierarchy; version 2 has one for both limits.
    fn group<'a>(&self, groups: &'a mut Vec<RunGroup>, name: &str) -> io::Result<&'a mut RunGroup> {
        let group = self.name(groups, name);
        fs::create_dir_all(&group.directory)?;
        Ok(group)
    }

    /// The same, not made.
    fn name<'a>(&self, groups: &'a mut Vec<RunGroup>, name: &str) -> &'a mut RunGroup {
        let directory = self.parent.join(name);
        let place = groups.iter().position(|group| group.directory == directory).unwrap_or_else(|| {
            groups.push(RunGroup { directory, home: self.home.clone(), counts_kills: None });
            groups.len() - 1
        });
        &mut groups[place]
    }

    fn limit_memory(&self, group: &mut RunGroup, bytes: u64) -> io::Result<()> {
        let (limit, with_swap, swap_limit, counts) = match self.version {
            // Version 1 limits the sum, version 2 the swap alone: in both a limit means memory, not slow memory.
            Version::V1 => {
                ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", bytes, "memory.oom_control")
            }
            Version::V2 => ("memory.max", "memory.swap.max", 0, "memory.events"),
        };
        fs::write(group.directory.join(limit), bytes.to_string())?;
        let with_swap = group.directory.join(with_swap);
        // Only there when the kernel accounts for swap.
        if with_swap.exists() {
            fs::write(with_swap, swap_limit.to_string())?;
        }
        group.counts_kills = Some(counts.to_owned());
        Ok(())
    }

    fn limit_cpu(&self, group: &RunGroup, millis: u32) -> io::Result<()> {
        let quota = u64::from(millis) * CPU_PERIOD / 1000;
        let write = |file: &str, value: String| fs::write(group.directory.join(file), value);
        match self.version {
            Version::V1 => {
                write("cpu.cfs_period_us", CPU_PERIOD.to_string())?;
                write("cpu.cfs_quota_us", quota.to_string())
            }
            Version::V2 => write("cpu.max", format!("{quota} {CPU_PERIOD}")),
        }
    }
}

impl RunGroup {
    /// Moves the calling process in.
    pub(crate) fn enter(&self) -> io::Result<()> {
        move_self(&self.directory)
    }

    /// Moves the calling process back to where the daemon is.
    pub(crate) fn leave(&self) -> io::Result<()> {
        move_self(&self.home)
    }

    /// How many processes of the run the kernel has ended for want of memory.
    pub(crate) fn memory_kills(&self) -> u64 {
        let Some(file) = &self.counts_kills else { return 0 };
        let text = fs::read_to_string(self.directory.join(file)).unwrap_or_default();
        count_in(&text, "oom_kill")
    }

    /// The processes inside, of whatever descent.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let text = fs::read_to_string(self.directory.join("cgroup.procs")).unwrap_or_default();
        text.lines().filter_map(|pid| Process::running(pid.parse().ok()?)).collect()
    }

    /// Where it is: who enters it writes into its `cgroup.procs`.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Sends SIGKILL to all inside. From now on none of them can start another, so that none escapes.
    pub(crate) fn kill(&self) {
        // Where the number of processes can be limited; a cgroup that is gone has nobody in it.
        let _ = write_existing(&self.directory.join("pids.max"), "0");
        if write_existing(&self.directory.join("cgroup.kill"), "1").is_err() {
            for process in self.processes() {
                let _ = process.signal(Signal::KILL);
            }
        }
    }

    /// Ends what is inside, and removes it. False: something inside does not end. Blocks for [`CLEAR_WITHIN`] at most.
    pub(crate) fn clear(&self) -> bool {
        let until = Instant::now() + CLEAR_WITHIN;
        loop {
            if self.remove().is_ok() {
                return true;
            }
            if Instant::now() > until {
                return false;
            }
            self.kill();
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Removes it; it must be empty.
    pub(crate) fn remove(&self) -> io::Result<()> {
        match fs::remove_dir(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

/// Unlike [`fs::write`], makes nothing.
fn write_existing(path: &Path, text: &str) -> io::Result<()> {
    fs::OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

/// Moves the calling process into the cgroup at `directory`, as [`RunGroup::directory`] tells it.
///
/// # Errors
/// When it is not there, or the kernel refuses.
pub fn enter(directory: &Path) -> io::Result<()> {
    move_self(directory)
}

/// 0 stands for the process that writes, in whatever namespace.
fn move_self(directory: &Path) -> io::Result<()> {
    write_existing(&directory.join("cgroup.procs"), "0")
}

/// The number after `key` in lines of `key number`.
fn count_in(text: &str, key: &str) -> u64 {
    let value = text.lines().filter_map(|line| line.split_once(' ')).find(|(name, _)| *name == key);
    value.and_then(|(_, number)| number.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests;
