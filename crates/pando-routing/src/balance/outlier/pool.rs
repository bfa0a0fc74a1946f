//! What only a whole pool can decide: whether one more may go, and who goes first to one that may come back.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError, TryLockError};

use super::{Conduct, Ejection, Outcome};
use crate::balance::SECOND;
use crate::policy::Outlier;

/// A pool's endpoints that the table calls active, by index.
pub trait Members {
    fn count(&self) -> usize;

    fn conduct(&self, n: usize) -> &Conduct;

    /// Whether it could serve but for an ejection: its probe has passed, it has not begun to drain.
    fn able(&self, n: usize) -> bool;
}

/// One pool's ejections, for all workers.
#[derive(Debug)]
pub struct Ejections {
    /// Held while one is ejected or a trial claimed, so that two workers don't eject the two last ones.
    turn: Mutex<()>,
    /// When the next trial may be due; the maximum for never. Early is allowed, late is not.
    next_trial: AtomicU64,
}

impl Default for Ejections {
    fn default() -> Self {
        Self { turn: Mutex::new(()), next_trial: AtomicU64::new(u64::MAX) }
    }
}

impl Ejections {
    /// Ejects the member whose [`Conduct::record`] said that it is time, if the pool can do without it: at least one other is
    /// able and in, and no more than the policy's part is out. `last` is what was recorded.
    pub fn judge(
        &self,
        policy: &Outlier,
        members: &impl Members,
        member: usize,
        last: Outcome,
        now: u64,
        random: u64,
    ) -> Option<Ejection> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let conduct = members.conduct(member);
        if !conduct.is_in() || !can_do_without(policy, members, member) {
            return None;
        }
        let reason = conduct.reason(policy, last, now)?;
        let ejection = conduct.eject(policy, reason, now, random);
        self.next_trial.fetch_min(ejection.until, Relaxed);
        Some(ejection)
    }

    /// Whether [`Self::claim`] is worth a call: one load, false in a pool that is well.
    #[must_use]
    pub fn is_due(&self, now: u64) -> bool {
        now >= self.next_trial.load(Relaxed)
    }

    /// An able member to which this request, and it alone, goes as a trial; [`Self::end_trial`] must follow. Best asked for
    /// requests that can be tried elsewhere when they fail. `None` also while another worker is at it.
    #[must_use]
    pub fn claim(&self, members: &impl Members, now: u64) -> Option<usize> {
        let _turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        let claimed = (0..members.count()).find(|n| members.able(*n) && members.conduct(*n).claim(now));
        let due = (0..members.count()).filter_map(|n| next_look(members, n, now));
        self.next_trial.store(due.min().unwrap_or(u64::MAX), Relaxed);
        claimed
    }

    /// The trial that was claimed has ended: in success the member is back in rotation, in failure it is ejected again, for
    /// longer. `None`: it says nothing, since it was not sent or the client gave it up; then the next trial is due. The new
    /// ejection, if there is one.
    pub fn end_trial(
        &self,
        policy: &Outlier,
        conduct: &Conduct,
        outcome: Option<Outcome>,
        now: u64,
        random: u64,
    ) -> Option<Ejection> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let ejection = conduct.end_trial(policy, outcome, now, random);
        self.note(conduct);
        ejection
    }

    /// A member is as it was before the proxy was replaced by a newer one; times are of the same clock.
    pub fn restore(&self, conduct: &Conduct, ejection: Ejection) {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        conduct.restore(ejection);
        self.note(conduct);
    }

    fn note(&self, conduct: &Conduct) {
        if let Some(due) = conduct.gate().due() {
            self.next_trial.fetch_min(due, Relaxed);
        }
    }
}

/// When a member's trial is to be looked for. One that is due and not able is looked at once a second, not for each request.
fn next_look(members: &impl Members, n: usize, now: u64) -> Option<u64> {
    let due = members.conduct(n).gate().due()?;
    Some(if members.able(n) { due } else { due.max(now + SECOND) })
}

fn can_do_without(policy: &Outlier, members: &impl Members, member: usize) -> bool {
    let count = members.count();
    let out = (0..count).filter(|n| !members.conduct(*n).is_in()).count();
    let part = usize::try_from(policy.most_percent).unwrap_or(100).min(100);
    let mut others = (0..count).filter(|n| *n != member);
    out < count * part / 100 && others.any(|n| members.able(n) && members.conduct(n).is_in())
}
