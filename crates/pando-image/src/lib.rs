//! Container images as layers: read from an engine, packed, and put together again on a server.
//!
//! An image is a configuration and layers, each known by the SHA-256 of its tar, its
//! *diff id*. [`archive`] reads what an engine saves and believes nothing in it but
//! digests. [`frames`] packs a layer so that it can go on from where it broke off.
//! [`image`] is the plain description that a release names. [`assemble`] writes the
//! archive that an engine loads, and finds a layer that was damaged on disk.
//! [`engine`] speaks to the engine itself. How layers travel is left to others.

pub mod archive;
pub mod assemble;
pub mod engine;
pub mod frames;
pub mod hash;
pub mod image;
pub mod space;
