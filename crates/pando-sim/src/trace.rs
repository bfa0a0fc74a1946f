//! What happened, in lines that a person reads: when, who, what.

use std::collections::VecDeque;
use std::fmt;

/// Which lines are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    Nothing,
    /// The newest so many.
    Last(usize),
    Everything,
    /// None: each is printed at once, so that a run that never ends can be read too.
    Printed,
}

#[derive(Debug)]
pub(crate) struct Trace {
    keep: Keep,
    lines: VecDeque<String>,
}

impl Trace {
    pub(crate) fn new(keep: Keep) -> Self {
        Self { keep, lines: VecDeque::new() }
    }

    /// Whether it is worth making a line at all.
    pub(crate) fn is_on(&self) -> bool {
        self.keep != Keep::Nothing
    }

    pub(crate) fn push(&mut self, now: u64, who: impl fmt::Display, what: impl fmt::Display) {
        if let Keep::Last(most) = self.keep
            && self.lines.len() >= most.max(1)
        {
            self.lines.pop_front();
        }
        let who = who.to_string();
        let line = format!("{:>5}.{:03} s  {who:<12} {what}", now / 1000, now % 1000);
        match self.keep {
            Keep::Printed => println!("{line}"),
            _ => self.lines.push_back(line),
        }
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}

/// Adds a line to a world's trace; makes it only if somebody wants it.
macro_rules! say {
    ($world:expr, $who:expr, $($what:tt)+) => {
        if $world.trace.is_on() {
            let (who, what) = (format!("{}", $who), format!($($what)+));
            let now = $world.now;
            $world.trace.push(now, who, what);
        }
    };
}
pub(crate) use say;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_lines_are_kept() {
        let mut trace = Trace::new(Keep::Last(2));
        for now in [1, 1500, 61_000] {
            trace.push(now, "s1", "starts");
        }
        assert_eq!(
            trace.into_lines(),
            ["    1.500 s  s1           starts", "   61.000 s  s1           starts"]
        );
    }
}
