//! The agent's lines to the control plane and to its server's load balancer.
//!
//! Both carry whole targets and whole truths, newest first, so that a broken
//! line only delays: what is sent after it mends says everything. Deciding what
//! a target means, and what is true, is [`crate::reconcile`]'s.

pub mod control;
pub mod proxy;
