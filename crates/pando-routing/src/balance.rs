//! The mathematics of balancing: who gets the next request, who gets none for a
//! while, and how many may be under way.
//!
//! Nothing here reads a clock, rolls dice or waits: every `now` is microseconds of
//! one monotonic clock that only the caller knows, every `random` is 64 bits that
//! the caller drew. What is called for each request takes no memory and no lock;
//! what is built once a table (names hashed, endpoints ordered) may.
//!
//! Two kinds of state: `&mut self` belongs to one worker alone; `&self` on atomics
//! is meant to be shared by all workers, and each says what a race may cost.

pub mod budget;
pub mod ewma;
pub mod hash;
pub mod limit;
pub mod outlier;
pub mod pick;
pub mod random;
pub mod rate;
pub mod sticky;
pub mod tier;
pub mod warm;
mod window;

#[cfg(test)]
mod testing;

/// Microseconds in a second, the unit of every `now`.
pub const SECOND: u64 = 1_000_000;
