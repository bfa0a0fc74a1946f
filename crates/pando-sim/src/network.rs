//! Links between machines: how long a message takes, whether it comes, and how often.
//!
//! Messages travel as over TCP: one that is lost is sent again, later and later;
//! one that meets a cut waits until the cut is mended or its sender gives up. A
//! connection may also break (nothing arrives, or nothing comes back), and a
//! message may come twice.

use std::collections::BTreeSet;

use crate::dice::Dice;

/// The first retransmission; each further one takes twice as long.
pub(crate) const RETRANSMIT: u64 = 200;
const RETRANSMIT_MOST: u64 = 30_000;

/// How unkind every link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Weather {
    /// One way, in milliseconds.
    pub(crate) delay: (u64, u64),
    /// Percent of messages that must be sent again.
    pub(crate) loss: u64,
    /// Percent of messages that come twice.
    pub(crate) repeats: u64,
    /// Percent of messages whose connection breaks.
    pub(crate) breaks: u64,
}

impl Weather {
    pub(crate) const CALM: Self = Self { delay: (1, 3), loss: 0, repeats: 0, breaks: 0 };
}

/// Nothing gets from the left to the right; nor back, unless it is one-way.
#[derive(Debug, Clone)]
pub(crate) struct Cut {
    pub(crate) id: u64,
    pub(crate) left: BTreeSet<usize>,
    pub(crate) right: BTreeSet<usize>,
    pub(crate) one_way: bool,
}

#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) weather: Weather,
    cuts: Vec<Cut>,
    dice: Dice,
}

impl Network {
    pub(crate) fn new(weather: Weather, dice: Dice) -> Self {
        Self { weather, cuts: Vec::new(), dice }
    }

    pub(crate) fn cut(&mut self, cut: Cut) {
        self.cuts.push(cut);
    }

    pub(crate) fn mend(&mut self, id: u64) {
        self.cuts.retain(|cut| cut.id != id);
    }

    pub(crate) fn mend_all(&mut self) {
        self.cuts.clear();
    }

    /// Whether something that `from` sends now can reach `to`.
    pub(crate) fn passes(&self, from: usize, to: usize) -> bool {
        from == to || !self.cuts.iter().any(|cut| cut.stops(from, to))
    }

    /// Whether they can speak with each other.
    pub(crate) fn connects(&self, one: usize, other: usize) -> bool {
        self.passes(one, other) && self.passes(other, one)
    }

    /// How long each copy of a message takes; none: its connection broke.
    pub(crate) fn copies(&mut self, from: usize, to: usize) -> Vec<u64> {
        if from == to {
            return vec![self.dice.below(2)];
        }
        if self.dice.chance(self.weather.breaks) {
            return Vec::new();
        }
        let twice = self.dice.chance(self.weather.repeats);
        (0..1 + u64::from(twice)).map(|_| self.delay()).collect()
    }

    /// One way, with every retransmission.
    pub(crate) fn delay(&mut self) -> u64 {
        let (least, most) = self.weather.delay;
        let (mut delay, mut again) = (self.dice.between(least, most), RETRANSMIT);
        while again < RETRANSMIT_MOST && self.dice.chance(self.weather.loss) {
            delay += again;
            again *= 2;
        }
        delay
    }

    /// There and back.
    pub(crate) fn round_trip(&mut self, one: usize, other: usize) -> u64 {
        if one == other { 0 } else { self.delay() + self.delay() }
    }
}

/// How long after a wait of `last` a message is sent again.
pub(crate) fn next_retransmission(last: u64) -> u64 {
    (last * 2).min(RETRANSMIT_MOST)
}

impl Cut {
    fn stops(&self, from: usize, to: usize) -> bool {
        let forth = self.left.contains(&from) && self.right.contains(&to);
        let back = self.right.contains(&from) && self.left.contains(&to);
        forth || (back && !self.one_way)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(weather: Weather) -> Network {
        Network::new(weather, Dice::new(3, "network"))
    }

    #[test]
    fn cuts_stop_what_they_say_until_mended() {
        let mut network = network(Weather::CALM);
        network.cut(Cut { id: 1, left: [0].into(), right: [1, 2].into(), one_way: true });
        network.cut(Cut { id: 2, left: [2].into(), right: [3].into(), one_way: false });
        assert!(!network.passes(0, 1) && network.passes(1, 0) && !network.connects(1, 0));
        assert!(!network.passes(2, 3) && !network.passes(3, 2) && network.connects(1, 2));
        network.mend(1);
        assert!(network.connects(0, 1) && !network.connects(2, 3));
        network.mend_all();
        assert!(network.connects(2, 3));
    }

    #[test]
    fn loss_delays_breaks_lose_and_repeats_repeat() {
        let mut lossy = network(Weather { loss: 50, ..Weather::CALM });
        let late = (0..100).filter(|_| lossy.delay() >= RETRANSMIT).count();
        assert!((20..80).contains(&late), "{late}");
        let mut broken = network(Weather { breaks: 100, ..Weather::CALM });
        assert_eq!(broken.copies(0, 1), [0; 0]);
        assert_eq!(broken.copies(1, 1).len(), 1);
        let mut twice = network(Weather { repeats: 100, ..Weather::CALM });
        assert_eq!(twice.copies(0, 1).len(), 2);
    }
}
