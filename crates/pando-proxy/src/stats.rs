//! What the proxy counts and reports.
//!
//! Counters are atomics that requests raise on their way; reports and the metrics
//! page read them. Nothing here decides anything.

pub(crate) mod counters;
pub(crate) mod prometheus;
pub(crate) mod report;
pub(crate) mod sequence;
