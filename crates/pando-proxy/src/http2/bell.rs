//! The waker of a connection's parts.
//!
//! A connection and its streams are one task, and wake each other while that is at work: a stream by what it says, the connection
//! by what it gives room for. The task sees to that before it rests, so that none of it costs another turn.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Wake, Waker};

use futures_util::task::AtomicWaker;

/// Wakes a task that rests; notes for one that is at work that its connection has something to do.
#[derive(Debug)]
pub(super) struct Bell {
    task: AtomicWaker,
    resting: AtomicBool,
    rung: AtomicBool,
}

impl Bell {
    /// It is rung already: nobody has looked at the connection yet.
    pub(super) fn new() -> Arc<Self> {
        let (resting, rung) = (AtomicBool::new(false), AtomicBool::new(true));
        Arc::new(Self { task: AtomicWaker::new(), resting, rung })
    }

    /// The task is at work from now on.
    pub(super) fn work(&self, task: &Waker) {
        self.task.register(task);
        self.resting.store(false, SeqCst);
    }

    /// The task rests from now on. What was noted for it has to be looked for after this, not before.
    pub(super) fn rest(&self) {
        self.resting.store(true, SeqCst);
    }

    /// Whether it was rung since this was last asked.
    pub(super) fn was_rung(&self) -> bool {
        self.rung.load(SeqCst) && self.rung.swap(false, SeqCst)
    }

    /// Whether it would answer so.
    pub(super) fn is_rung(&self) -> bool {
        self.rung.load(SeqCst)
    }

    /// There is no task any more: wakers that somebody still has keep nothing of it.
    pub(super) fn forget(&self) {
        self.task.take();
    }

    /// The connection has something to do.
    pub(super) fn ring(&self) {
        self.rung.store(true, SeqCst);
        self.rouse();
    }

    /// Wakes the task if it rests.
    pub(super) fn rouse(&self) {
        if self.resting.load(SeqCst) {
            self.task.wake();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Task(std::sync::atomic::AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, SeqCst);
        }
    }

    #[test]
    fn a_task_at_work_is_told_and_one_that_rests_is_woken() {
        let (task, bell) = (Arc::new(Task::default()), Bell::new());
        let woken = || task.0.load(SeqCst);
        let (of_task, waker) = (Waker::from(Arc::clone(&task)), Waker::from(Arc::clone(&bell)));
        bell.work(&of_task);
        assert!(bell.was_rung() && !bell.was_rung());
        waker.wake_by_ref();
        bell.rouse();
        assert_eq!((bell.was_rung(), bell.is_rung(), woken()), (true, false, 0));
        bell.rest();
        assert_eq!(woken(), 0);
        waker.wake_by_ref();
        assert_eq!((bell.is_rung(), woken()), (true, 1));
        bell.work(&of_task);
        bell.rest();
        bell.rouse();
        assert_eq!(woken(), 2);
    }
}
