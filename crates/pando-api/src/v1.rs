//! Version 1 of the wire types.

pub mod agents;
