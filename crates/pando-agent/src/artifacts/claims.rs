//! What of this server's disk and engine somebody needs just now, and who works on which release.
//!
//! Whoever removes something that nobody ordered to be removed asks here, under the same lock under which others say what they
//! need: what was not needed at the look and is at the deed stays.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pando_rt::shutdown::Shutdown;
use tokio::sync::oneshot;

use crate::reconcile::{Needs, ReleaseKey};

#[derive(Debug, Default)]
pub(super) struct Claims {
    held: Mutex<Held>,
    /// One at a time fetches; what was fetched is swept by nobody meanwhile.
    pub(super) fetching: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Held {
    /// `None`: nobody has said yet.
    needs: Option<Needs>,
    /// Rises whenever `needs` changes.
    generation: u64,
    jobs: BTreeMap<ReleaseKey, Job>,
}

/// The newest work on a release.
#[derive(Debug)]
pub(super) struct Job {
    stopped: Shutdown,
    done: oneshot::Receiver<()>,
}

impl Job {
    fn is_under_way(&mut self) -> bool {
        self.done.try_recv() == Err(oneshot::error::TryRecvError::Empty)
    }

    /// Waits until it is over. `give_up`: it is told that nobody wants it any more.
    pub(super) async fn wait(self, give_up: bool) {
        if give_up {
            self.stopped.begin();
        }
        // An error says that it is over, too.
        let _ = self.done.await;
    }
}

/// Work on a release goes on until this is dropped; who comes after waits.
#[derive(Debug)]
pub(super) struct Working {
    _done: oneshot::Sender<()>,
}

impl Claims {
    /// Work on a release begins, after the job that is answered.
    pub(super) fn begin(&self, key: ReleaseKey, stopped: Shutdown) -> (Working, Option<Job>) {
        let mut held = self.lock();
        held.jobs.retain(|_, job| job.is_under_way());
        let (working, job) = work(stopped);
        let earlier = held.jobs.insert(key, job);
        (working, earlier)
    }

    /// The same on a release that nobody asked for and nobody works on. `None`: somebody does.
    pub(super) fn begin_unless_claimed(&self, key: &ReleaseKey) -> Option<Working> {
        let mut held = self.lock();
        held.jobs.retain(|_, job| job.is_under_way());
        let is_free = held.needs.as_ref().is_some_and(|needs| !needs.releases.contains(key));
        (is_free && !held.jobs.contains_key(key)).then(|| {
            let (working, job) = work(Shutdown::new());
            held.jobs.insert(key.clone(), job);
            working
        })
    }

    /// From now on this is needed. `None`: that is not known.
    pub(super) fn set(&self, needs: Option<Needs>) {
        let mut held = self.lock();
        if held.needs != needs {
            held.needs = needs;
            held.generation += 1;
        }
    }

    /// What is needed, and as of which generation. `None`: nobody has said yet.
    pub(super) fn needs(&self) -> Option<(Needs, u64)> {
        let held = self.lock();
        held.needs.clone().map(|needs| (needs, held.generation))
    }

    /// Does it, if what is needed is still what it was; nobody says otherwise before it is done. `None`: it was not done.
    pub(super) fn if_still<T>(&self, generation: u64, deed: impl FnOnce() -> T) -> Option<T> {
        let held = self.lock();
        (held.generation == generation).then(deed)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn work(stopped: Shutdown) -> (Working, Job) {
    let (sender, done) = oneshot::channel();
    (Working { _done: sender }, Job { stopped, done })
}

/// Shared by those who bring and those who remove.
pub(super) type SharedClaims = Arc<Claims>;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use pando_model::release::{Digest, ReleaseNumber};

    use super::*;

    fn key(number: u64) -> ReleaseKey {
        ("shop".parse().unwrap(), ReleaseNumber(number))
    }

    fn releases(keys: &[ReleaseKey]) -> Option<Needs> {
        Some(Needs { releases: keys.iter().cloned().collect(), artifacts: BTreeSet::new() })
    }

    #[test]
    fn what_somebody_asked_for_or_works_on_is_removed_by_nobody_else() {
        let claims = Claims::default();
        assert!(claims.begin_unless_claimed(&key(1)).is_none(), "nobody has said what is to be here");
        claims.set(releases(&[key(1)]));
        assert!(claims.begin_unless_claimed(&key(1)).is_none());
        let (working, _) = claims.begin(key(2), Shutdown::new());
        assert!(claims.begin_unless_claimed(&key(2)).is_none());
        drop(working);
        assert!(claims.begin_unless_claimed(&key(2)).is_some());
    }

    #[tokio::test]
    async fn who_comes_after_waits() {
        let claims = Claims::default();
        claims.set(releases(&[]));
        let removing = claims.begin_unless_claimed(&key(1)).unwrap();
        let (_working, earlier) = claims.begin(key(1), Shutdown::new());
        let waiting = tokio::spawn(earlier.unwrap().wait(false));
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(removing);
        waiting.await.unwrap();
    }

    #[test]
    fn a_deed_is_left_undone_when_more_is_wanted_by_now() {
        let claims = Claims::default();
        assert_eq!(claims.needs(), None);
        claims.set(releases(&[]));
        let (_, generation) = claims.needs().unwrap();
        claims.set(releases(&[]));
        assert_eq!(claims.if_still(generation, || 7), Some(7), "the same is no change");
        let artifacts = BTreeSet::from([Digest::new("a".repeat(64)).unwrap()]);
        claims.set(Some(Needs { artifacts, releases: BTreeSet::new() }));
        assert_eq!(claims.if_still(generation, || 7), None);
    }
}
