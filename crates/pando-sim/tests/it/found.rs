//! Seeds that broke a promise once: each stays whole from then on.
//!
//! A seed is worth its place as long as undoing the mending breaks it again. When
//! scenarios are drawn otherwise than before, seeds stand for other runs: then
//! look for new ones, or drop those that tell nothing any more.

use super::sweep::holds;
use pando_sim::Options;

macro_rules! found {
    ($($(#[$doc:meta])* $name:ident: $($seed:literal)+)*) => {
        $($(#[$doc])* #[test] fn $name() { $(holds(&Options::of_seed($seed));)+ })*
    };
}

found! {
    /// What replaced one replica was counted for another one too: too few were left.
    a_replacement_counts_once: 7 172
    a_replacement_counts_once_among_many: 344 514
    /// A third instance of a name was started before one of two had gone.
    a_name_is_never_three: 512
    /// The control plane had just started, and did not wait for a load balancer that was to end and was not heard yet.
    a_leaving_balancer_is_waited_for_after_a_restart: 202
    /// The control plane's clock had gone back between two of its starts: what was recorded lay in the future.
    a_clock_that_goes_back_keeps_nothing_waiting: 173
}
