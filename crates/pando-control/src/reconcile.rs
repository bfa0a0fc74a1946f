//! Observe, plan, carry out: the loop that keeps the cluster what it should be.
//!
//! Deciding is the planner's. Here its input is read from the store and from
//! reports ([`state`]), its actions become one transaction
//! ([`commit`]), and what was committed is published. The loop itself is
//! [`state::step`], a function from state and event to effects, so that a
//! simulator can drive it; [`run`] performs the effects.

pub mod commit;
pub mod run;
pub mod state;
mod times;

pub use run::Reconciler;
pub use state::{Effect, Event, State, step};
