//! What `/proc` tells of processes: who descends from whom, and whether a pid still means the same process.
//!
//! A pid is used again once its process is gone, so a process is always named by its pid *and* the time of its start.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use rustix::process::{Pid, PidfdFlags, Signal};
use serde::{Deserialize, Serialize};

/// One process for certain: the pair is never used again until the machine restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    /// Clock ticks since the machine started; field 22 of `/proc/PID/stat`.
    pub(crate) start: u64,
}

impl Process {
    /// The process that has `pid` now, when there is one that has not ended (a zombie has).
    pub(crate) fn running(pid: u32) -> Option<Self> {
        let stat = Stat::of(pid)?;
        (!stat.ended()).then(|| stat.process())
    }

    /// This program.
    pub(crate) fn this() -> Self {
        let pid = std::process::id();
        Self::running(pid).unwrap_or(Self { pid, start: 0 })
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(self) -> bool {
        Self::running(self.pid) == Some(self)
    }

    /// Sends `signal` to this very process, never to another that got its pid since. One that has ended is left as it is.
    ///
    /// # Errors
    /// When the kernel refuses, for want of permission.
    pub(crate) fn signal(self, signal: Signal) -> io::Result<()> {
        let Some(pid) = raw_pid(self.pid) else { return Ok(()) };
        let sent = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            // The descriptor holds on to one process; the comparison after it says which.
            Ok(pidfd) if self.is_running() => rustix::process::pidfd_send_signal(pidfd, signal),
            Ok(_) => Ok(()),
            // Kernels before 5.3 and some sandboxes have no pidfds.
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) if self.is_running() => {
                rustix::process::kill_process(pid, signal)
            }
            Err(error) => Err(error),
        };
        gone_is_fine(sent)
    }
}

/// Sends `signal` to the process group of `pid`. A group that is gone is left as it is.
///
/// # Errors
/// When the kernel refuses, for want of permission.
pub(crate) fn signal_group(pid: u32, signal: Signal) -> io::Result<()> {
    let Some(pid) = raw_pid(pid) else { return Ok(()) };
    gone_is_fine(rustix::process::kill_process_group(pid, signal))
}

fn gone_is_fine(sent: rustix::io::Result<()>) -> io::Result<()> {
    match sent {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// `None` for what no single process can have: 0, 1 and numbers out of range. Signals to those would reach many.
fn raw_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().filter(|pid| *pid > 1).and_then(Pid::from_raw)
}

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) group: u32,
    pub(crate) session: u32,
    pub(crate) state: char,
    pub(crate) start: u64,
}

impl Stat {
    pub(crate) fn of(pid: u32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    /// The name of the program, in parentheses, may hold spaces and parentheses of its own: fields count from the last one.
    fn parse(text: &str) -> Option<Self> {
        let pid = text.split_once(' ')?.0.parse().ok()?;
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        Some(Self {
            pid,
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            group: fields.get(2)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            start: fields.get(19)?.parse().ok()?,
        })
    }

    pub(crate) fn ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }

    pub(crate) fn process(&self) -> Process {
        Process { pid: self.pid, start: self.start }
    }
}

/// Every process that this program may see.
pub(crate) fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(Stat::of)
        .collect()
}

/// Children, grandchildren and so on of `ancestor` among `processes`; those that ended are left out.
pub(crate) fn descendants(processes: &[Stat], ancestor: u32) -> Vec<Process> {
    let mut children: BTreeMap<u32, Vec<&Stat>> = BTreeMap::new();
    for stat in processes {
        children.entry(stat.parent).or_default().push(stat);
    }
    let mut found = Vec::new();
    let mut parents = vec![ancestor];
    while let Some(parent) = parents.pop() {
        // Removed, so that each is visited once even if the list was read while pids changed hands.
        for child in children.remove(&parent).unwrap_or_default() {
            parents.push(child.pid);
            if !child.ended() {
                found.push(child.process());
            }
        }
    }
    found
}

/// What names this start of the machine; empty where the kernel doesn't tell.
pub(crate) fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(pid: u32, parent: u32, state: char) -> Stat {
        Stat { pid, parent, group: pid, session: 1, state, start: u64::from(pid) }
    }

    #[test]
    fn reads_names_with_spaces_and_parentheses() {
        let text = "42 (a) (b c) S 7 8 9 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 123456 1 1";
        let expected = Stat { pid: 42, parent: 7, group: 8, session: 9, state: 'S', start: 123_456 };
        assert_eq!(Stat::parse(text), Some(expected));
        for bad in ["", "42", "42 (a", "42 (a) S 7", "x (a) S 7 8 9 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 1"]
        {
            assert_eq!(Stat::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn descendants_reach_through_ended_parents_and_end_on_loops() {
        let processes = [stat(10, 1, 'S'), stat(11, 10, 'Z'), stat(12, 11, 'R'), stat(13, 1, 'S')];
        let mut pids: Vec<u32> = descendants(&processes, 10).iter().map(|p| p.pid).collect();
        assert_eq!(pids, [12]);
        let looped = [stat(5, 6, 'S'), stat(6, 5, 'S')];
        pids = descendants(&looped, 5).iter().map(|p| p.pid).collect();
        pids.sort_unstable();
        assert_eq!(pids, [5, 6]);
    }

    #[test]
    fn another_start_with_the_same_pid_is_another_process() {
        let this = Process::this();
        assert!(this.is_running());
        assert!(!Process { start: this.start + 1, ..this }.is_running());
    }

    #[test]
    fn a_signal_for_everybody_is_never_sent() {
        for pid in [0, 1, u32::MAX] {
            assert_eq!(raw_pid(pid), None);
        }
    }
}
