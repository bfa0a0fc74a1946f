//! A fixed sweep of seeds. Each says, when it fails, how to replay it.

use std::collections::BTreeSet;

use pando_sim::{FaultKind, Keep, Options, run};

fn holds(options: &Options) {
    let outcome = run(options);
    if outcome.broken.is_some() {
        let again = run(&Options { keep: Keep::Last(80), ..options.clone() });
        let (lines, what) = (again.trace.join("\n"), again.broken.unwrap_or_default());
        let replay = format!("cargo run -p pando-sim -- --seed {} --trace", options.seed);
        panic!("{lines}\n{}\n{what}\nreplay (with the same options): {replay}", outcome.scenario.describe());
    }
}

/// Seeds `from` up to and without `to`.
macro_rules! seeds {
    ($($name:ident: $from:literal..$to:literal)*) => {
        $(#[test] fn $name() { ($from..$to).for_each(|seed| holds(&Options::of_seed(seed))); })*
    };
}

seeds! {
    seeds_from_100: 100..106
    seeds_from_106: 106..112
    seeds_from_112: 112..118
    seeds_from_118: 118..124
    seeds_from_124: 124..130
    seeds_from_130: 130..136
    seeds_from_136: 136..142
    seeds_from_142: 142..148
}

/// What people plan, without any fault, costs no request.
#[test]
fn planned_moves_alone() {
    let without: BTreeSet<FaultKind> = FaultKind::ALL.into_iter().collect();
    let options = |seed| Options { without: BTreeSet::clone(&without), ..Options::of_seed(seed) };
    (200..208).map(options).for_each(|options| holds(&options));
}

#[test]
fn two_hundred_servers() {
    holds(&Options { servers: Some(200), seconds: Some(5), ..Options::of_seed(1) });
}
