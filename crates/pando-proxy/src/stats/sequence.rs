//! The number that rises when something changed that a waiting reader wants to know.

use std::time::Duration;

use tokio::sync::watch;

/// Rises when the version, the rotation or the set of idle draining endpoints changes. Clones share the number.
#[derive(Debug, Clone)]
pub(crate) struct Sequence(watch::Sender<u64>);

impl Default for Sequence {
    /// Starts at 1, so that `after=0` is answered at once.
    fn default() -> Self {
        Self(watch::Sender::new(1))
    }
}

impl Sequence {
    pub(crate) fn now(&self) -> u64 {
        *self.0.borrow()
    }

    /// Raises it; whoever waits looks again.
    pub(crate) fn bump(&self) {
        self.0.send_modify(|number| *number += 1);
    }

    /// Waits until the number is beyond `after`, at most `patience`.
    pub(crate) async fn wait_beyond(&self, after: u64, patience: Duration) {
        let mut reader = self.0.subscribe();
        let beyond = reader.wait_for(|number| *number > after);
        // The sender lives as long as `self`; running out of patience is an answer as well.
        let _ = tokio::time::timeout(patience, beyond).await;
    }

    /// Waits until `done` holds, which is asked again after each change; at most `patience`.
    pub(crate) async fn wait_until(&self, done: impl Fn() -> bool, patience: Duration) {
        let mut reader = self.0.subscribe();
        let changes = async {
            while !done() {
                if reader.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(patience, changes).await;
    }
}
