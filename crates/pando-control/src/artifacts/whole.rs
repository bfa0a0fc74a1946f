//! One that is handed out from beginning to end, looked at on its way: what a disk has damaged is not kept.

use std::path::PathBuf;

use pando_model::release::Digest;
use sha2::{Digest as _, Sha256};

use super::scrub::remove_damaged;

/// What went out of it so far.
#[derive(Debug)]
pub struct Whole {
    digest: Digest,
    path: PathBuf,
    left: u64,
    hash: Sha256,
}

impl Whole {
    /// A file of so many bytes.
    #[must_use]
    pub fn new(digest: Digest, path: PathBuf, bytes: u64) -> Self {
        Self { digest, path, left: bytes, hash: Sha256::new() }
    }

    /// The next piece. With the last one it is known whether the file is what it is called; one that is not is removed, so that
    /// whoever asks next turns to the servers that have it whole, and whoever deploys it next sends it again. Whether that was so.
    #[must_use]
    pub fn was_damaged(&mut self, piece: &[u8]) -> bool {
        self.hash.update(piece);
        self.left = self.left.saturating_sub(piece.len() as u64);
        if self.left > 0 || hex::encode(self.hash.finalize_reset()) == self.digest.as_str() {
            return false;
        }
        remove_damaged(&self.path);
        true
    }
}

#[cfg(test)]
mod tests {
    use pando_image::hash::digest_of;

    use super::*;

    /// Whether a file with `content`, called by the digest of `meant`, is there after it was handed out in two pieces.
    fn is_kept(content: &[u8], meant: &[u8]) -> bool {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("file");
        std::fs::write(&path, content).unwrap();
        let mut whole = Whole::new(digest_of(meant), path.clone(), content.len() as u64);
        let (first, last) = content.split_at(3);
        assert!(!whole.was_damaged(first) && path.exists(), "nothing is known before the end");
        assert_eq!(whole.was_damaged(last), !path.exists());
        path.exists()
    }

    #[test]
    fn only_what_is_not_what_it_is_called_is_removed() {
        assert!(is_kept(b"whole", b"whole"));
        assert!(!is_kept(b"whale", b"whole"));
    }
}
