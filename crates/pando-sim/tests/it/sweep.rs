//! A fixed sweep of seeds. Each says, when it fails, how to replay it.

use std::collections::BTreeSet;

use pando_sim::{FaultKind, Keep, Options, run};

pub(crate) fn holds(options: &Options) {
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
    seeds_from_100: 100..104
    seeds_from_104: 104..108
    seeds_from_108: 108..112
    seeds_from_112: 112..116
    seeds_from_116: 116..120
    seeds_from_120: 120..124
    seeds_from_124: 124..128
    seeds_from_128: 128..132
    seeds_from_132: 132..136
    seeds_from_136: 136..140
    seeds_from_140: 140..144
    seeds_from_144: 144..148
    seeds_from_148: 148..152
    seeds_from_152: 152..156
    seeds_from_156: 156..160
    seeds_from_160: 160..164
    seeds_from_164: 164..168
    seeds_from_168: 168..172
    seeds_from_172: 172..176
    seeds_from_176: 176..180
    seeds_from_180: 180..184
    seeds_from_184: 184..188
    seeds_from_188: 188..192
    seeds_from_192: 192..196
}

/// Load balancers are told keys apart from tables, and others are not told any.
macro_rules! seeds_with_keys {
    ($($name:ident: $from:literal..$to:literal)*) => {
        $(#[test] fn $name() {
            ($from..$to).for_each(|seed| holds(&Options { keys: true, ..Options::of_seed(seed) }));
        })*
    };
}

seeds_with_keys! {
    keys_from_300: 300..304
    keys_from_304: 304..308
    keys_from_308: 308..312
    keys_from_312: 312..316
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
