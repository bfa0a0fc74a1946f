//! Apps that are images, on the engine of this machine: the real binary, a real app, real load.

pub(crate) mod image;
mod registry;
mod stories;
