//! The simulator itself, and what `script/test` holds of the cluster: a fixed sweep of seeds.

mod found;
mod replay;
mod sabotage;
mod sweep;
