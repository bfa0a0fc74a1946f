//! Apps that are images, on the engine of this machine: the real binary, a real app, real load.

mod assets;
pub(crate) mod image;
mod registry;
mod stories;
