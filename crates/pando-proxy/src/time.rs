//! Time for connections: a coarse monotonic count, and an alarm that is cheap to postpone.
//!
//! Deadlines move with every byte. An [`Alarm`] therefore isn't set anew when its
//! deadline moves further away: it rings early, looks, and goes back to sleep.

use std::cell::RefCell;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use rustix::time::{ClockId, clock_gettime};
use tokio::time::Sleep;

/// Milliseconds since the system started, behind by up to one of the kernel's ticks (1 to 10 ms): what deadlines need, at a fifth
/// of the exact time's price. Never 0, so that 0 can stand for "not set".
pub(crate) fn ticks() -> u64 {
    let now = clock_gettime(ClockId::MonotonicCoarse);
    let millis = now.tv_sec.saturating_mul(1000).saturating_add(now.tv_nsec / 1_000_000);
    u64::try_from(millis).unwrap_or(0).saturating_add(1)
}

/// A duration in ticks.
pub(crate) fn span(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Milliseconds for which a `Date` is told again; its own unit is a second.
const DATE_LASTS: u64 = 200;

/// Gives `use_it` the time as a `Date` field has it (RFC 9110, 5.6.7).
pub(crate) fn date(use_it: impl FnOnce(&[u8])) {
    thread_local! {
        static DATE: RefCell<(u64, String)> = const { RefCell::new((0, String::new())) };
    }
    DATE.with_borrow_mut(|(at, text)| {
        let now = ticks();
        if text.is_empty() || now >= *at + DATE_LASTS {
            *text = httpdate::fmt_http_date(SystemTime::now());
            *at = now;
        }
        use_it(text.as_bytes());
    });
}

/// Wakes its task at a deadline that may change from poll to poll.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: u64,
}

impl Alarm {
    /// Ready once `deadline` (in [`ticks`]) has passed; otherwise the task is woken by then.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, deadline: u64) -> Poll<()> {
        if self.sleep.is_none() || deadline < self.armed {
            let now = ticks();
            if now >= deadline {
                return Poll::Ready(());
            }
            self.arm(deadline, now);
        }
        while let Some(sleep) = &mut self.sleep {
            if sleep.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            let now = ticks();
            if now >= deadline {
                // Armed at a past moment: the next poll arms it again.
                self.armed = u64::MAX;
                return Poll::Ready(());
            }
            self.arm(deadline, now);
        }
        Poll::Pending
    }

    fn arm(&mut self, deadline: u64, now: u64) {
        self.armed = deadline;
        let at = tokio::time::Instant::now() + Duration::from_millis(deadline - now);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(at),
            None => self.sleep = Some(Box::pin(tokio::time::sleep_until(at))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test]
    async fn an_alarm_follows_its_deadline_both_ways() {
        let start = ticks();
        let mut alarm = Alarm::default();
        let far = start + 60_000;
        poll_fn(|cx| {
            assert!(alarm.poll(cx, far).is_pending());
            Poll::Ready(())
        })
        .await;
        poll_fn(|cx| alarm.poll(cx, start + 30)).await;
        assert!(ticks() >= start + 30);
        // After it rang it can be used again.
        let again = ticks() + 20;
        poll_fn(|cx| alarm.poll(cx, again)).await;
        assert!(ticks() >= again);
        assert!(ticks() < start + 10_000);
    }
}
