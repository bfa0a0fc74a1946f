//! Whether the control plane answers, and when to ask other servers instead. Pure.
//!
//! A call that is not answered begins the silence, an answer ends it. Reports go
//! out every 2 s at least, so that there is always a call to judge by. Cut off, the
//! agent asks two others every second, so that it is never much older than they.

use pando_model::time::{Millis, Timestamp};

/// From the first unanswered call to being cut off.
pub const SILENCE: Millis = Millis::from_secs(2);

/// How often others are asked then.
pub const EVERY: Millis = Millis::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// The control plane is being called.
    Called,
    /// It answered, whatever it said.
    Answered,
    /// Time has passed.
    Tick,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Ask some other servers for what is newest.
    AskOthers,
    /// The control plane answers again: what hangs on old connections is to be asked anew.
    Back,
}

/// What is known of the line to the control plane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Line {
    unanswered_since: Option<Timestamp>,
    /// When others were asked last, while it is cut off.
    asked_at: Option<Timestamp>,
}

impl Line {
    /// The silence has lasted: others are asked.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.asked_at.is_some()
    }

    /// When the next [`Event::Tick`] is due. `None`: after the next event of another kind at the earliest.
    #[must_use]
    pub fn wakes_at(&self) -> Option<Timestamp> {
        let cut = self.unanswered_since? + SILENCE;
        Some(self.asked_at.map_or(cut, |asked| asked + EVERY))
    }
}

/// Takes one event in and answers with what to do.
pub fn step(line: &mut Line, event: Event, now: Timestamp) -> Option<Effect> {
    match event {
        Event::Called => {
            line.unanswered_since.get_or_insert(now);
            None
        }
        Event::Answered => {
            let before = std::mem::take(line);
            before.is_cut().then_some(Effect::Back)
        }
        Event::Tick => {
            let due = line.wakes_at().is_some_and(|at| at <= now);
            due.then(|| {
                line.asked_at = Some(now);
                Effect::AskOthers
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    /// A history as `(millis, event)`; answers when others were asked, and when it was back.
    fn play(history: &[(i64, Event)]) -> (Vec<i64>, Vec<i64>) {
        let (mut line, mut asked, mut back) = (Line::default(), Vec::new(), Vec::new());
        for (millis, event) in history {
            match step(&mut line, *event, at(*millis)) {
                Some(Effect::AskOthers) => asked.push(*millis),
                Some(Effect::Back) => back.push(*millis),
                None => {}
            }
        }
        (asked, back)
    }

    #[test]
    fn two_seconds_without_an_answer_are_enough_and_then_others_are_asked_every_second() {
        use Event::{Answered, Called, Tick};
        let history = [
            (0, Called),
            (100, Answered),
            (2100, Called),
            (2600, Called),
            (4099, Tick),
            (4100, Tick),
            (4500, Tick),
            (5000, Called),
            (5100, Tick),
            (6200, Answered),
            (9000, Tick),
            (9100, Called),
            (11_099, Tick),
            (11_100, Tick),
        ];
        assert_eq!(play(&history), (vec![4100, 5100, 11_100], vec![6200]));
    }

    #[test]
    fn who_is_not_called_can_not_be_silent() {
        let mut line = Line::default();
        assert_eq!((line.wakes_at(), step(&mut line, Event::Tick, at(99_000))), (None, None));
        step(&mut line, Event::Called, at(1000));
        assert_eq!((line.wakes_at(), line.is_cut()), (Some(at(3000)), false));
        step(&mut line, Event::Tick, at(3000));
        assert_eq!((line.wakes_at(), line.is_cut()), (Some(at(4000)), true));
    }

    proptest! {
        /// Others are asked only after a silence, never more often than every second, and the wake-ups miss none.
        #[test]
        fn others_are_asked_after_silence_alone(history in prop::collection::vec((0i64..1500, 0u8..3), 0..200)) {
            let (mut line, mut now, mut first_call, mut last_ask) = (Line::default(), 0, None::<i64>, None::<i64>);
            for (passed, what) in history {
                now += passed;
                let event = [Event::Called, Event::Answered, Event::Tick][usize::from(what)];
                let due = line.wakes_at().is_some_and(|wake| wake <= at(now));
                let effect = step(&mut line, event, at(now));
                match event {
                    Event::Called => first_call = first_call.or(Some(now)),
                    Event::Answered => (first_call, last_ask) = (None, None),
                    Event::Tick => {
                        prop_assert_eq!(effect == Some(Effect::AskOthers), due);
                        if due {
                            prop_assert!(first_call.is_some_and(|called| now - called >= 2000));
                            prop_assert!(last_ask.is_none_or(|asked| now - asked >= 1000));
                            last_ask = Some(now);
                        }
                    }
                }
                prop_assert_eq!(line.is_cut(), last_ask.is_some());
            }
        }
    }
}
