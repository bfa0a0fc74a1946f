//! One run from a seed, and a smaller one that fails as well.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::scenario::{Options, Scenario};
use crate::trace::Keep;
use crate::world::{Counts, World};

/// What a run came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub scenario: Scenario,
    /// The first promise that was broken.
    pub broken: Option<String>,
    pub counts: Counts,
    /// As many lines as were asked for.
    pub trace: Vec<String>,
}

/// The run that these options stand for. A panic (such as of an assertion in the planner) is a broken promise.
#[must_use]
pub fn run(options: &Options) -> Outcome {
    let scenario = Scenario::draw(options);
    let mut world = World::new(scenario.clone(), options.keep);
    let result = catch_unwind(AssertUnwindSafe(|| world.run()));
    let broken = result.unwrap_or_else(|panic| Some(words(&*panic)));
    if broken.is_some() && options.keep != Keep::Nothing {
        world.scene().into_iter().for_each(|line| world.trace.push(world.now, "scene", line));
    }
    let counts = world.final_counts();
    Outcome { scenario, broken, counts, trace: world.trace.into_lines() }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
    format!("panic: {}", text.unwrap_or("of an unknown kind"))
}

/// Tries a handful of smaller runs of the same seed that fail too: shorter, with fewer servers, without whole kinds of faults.
/// Crude: each change is kept if the run still fails somehow.
#[must_use]
pub fn shrink(options: &Options) -> Options {
    let first = run(options);
    let mut best = options.clone();
    let fails_at = first.counts.time / 1000;
    let mut candidates: Vec<Options> = Vec::new();
    if fails_at * 1000 < first.scenario.length {
        candidates.push(Options { seconds: Some(fails_at + 1), ..best.clone() });
    }
    try_each(&mut best, candidates);
    for kind in first.scenario.faults.iter().copied() {
        let mut without = best.without.clone();
        without.insert(kind);
        let candidate = Options { without, ..best.clone() };
        try_each(&mut best, [candidate]);
    }
    for servers in [1, 2, 3, 5, 8] {
        if servers < best.servers.unwrap_or(first.scenario.servers) {
            let candidate = Options { servers: Some(servers), ..best.clone() };
            if try_each(&mut best, [candidate]) {
                break;
            }
        }
    }
    best
}

fn try_each(best: &mut Options, candidates: impl IntoIterator<Item = Options>) -> bool {
    let failing = candidates.into_iter().find(|candidate| run(candidate).broken.is_some());
    let found = failing.is_some();
    if let Some(failing) = failing {
        *best = failing;
    }
    found
}
