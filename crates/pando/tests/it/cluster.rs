//! Clusters of several servers: every move under load, and what bad luck does to them.

mod clocks;
mod control;
mod deaths;
mod deploys;
mod firewall;
mod ground;
mod https;
mod moves;
mod partitions;
mod ssh;
mod traffic;
