//! Clusters of several servers: every move under load, and what bad luck does to them.

mod deaths;
mod deploys;
mod ground;
mod moves;
mod ssh;
mod traffic;
