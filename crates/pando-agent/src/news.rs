//! What this server did by itself and people should hear of: told to the control plane once, which puts it among the events.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So much waits while the control plane is away; beyond it the oldest is in the log alone.
const MOST: usize = 16;

/// Clones are the same.
#[derive(Debug, Clone, Default)]
pub(crate) struct News {
    waiting: Arc<Mutex<VecDeque<String>>>,
}

impl News {
    pub(crate) fn tell(&self, text: String) {
        let mut waiting = self.lock();
        waiting.truncate(MOST - 1);
        waiting.push_front(text);
    }

    /// The oldest first.
    pub(crate) fn waiting(&self) -> Vec<String> {
        self.lock().iter().rev().cloned().collect()
    }

    /// They were heard.
    pub(crate) fn done(&self, heard: &[String]) {
        self.lock().retain(|one| !heard.contains(one));
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<String>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_wait_until_they_are_heard_and_not_without_end() {
        let news = News::default();
        (0..40).for_each(|number| news.tell(number.to_string()));
        let waiting = news.waiting();
        assert_eq!((waiting.len(), waiting[0].as_str(), waiting[15].as_str()), (MOST, "24", "39"));
        news.tell("40".to_owned());
        news.done(&waiting);
        assert_eq!(news.waiting(), ["40"]);
    }
}
