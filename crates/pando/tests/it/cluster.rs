//! Clusters of several servers: every move under load, and what bad luck does to them.

mod control;
mod deaths;
mod deploys;
mod ground;
mod moves;
mod partitions;
mod ssh;
mod traffic;
