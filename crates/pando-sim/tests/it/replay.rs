//! The same seed gives the same run.

use pando_sim::{Keep, Options, run};

fn trace(seed: u64) -> String {
    let options = Options { keep: Keep::Everything, seconds: Some(60), ..Options::of_seed(seed) };
    run(&options).trace.join("\n")
}

#[test]
fn a_seed_gives_the_same_trace_to_the_byte() {
    for seed in [3, 8, 22] {
        let (first, second) = (trace(seed), trace(seed));
        assert!(first.lines().count() > 100, "{first}");
        assert!(
            first == second,
            "seed {seed}: {:?}",
            first.lines().zip(second.lines()).find(|(a, b)| a != b)
        );
    }
}

#[test]
fn a_trace_changes_nothing_and_other_seeds_do() {
    let silent = run(&Options { seconds: Some(60), ..Options::of_seed(3) });
    let traced = run(&Options { seconds: Some(60), keep: Keep::Last(10), ..Options::of_seed(3) });
    assert_eq!(silent.counts, traced.counts);
    assert_eq!((silent.trace.len(), traced.trace.len()), (0, 10));
    assert_ne!(trace(3), trace(4));
}
