//! Runs whose shim died: nobody saw their end, and what is left of them must go.

use std::io;
use std::time::{Duration, Instant};

use pando_model::observed::ExitReport;
use pando_model::time::Timestamp;
use pando_rt::clock::Clock;
use rustix::process::Signal;

use crate::dir::{Launch, RunDir, Status};
use crate::logs::{LogStore, LogWriter};
use crate::proc::{self, Process, Stat};

/// Between SIGTERM and SIGKILL. Nobody reads the run's output any more and nobody can limit or stop it in order.
const GRACE: Duration = Duration::from_secs(1);

/// A process that survives SIGKILL for so long hangs in the kernel.
const PATIENCE: Duration = Duration::from_secs(10);

const PAUSE: Duration = Duration::from_millis(2);

/// The exit of a run whose end nobody saw.
pub(super) fn unseen() -> ExitReport {
    ExitReport { code: None, signal: None, out_of_memory: false, last_lines: Vec::new() }
}

/// Ends what is left of the run, and puts its end on record. To be called with the run's lock held. Blocks for some seconds at
/// most.
pub(super) fn settle(
    dir: &RunDir,
    launch: &Launch,
    status: Option<Status>,
    boot: &str,
    logs: &LogStore,
) -> io::Result<ExitReport> {
    let same_boot = launch.boot == boot;
    if same_boot && let Some(status) = &status {
        end_what_is_left(launch, status)?;
    }
    let kills: u64 = launch.groups.iter().map(crate::cgroup::RunGroup::memory_kills).sum();
    for group in &launch.groups {
        let _ = group.remove();
    }
    let since = status.as_ref().and_then(|status| status.started_at);
    let last_lines = logs.last_output(launch.spec.app.as_str(), &launch.spec.name, since);
    let exit = ExitReport { out_of_memory: kills > 0, last_lines, ..unseen() };
    let why = if same_boot { "its shim was killed, and it was ended too" } else { "the machine restarted" };
    let now = Timestamp::from_millis(Clock::system().now_millis());
    LogWriter::new(logs, launch.spec.app.as_str(), &launch.spec.name)
        .remark(now, &format!("ended, and nobody saw how: {why}"));
    let nobody = Status {
        shim: Process { pid: 0, start: 0 },
        child: None,
        started_at: since,
        refused: None,
        exit: None,
    };
    dir.set_status(&Status { exit: Some(exit.clone()), ..status.unwrap_or(nobody) })?;
    Ok(exit)
}

fn end_what_is_left(launch: &Launch, status: &Status) -> io::Result<()> {
    let start = Instant::now();
    let mut terminated = false;
    loop {
        let left = remains(launch, status);
        if left.is_empty() {
            return Ok(());
        }
        let signal = match (terminated, start.elapsed()) {
            (false, _) => Some(Signal::TERM),
            (true, passed) if passed > PATIENCE => {
                let pids: Vec<String> = left.iter().map(|process| process.pid.to_string()).collect();
                let hang = format!("processes {} do not end", pids.join(", "));
                return Err(io::Error::new(io::ErrorKind::TimedOut, hang));
            }
            (true, passed) => (passed >= GRACE).then_some(Signal::KILL),
        };
        for process in signal.iter().flat_map(|_| &left) {
            process.signal(signal.unwrap_or(Signal::TERM))?;
        }
        terminated = true;
        std::thread::sleep(PAUSE);
    }
}

/// What is still there of the run: the child's process group, the shim's session (the child began in it), whatever is in
/// the run's cgroups, and the descendants of all these. What left both group and session, lost its parent and has no cgroup
/// can't be told from other programs.
fn remains(launch: &Launch, status: &Status) -> Vec<Process> {
    let all = proc::all();
    let mut left: Vec<Process> =
        all.iter().filter(|stat| belongs(stat, status, &all)).map(Stat::process).collect();
    left.extend(launch.groups.iter().flat_map(crate::cgroup::RunGroup::processes));
    for process in left.clone() {
        left.extend(proc::descendants(&all, process.pid));
    }
    left.sort_unstable_by_key(|process| process.pid);
    left.dedup();
    left
}

/// A pid names the session, or the group, of a run only as long as it was not given to somebody else.
fn belongs(stat: &Stat, status: &Status, all: &[Stat]) -> bool {
    let still_names = |leader: Process| {
        all.iter().find(|stat| stat.pid == leader.pid).is_none_or(|now| now.start == leader.start)
    };
    let of = |leader: Process, named: u32| {
        leader.pid > 1 && named == leader.pid && stat.start >= leader.start && still_names(leader)
    };
    let in_session = of(status.shim, stat.session) && stat.pid != status.shim.pid;
    let in_group = status.child.is_some_and(|child| of(child, stat.group));
    !stat.ended() && (in_session || in_group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(pid: u32, group: u32, session: u32, start: u64) -> Stat {
        Stat { pid, parent: 1, group, session, state: 'S', start }
    }

    #[test]
    fn only_what_came_from_the_run_belongs_to_it() {
        let status = Status {
            shim: Process { pid: 100, start: 1000 },
            child: Some(Process { pid: 101, start: 1001 }),
            started_at: None,
            refused: None,
            exit: None,
        };
        let belongs_alone = |stat: Stat| belongs(&stat, &status, &[stat]);
        assert!(belongs_alone(stat(101, 101, 100, 1001)), "the child");
        assert!(belongs_alone(stat(102, 101, 100, 1005)), "of its group");
        assert!(belongs_alone(stat(103, 103, 100, 1005)), "of its session");
        assert!(!belongs_alone(stat(104, 104, 104, 1005)), "of neither");
        assert!(!belongs_alone(stat(100, 100, 100, 2000)), "the shim's pid in other hands");
        assert!(!belongs_alone(stat(101, 101, 5, 2000)), "the child's pid in other hands");
        let another = [stat(100, 100, 100, 2000), stat(105, 105, 100, 2001)];
        assert!(!belongs(&another[1], &status, &another), "a session that was named anew");
        let zombie = Stat { state: 'Z', ..stat(102, 101, 100, 1005) };
        assert!(!belongs_alone(zombie));
    }
}
