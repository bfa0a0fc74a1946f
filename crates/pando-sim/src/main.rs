//! `pando-sim`: replays one seed with a readable trace, or sweeps over many.

use std::collections::BTreeSet;
use std::process::ExitCode;

use clap::Parser;
use pando_sim::{Counts, FaultKind, Keep, Options, Outcome, Scenario, run, shrink};

/// Plan, control and agents in a deterministic world with virtual time and faults.
#[derive(Debug, Parser)]
struct Arguments {
    /// Replay this seed.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Instead, run this many seeds from `--seed` on.
    #[arg(long)]
    sweep: Option<u64>,
    /// How many servers the cluster begins with, instead of as many as the seed says; up to 200.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=200))]
    servers: Option<u64>,
    /// How long people and faults go on, in seconds of virtual time.
    #[arg(long)]
    seconds: Option<u64>,
    /// Leave a kind of fault out; may be given again.
    #[arg(long)]
    without: Vec<FaultKind>,
    /// Load balancers need keys, which change.
    #[arg(long)]
    keys: bool,
    /// Print the whole trace rather than the end of one that fails.
    #[arg(long)]
    trace: bool,
    /// Look for a smaller run that fails too.
    #[arg(long)]
    shrink: bool,
}

/// Lines of a failed run that are printed.
const LINES: usize = 150;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if !cfg!(debug_assertions) {
        eprintln!("this build does not check plans: run it without --release");
    }
    // A panic is reported as what it is: a broken promise, with its seed.
    std::panic::set_hook(Box::new(|_| {}));
    let seeds = arguments.seed..arguments.seed + arguments.sweep.unwrap_or(1);
    let many = arguments.sweep.is_some();
    let mut total = Counts::default();
    let mut failures = 0;
    for seed in seeds {
        let outcome = one(&arguments, seed, many);
        total = sum(total, outcome.counts);
        failures += u32::from(outcome.broken.is_some());
    }
    println!("{}", figures(total, computing_seconds()));
    if failures == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn options(arguments: &Arguments, seed: u64, keep: Keep) -> Options {
    let without: BTreeSet<FaultKind> = arguments.without.iter().copied().collect();
    let servers = arguments.servers.and_then(|servers| usize::try_from(servers).ok());
    let (seconds, keys) = (arguments.seconds, arguments.keys);
    Options { servers, seconds, without, keep, keys, ..Options::of_seed(seed) }
}

/// Runs without a trace where nobody reads one, and again with it where it failed.
fn one(arguments: &Arguments, seed: u64, many: bool) -> Outcome {
    let keep = match (arguments.trace, many) {
        (true, _) => Keep::Printed,
        (false, true) => Keep::Nothing,
        (false, false) => Keep::Last(LINES),
    };
    let options = options(arguments, seed, keep);
    if !many {
        println!("{}", Scenario::draw(&options).describe());
    }
    let mut outcome = run(&options);
    if outcome.broken.is_some() && many {
        outcome = run(&Options { keep: Keep::Last(LINES), ..options.clone() });
    }
    if arguments.trace || outcome.broken.is_some() {
        outcome.trace.iter().for_each(|line| println!("{line}"));
    }
    if let Some(broken) = &outcome.broken {
        println!("{}\nBROKEN: {broken}\nreplay: {}", outcome.scenario.describe(), command(&options));
        if arguments.shrink {
            println!("smaller: {}", command(&shrink(&Options { keep: Keep::Nothing, ..options })));
        }
    }
    outcome
}

fn command(options: &Options) -> String {
    let mut words = vec![format!("cargo run -p pando-sim -- --seed {}", options.seed)];
    words.extend(options.servers.map(|servers| format!("--servers {servers}")));
    words.extend(options.seconds.map(|seconds| format!("--seconds {seconds}")));
    words.extend(options.without.iter().map(|kind| format!("--without {kind}")));
    words.extend(options.keys.then(|| "--keys".to_owned()));
    words.join(" ")
}

fn sum(one: Counts, other: Counts) -> Counts {
    Counts {
        events: one.events + other.events,
        agent_steps: one.agent_steps + other.agent_steps,
        control_steps: one.control_steps + other.control_steps,
        requests: one.requests + other.requests,
        answered: one.answered + other.answered,
        failed: one.failed + other.failed,
        judged: one.judged + other.judged,
        faults: one.faults + other.faults,
        operations: one.operations + other.operations,
        time: one.time + other.time,
        server_seconds: one.server_seconds + other.server_seconds,
    }
}

/// What this process has computed so far: on a machine that does other things too, the only time that says anything.
#[allow(clippy::cast_precision_loss)]
fn computing_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

#[allow(clippy::cast_precision_loss)]
fn figures(counts: Counts, seconds: f64) -> String {
    let rate = |count: u64| count as f64 / seconds.max(0.001);
    format!(
        "{} operations, {} faults, {} requests ({} failed, {} had to be answered)\n\
         {} s of virtual time in {seconds:.1} s of computing time: \
         {:.0} server-seconds/s, {:.0} events/s, {:.0} agent steps/s, {:.0} control steps/s",
        counts.operations,
        counts.faults,
        counts.requests,
        counts.failed,
        counts.judged,
        counts.time / 1000,
        rate(counts.server_seconds),
        rate(counts.events),
        rate(counts.agent_steps),
        rate(counts.control_steps),
    )
}
