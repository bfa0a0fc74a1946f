//! What a seed stands for: how large the world is, how unkind, and what is asked of it.
//!
//! Swarm testing: each seed leaves out a random part of all kinds of faults and
//! of operations, so that rare ones are not always drowned by frequent ones.

use std::collections::BTreeSet;

use crate::dice::Dice;
use crate::faults::Kind as Fault;
use crate::network::Weather;
use crate::trace::Keep;
use crate::workload::Kind as Operation;

/// What a person can say of a run beyond its seed.
#[derive(Debug, Clone)]
pub struct Options {
    pub seed: u64,
    /// `None`: as the seed says, 1 to 40.
    pub servers: Option<usize>,
    /// Seconds of virtual time in which operations and faults go on. `None`: as the seed says, 1 to 6 min.
    pub seconds: Option<u64>,
    /// Kinds of faults that are left out, whatever the seed says.
    pub without: BTreeSet<Fault>,
    pub keep: Keep,
    /// Breaks a promise on purpose, to see that it is noticed.
    pub sabotage: Option<Sabotage>,
    /// Load balancers need certificates and keys, which change while people and faults go on.
    pub keys: bool,
}

impl Options {
    /// As the seed says, without a trace.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let (servers, seconds, sabotage, keys) = (None, None, None, false);
        Self { seed, servers, seconds, without: BTreeSet::new(), keep: Keep::Nothing, sabotage, keys }
    }
}

/// A part of the world that doesn't do what it should; for tests of the checkers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Load balancers acknowledge tables that they don't use.
    EmptyAcknowledgement,
    /// Load balancers go back to an older table when they start.
    ForgetfulProxy,
    /// Agents stop an assigned replica now and then.
    EagerAgent,
    /// What agents write to disk is lost, though the disk said that it was not.
    LyingDisk,
    /// Agents don't hear of new assignments.
    DeafAgent,
    /// Agents start some replicas twice.
    DoublingAgent,
    /// Load balancers turn requests away now and then.
    RudeProxy,
    /// The store holds a replica twice, each time that it is read.
    DoublingStore,
    /// The control plane tells keys to servers that are no entry points.
    OpenHanded,
}

/// A run, spelled out.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub seed: u64,
    /// That the cluster begins with.
    pub servers: usize,
    /// That may join later.
    pub(crate) spare: usize,
    pub(crate) apps: usize,
    pub(crate) layout: Layout,
    /// Milliseconds of operations and faults.
    pub(crate) length: u64,
    pub(crate) faults: BTreeSet<Fault>,
    /// Between two faults, on average.
    pub(crate) fault_pace: u64,
    pub(crate) operations: BTreeSet<Operation>,
    /// Between two operations, on average.
    pub(crate) operation_pace: u64,
    pub(crate) weather: Weather,
    /// So many operations follow in peace.
    pub(crate) encores: u32,
    /// Between two requests at one entry point.
    pub(crate) request_pace: u64,
    pub(crate) sabotage: Option<Sabotage>,
    pub(crate) keys: bool,
}

/// Who takes requests from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// Every web server.
    Direct,
    /// Every web server, and balancers.
    Both,
    /// Balancers alone.
    Lockdown,
}

impl Scenario {
    #[must_use]
    pub fn draw(options: &Options) -> Self {
        let mut dice = Dice::new(options.seed, "scenario");
        let servers = options.servers.unwrap_or(0).max(1);
        let drawn = draw_servers(&mut dice);
        let servers = if options.servers.is_some() { servers } else { drawn };
        let length = 1000 * dice.between(60, 360);
        let quiet = dice.chance(20);
        let mut faults = draw_some(&mut dice, &Fault::ALL, if quiet { 0 } else { 45 });
        faults.retain(|fault| !options.without.contains(fault));
        let mut operations = draw_some(&mut dice, &Operation::ALL, 75);
        operations.insert(Operation::Deploy);
        Self {
            seed: options.seed,
            servers,
            spare: if dice.chance(50) { dice.index(3) + servers / 10 } else { 0 },
            apps: 1 + dice.index(3),
            layout: draw_layout(&mut dice, servers),
            length: options.seconds.map_or(length, |seconds| seconds * 1000),
            fault_pace: dice.magnitude(4000, 60_000),
            weather: draw_weather(&mut dice, faults.contains(&Fault::Weather)),
            faults,
            operations,
            operation_pace: dice.magnitude(3000, 40_000),
            encores: if servers > 40 { 1 } else { 4 },
            request_pace: dice.magnitude(50, 800) * (1 + servers as u64 / 10),
            sabotage: options.sabotage,
            keys: options.keys,
        }
    }

    /// In a line.
    #[must_use]
    pub fn describe(&self) -> String {
        let faults: Vec<String> = self.faults.iter().map(ToString::to_string).collect();
        let faults = if faults.is_empty() { "no faults".to_owned() } else { faults.join(", ") };
        let (servers, apps, seconds) = (self.servers, self.apps, self.length / 1000);
        format!("seed {}: {servers} servers, {apps} apps, {seconds} s of: {faults}", self.seed)
    }
}

fn draw_servers(dice: &mut Dice) -> usize {
    let (least, most) = match dice.below(100) {
        0..35 => (1, 3),
        35..80 => (4, 8),
        80..98 => (9, 20),
        _ => (21, 40),
    };
    usize::try_from(dice.between(least, most)).unwrap_or(1)
}

fn draw_some<T: Copy + Ord>(dice: &mut Dice, all: &[T], percent: u64) -> BTreeSet<T> {
    all.iter().copied().filter(|_| dice.chance(percent)).collect()
}

fn draw_layout(dice: &mut Dice, servers: usize) -> Layout {
    match dice.below(3) {
        _ if servers < 2 => Layout::Direct,
        // Hundreds that each look after hundreds are worth one run in a while, not most.
        _ if servers > 40 && !dice.chance(20) => Layout::Lockdown,
        0 => Layout::Direct,
        1 => Layout::Both,
        _ => Layout::Lockdown,
    }
}

fn draw_weather(dice: &mut Dice, stormy: bool) -> Weather {
    let fair = Weather { delay: (0, dice.magnitude(1, 60)), ..Weather::CALM };
    if !stormy {
        return fair;
    }
    Weather {
        delay: (0, dice.magnitude(1, 1500)),
        loss: dice.below(25),
        repeats: dice.below(20),
        breaks: dice.below(10),
    }
}
