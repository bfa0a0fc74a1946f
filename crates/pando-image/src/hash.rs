//! Digests of what passes by.

use std::io::{self, Read};

use pando_model::release::Digest;
use sha2::{Digest as _, Sha256};

/// The SHA-256 of bytes that are at hand.
#[must_use]
pub fn digest_of(bytes: &[u8]) -> Digest {
    Digest::from_bytes(Sha256::digest(bytes).into())
}

/// The digest and length of what was read through it so far.
#[derive(Debug)]
pub struct Hashing<R> {
    inner: R,
    hash: Sha256,
    bytes: u64,
}

impl<R: Read> Hashing<R> {
    pub fn new(inner: R) -> Self {
        Self { inner, hash: Sha256::new(), bytes: 0 }
    }

    /// Of everything so far.
    #[must_use]
    pub fn finish(self) -> (Digest, u64) {
        (Digest::from_bytes(self.hash.finalize().into()), self.bytes)
    }

    /// As [`Hashing::finish`], and it goes on.
    #[must_use]
    pub fn so_far(&self) -> (Digest, u64) {
        (Digest::from_bytes(self.hash.clone().finalize().into()), self.bytes)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        self.bytes += count as u64;
        Ok(count)
    }
}
