//! How a run comes to its end: a pure state machine. The shim performs the effects.

use std::time::{Duration, Instant};

use super::child::Exit;

/// How long what the main process left behind has between SIGTERM and SIGKILL, when nobody asked for the end. Short, for a
/// replica that crashed is to start again, and its port must be free.
pub(super) const LEFTOVER_GRACE: Duration = Duration::from_secs(1);

/// Between two rounds of SIGKILL: what forks fast enough escapes one round.
const KILL_AGAIN: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// Somebody asked for the end. `None`: but gave no time after which to insist.
    Stop { timeout: Option<Duration> },
    /// The main process ended.
    MainEnded(Exit),
    /// Neither it nor any descendant is left.
    AllGone,
    /// Time went by.
    Tick,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// SIGTERM to everything.
    Terminate,
    /// SIGKILL to everything.
    Kill,
    Finish,
}

#[derive(Debug, Default)]
pub(super) struct Ending {
    main: Option<Exit>,
    terminated: bool,
    /// When to begin, or to repeat, SIGKILL.
    kill_at: Option<Instant>,
    killed: bool,
    stop_asked: bool,
}

impl Ending {
    pub(super) fn step(&mut self, event: &Event, now: Instant) -> Vec<Effect> {
        let mut effects = Vec::new();
        match event {
            Event::Stop { timeout } => {
                self.stop_asked = true;
                self.terminate(*timeout, now, &mut effects);
            }
            Event::MainEnded(exit) => {
                self.main = Some(exit.clone());
                // When the end was asked for, what is left still has the time that was given.
                if self.kill_at.is_none() {
                    self.terminate(Some(LEFTOVER_GRACE), now, &mut effects);
                }
            }
            Event::AllGone => return vec![Effect::Finish],
            Event::Tick => {}
        }
        if self.kill_at.is_some_and(|at| now >= at) {
            self.killed = true;
            self.kill_at = Some(now + KILL_AGAIN);
            effects.push(Effect::Kill);
        }
        effects
    }

    /// Asking again may bring the end nearer, never put it off.
    fn terminate(&mut self, timeout: Option<Duration>, now: Instant, effects: &mut Vec<Effect>) {
        // A length that no clock can hold means never.
        let wanted = timeout.and_then(|timeout| now.checked_add(timeout));
        self.kill_at = match (self.kill_at, wanted) {
            (Some(old), Some(new)) => Some(old.min(new)),
            (old, new) => old.or(new),
        };
        if !std::mem::replace(&mut self.terminated, true) {
            effects.push(Effect::Terminate);
        }
    }

    /// The main process ended, and everything else with it.
    pub(super) fn record_main(&mut self, exit: Exit) {
        self.main = Some(exit);
    }

    /// When [`Event::Tick`] is due.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        self.kill_at
    }

    /// How the main process ended, once it has.
    pub(super) fn main(&self) -> Option<&Exit> {
        self.main.as_ref()
    }

    /// Whether SIGKILL had to be sent.
    pub(super) fn killed(&self) -> bool {
        self.killed
    }

    pub(super) fn stop_asked(&self) -> bool {
        self.stop_asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn stop(timeout: Duration) -> Event {
        Event::Stop { timeout: Some(timeout) }
    }

    fn ended() -> Event {
        Event::MainEnded(Exit { code: Some(0), signal: None })
    }

    #[test]
    fn a_stop_terminates_then_kills_when_the_time_is_over_and_again_until_all_is_gone() {
        let (mut ending, start) = (Ending::default(), Instant::now());
        assert_eq!(ending.step(&stop(30 * SECOND), start), [Effect::Terminate]);
        assert_eq!(ending.step(&Event::Tick, start + 29 * SECOND), []);
        assert_eq!(ending.step(&Event::Tick, start + 30 * SECOND), [Effect::Kill]);
        assert_eq!(ending.wake_at(), Some(start + 30 * SECOND + KILL_AGAIN));
        assert_eq!(ending.step(&Event::Tick, start + 31 * SECOND), [Effect::Kill]);
        assert_eq!(ending.step(&ended(), start + 31 * SECOND), []);
        assert_eq!(ending.step(&Event::AllGone, start + 31 * SECOND), [Effect::Finish]);
        assert!(ending.killed());
    }

    #[test]
    fn no_time_means_at_once() {
        let (mut ending, start) = (Ending::default(), Instant::now());
        assert_eq!(ending.step(&stop(Duration::ZERO), start), [Effect::Terminate, Effect::Kill]);
    }

    #[test]
    fn a_second_stop_brings_the_end_nearer_but_never_puts_it_off() {
        let (mut ending, start) = (Ending::default(), Instant::now());
        ending.step(&stop(30 * SECOND), start);
        assert_eq!(ending.step(&stop(60 * SECOND), start), []);
        assert_eq!(ending.wake_at(), Some(start + 30 * SECOND));
        assert_eq!(ending.step(&stop(SECOND), start), []);
        assert_eq!(ending.wake_at(), Some(start + SECOND));
        ending.step(&stop(Duration::MAX), start);
        assert_eq!(ending.wake_at(), Some(start + SECOND));
    }

    #[test]
    fn what_a_crash_leaves_behind_has_a_short_time() {
        let (mut ending, start) = (Ending::default(), Instant::now());
        assert_eq!(ending.step(&ended(), start), [Effect::Terminate]);
        assert_eq!(ending.step(&Event::Tick, start + LEFTOVER_GRACE), [Effect::Kill]);
    }

    #[test]
    fn what_a_stopped_main_process_leaves_behind_has_the_time_that_was_given() {
        let (mut ending, start) = (Ending::default(), Instant::now());
        ending.step(&stop(30 * SECOND), start);
        assert_eq!(ending.step(&ended(), start + SECOND), []);
        assert_eq!(ending.step(&Event::Tick, start + 29 * SECOND), []);
    }

    #[test]
    fn a_stop_without_a_time_never_kills() {
        let (mut ending, start) = (Ending::default(), Instant::now());
        assert_eq!(ending.step(&Event::Stop { timeout: None }, start), [Effect::Terminate]);
        assert_eq!(ending.wake_at(), None);
        assert_eq!(ending.step(&ended(), start + SECOND), []);
        assert_eq!(ending.wake_at(), Some(start + SECOND + LEFTOVER_GRACE));
    }
}
