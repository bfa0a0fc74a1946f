//! Makes one server match its assignment and reports what is true.

pub mod ledger;
pub mod reconcile;
