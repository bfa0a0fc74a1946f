//! A process on this machine, and all that descends from it.

use std::collections::BTreeSet;
use std::io;

/// Ends them: by SIGTERM, or `hard`.
pub(super) fn signal(pid: u32, hard: bool) -> io::Result<()> {
    use rustix::process::Signal;
    if !hard {
        return family(pid).iter().try_for_each(|process| process.signal(Signal::TERM));
    }
    // Held first: what starts another in the moment of its death leaves that one behind without a parent to find it by.
    let mut held = BTreeSet::new();
    for _ in 0..ROUNDS {
        let new: Vec<_> = family(pid).into_iter().filter(|process| !held.contains(&process.pid)).collect();
        if new.is_empty() {
            break;
        }
        new.iter().try_for_each(|process| process.signal(Signal::STOP))?;
        held.extend(new.iter().map(|process| process.pid));
    }
    family(pid).iter().try_for_each(|process| process.signal(Signal::KILL))
}

/// What forks faster than it can be held is not held; some of it may be left.
const ROUNDS: usize = 20;

/// A process and all that descends from it.
fn family(pid: u32) -> Vec<crate::proc::Process> {
    let all = crate::proc::all();
    let mut whole = crate::proc::descendants(&all, pid);
    whole.extend(all.iter().find(|stat| stat.pid == pid).map(crate::proc::Stat::process));
    whole
}
