//! Clusters of several servers: every move under load, and what bad luck does to them.

mod assets;
mod clocks;
mod containers;
mod control;
mod deaths;
mod deploys;
mod engines;
mod firewall;
mod founding;
mod ground;
mod haloy;
mod https;
mod images_in_trouble;
mod moves;
mod partitions;
mod prune;
mod ssh;
mod traffic;
