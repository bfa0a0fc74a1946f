//! Frames that the connection sends, as far as they are counted.

use super::HEAD;

/// The frames that go out.
#[derive(Debug, Default)]
pub(super) struct Out {
    /// Bytes until the next frame's head.
    skip: usize,
    head: [u8; HEAD],
    have: usize,
}

impl Out {
    /// How many frames of answers, which are those of heads and bodies, begin in these bytes. What answers a `PING` is none.
    pub(super) fn answers(&mut self, mut bytes: &[u8]) -> u64 {
        let mut count = 0;
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let taken = (HEAD - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have == HEAD {
                let [a, b, c, kind, ..] = self.head;
                let length = u32::from_be_bytes([0, a, b, c]);
                count += u64::from(matches!(kind, 0 | 1));
                (self.skip, self.have) = (length as usize, 0);
            }
        }
        count
    }
}
