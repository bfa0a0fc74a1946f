//! One endpoint of a load balancer: whether it gets requests.

use std::net::SocketAddr;

use pando_routing::Probe;

/// The live state behind one endpoint id; as the real verdict: the first pass suffices, then rise and fall count, and what
/// traffic meets takes it out at once.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(super) address: SocketAddr,
    /// The table has it active; otherwise it drains.
    pub(super) active: bool,
    pub(super) looked: bool,
    up: bool,
    /// A single pass brings it in.
    easy: bool,
    passes: u32,
    failures: u32,
    /// A look that nobody answers takes its time-out: every other turn is left out then.
    pub(super) silent: bool,
}

impl Live {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            active: false,
            looked: false,
            up: false,
            easy: true,
            passes: 0,
            failures: 0,
            silent: false,
        }
    }

    pub(super) fn up(&self) -> bool {
        self.up
    }

    /// Whether requests may be sent here.
    pub(super) fn in_rotation(&self) -> bool {
        self.up && self.active
    }

    pub(super) fn saw(&mut self, passed: bool, probe: &Probe) {
        self.looked = true;
        if passed {
            self.failures = 0;
            self.passes = self.passes.saturating_add(1);
            if self.easy || self.passes >= probe.rise {
                (self.up, self.easy) = (true, false);
            }
        } else {
            self.passes = 0;
            self.failures = self.failures.saturating_add(1);
            self.up &= self.failures < probe.fall;
        }
    }

    /// Traffic found nobody listening.
    pub(super) fn suspect(&mut self) {
        (self.up, self.easy, self.passes, self.failures) = (false, true, 0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn states(seen: &str) -> String {
        let mut live = Live::new("10.0.0.1:20000".parse().unwrap());
        let probe = Probe { rise: 2, fall: 2, ..Probe::default() };
        let step = |c| {
            match c {
                't' => live.suspect(),
                c => live.saw(c == 'p', &probe),
            }
            if live.up() { 'U' } else { 'd' }
        };
        seen.chars().map(step).collect()
    }

    #[test]
    fn verdicts_are_those_of_the_real_one() {
        for (seen, expected) in [
            ("p", "U"),
            ("ffp", "ddU"),
            ("pfpf", "UUUU"),
            ("pffpp", "UUddU"),
            ("ptp", "UdU"),
            ("ptffp", "UdddU"),
        ] {
            assert_eq!(states(seen), expected, "{seen}");
        }
    }
}
