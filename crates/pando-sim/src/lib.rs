//! Plan, control and agents in a deterministic world.
//!
//! The loops of control plane and agent and the planner are the real ones; what
//! they speak with (clocks, disks, processes, a network, load balancers, people)
//! is played here in virtual time, with faults thrown from a seed. The same seed
//! gives the same run, to the byte of its trace. [`run()`] makes one;
//! [`Scenario`] says what a seed stands for.

mod behaviour;
mod checkers;
mod control;
mod dice;
mod faults;
mod machine;
mod message;
mod network;
mod proxy;
mod queue;
mod run;
mod scenario;
mod scene;
mod trace;
mod workload;
mod world;

pub use faults::Kind as FaultKind;
pub use run::{Outcome, run, shrink};
pub use scenario::{Options, Sabotage, Scenario};
pub use trace::Keep;
pub use world::Counts;
