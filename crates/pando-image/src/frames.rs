//! A packed layer: Zstandard frames one after another, each of at most [`FRAME`] bytes of the layer.
//!
//! Any tool unpacks the whole. Since each frame stands for itself, an upload that
//! broke goes on behind the last whole frame, packed by whatever version at whatever
//! level, and at most one frame is sent twice.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};
use zstd::bulk::Compressor;
use zstd::stream::raw::{DParameter, Decoder, Operation};
use zstd::zstd_safe::CParameter;

use pando_model::release::Digest;

/// Bytes of a layer in one frame. Measured on 200 MB of a distribution: a quarter of it packs 2 % worse, four times as much 2 % better.
pub const FRAME: usize = 1 << 20;

/// Levels above cost far more time than they save on the way; see `docs/decisions/0020-images-without-a-registry.md`.
pub const LEVEL: i32 = 3;

/// A frame that unpacks to more is refused: what comes after it might never come.
const MOST_FRAME: u64 = 8 << 20;

/// The memory that unpacking takes, as a power of two; others could ask for gigabytes.
const WINDOW: u32 = 23;

/// Packs what it reads; frame after frame.
pub struct Packer<R> {
    from: R,
    compressor: Compressor<'static>,
    raw: Vec<u8>,
    packed: Vec<u8>,
    begun: bool,
}

impl<R> std::fmt::Debug for Packer<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl<R: Read> Packer<R> {
    /// # Errors
    /// When there is no memory for it.
    pub fn new(from: R, level: i32) -> io::Result<Self> {
        let mut compressor = Compressor::new(level)?;
        // Damage is noticed with the frame that it is in.
        compressor.set_parameter(CParameter::ChecksumFlag(true))?;
        Ok(Self { from, compressor, raw: vec![0; FRAME], packed: Vec::new(), begun: false })
    }

    /// The next frame and how much of the layer it holds; `None` at the end.
    ///
    /// # Errors
    /// When the layer can't be read.
    pub fn frame(&mut self) -> io::Result<Option<(&[u8], usize)>> {
        let mut filled = 0;
        while filled < self.raw.len() {
            match self.from.read(&mut self.raw[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // What is empty has a frame, too: no bytes at all are nothing packed.
        if filled == 0 && std::mem::replace(&mut self.begun, true) {
            return Ok(None);
        }
        self.begun = true;
        self.packed.clear();
        self.packed.reserve(zstd::zstd_safe::compress_bound(filled));
        self.compressor.compress_to_buffer(&self.raw[..filled], &mut self.packed)?;
        Ok(Some((&self.packed, filled)))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("the packed layer is damaged: {0}")]
    Damaged(String),
    #[error("the layer is larger than {0}")]
    TooLarge(pando_model::resources::Bytes),
}

/// How far a packed layer is whole.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    /// Bytes of it as it is packed.
    pub packed: u64,
    /// Bytes of the layer.
    pub raw: u64,
}

/// Reads a packed layer piece by piece as it comes, and knows the digest of what is in it.
pub struct Frames {
    decoder: Decoder<'static>,
    buffer: Vec<u8>,
    most: u64,
    at: Mark,
    whole: Mark,
    hash: Sha256,
    whole_hash: Sha256,
}

impl std::fmt::Debug for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Frames").field("at", &self.at).field("whole", &self.whole).finish_non_exhaustive()
    }
}

impl Frames {
    /// For a layer of at most `most` bytes.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn new(most: u64) -> io::Result<Self> {
        let (hash, whole_hash) = (Sha256::new(), Sha256::new());
        let buffer = vec![0; 256 * 1024];
        let mark = Mark::default();
        Ok(Self { decoder: decoder()?, buffer, most, at: mark, whole: mark, hash, whole_hash })
    }

    /// Takes the next piece.
    ///
    /// # Errors
    /// When it is no frame, is damaged, or unpacks to too much. Nothing more should be fed then.
    pub fn feed(&mut self, mut piece: &[u8]) -> Result<(), FrameError> {
        let damaged = |error: io::Error| FrameError::Damaged(error.to_string());
        loop {
            let status = self.decoder.run_on_buffers(piece, &mut self.buffer).map_err(damaged)?;
            let (read, written) = (status.bytes_read, status.bytes_written);
            piece = &piece[read..];
            self.hash.update(&self.buffer[..written]);
            self.at.packed += read as u64;
            self.at.raw += written as u64;
            self.check()?;
            // An empty piece moves nothing and must not look like the end of a frame.
            if status.remaining == 0 && (read > 0 || written > 0) {
                (self.whole, self.whole_hash) = (self.at, self.hash.clone());
            }
            // What fills the buffer may have more behind it.
            if piece.is_empty() && written < self.buffer.len() {
                return Ok(());
            }
            if read == 0 && written == 0 {
                return Err(FrameError::Damaged("it does not go on".to_owned()));
            }
        }
    }

    fn check(&self) -> Result<(), FrameError> {
        if self.at.raw > self.most {
            return Err(FrameError::TooLarge(pando_model::resources::Bytes(self.most)));
        }
        if self.at.raw - self.whole.raw > MOST_FRAME {
            return Err(FrameError::Damaged("a frame is too large".to_owned()));
        }
        Ok(())
    }

    /// As far as whole frames have come.
    #[must_use]
    pub fn whole(&self) -> Mark {
        self.whole
    }

    /// Nothing stands open.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.at == self.whole
    }

    /// Of the layer's bytes in whole frames.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(self.whole_hash.clone().finalize().into())
    }

    /// Forgets what came of a frame that did not come whole.
    ///
    /// # Errors
    /// When there is no memory for it.
    pub fn back_to_whole(&mut self) -> io::Result<()> {
        self.decoder = decoder()?;
        (self.at, self.hash) = (self.whole, self.whole_hash.clone());
        Ok(())
    }
}

fn decoder() -> io::Result<Decoder<'static>> {
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW))?;
    Ok(decoder)
}

/// The layer that is packed in `packed`, as a reader.
///
/// # Errors
/// When there is no memory for it.
pub fn unpacked(packed: impl Read) -> io::Result<impl Read> {
    let mut decoder = zstd::stream::read::Decoder::new(packed)?;
    decoder.window_log_max(WINDOW)?;
    Ok(decoder)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash::digest_of;

    /// Words that repeat, and that don't.
    fn layer(bytes: usize) -> Vec<u8> {
        let mut random = pando_model::id::Entropy::from_seed(bytes as u64);
        let mut out = Vec::with_capacity(bytes + 64);
        while out.len() < bytes {
            let number = random.next_u64();
            out.extend(
                format!("{} {number}\n", if number.is_multiple_of(3) { "the same again" } else { "x" })
                    .bytes(),
            );
        }
        out.truncate(bytes);
        out
    }

    fn pack(raw: &[u8], level: i32) -> Vec<u8> {
        let mut packer = Packer::new(raw, level).unwrap();
        let mut out = Vec::new();
        while let Some((frame, _)) = packer.frame().unwrap() {
            out.extend_from_slice(frame);
        }
        out
    }

    #[test]
    fn what_is_packed_comes_out_again_in_whatever_pieces() {
        for bytes in [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME + 17] {
            let raw = layer(bytes);
            let packed = pack(&raw, LEVEL);
            for size in [1013, 64 * 1024, packed.len().max(1)] {
                let mut frames = Frames::new(bytes as u64).unwrap();
                packed.chunks(size).for_each(|piece| frames.feed(piece).unwrap());
                assert!(frames.is_whole());
                assert_eq!(frames.whole(), Mark { packed: packed.len() as u64, raw: bytes as u64 });
                assert_eq!(frames.digest(), digest_of(&raw));
            }
            let mut read = Vec::new();
            unpacked(packed.as_slice()).unwrap().read_to_end(&mut read).unwrap();
            assert!(read == raw, "{bytes}");
        }
    }

    #[test]
    fn a_break_anywhere_goes_on_behind_the_last_whole_frame_at_another_level() {
        let raw = layer(2 * FRAME + 12345);
        let packed = pack(&raw, LEVEL);
        for cut in [0, 1, 5, packed.len() / 3, packed.len() / 2, packed.len() - 1, packed.len()] {
            let mut frames = Frames::new(MOST_FRAME).unwrap();
            frames.feed(&packed[..cut]).unwrap();
            frames.back_to_whole().unwrap();
            let mark = frames.whole();
            assert!(cut as u64 - mark.packed <= FRAME as u64 && frames.is_whole());
            let rest = pack(&raw[usize::try_from(mark.raw).unwrap()..], 1);
            frames.feed(&rest).unwrap();
            assert!(frames.is_whole());
            assert_eq!(frames.digest(), digest_of(&raw), "cut at {cut}");
        }
    }

    #[test]
    fn damage_is_noticed_wherever_it_is() {
        let raw = layer(FRAME + 100);
        let packed = pack(&raw, LEVEL);
        for place in (0..packed.len()).step_by(packed.len() / 97) {
            let mut damaged = packed.clone();
            damaged[place] ^= 0x20;
            let mut frames = Frames::new(MOST_FRAME).unwrap();
            let fed = frames.feed(&damaged);
            assert!(fed.is_err() || !frames.is_whole() || frames.digest() != digest_of(&raw), "{place}");
        }
    }

    #[test]
    fn a_layer_that_unpacks_to_too_much_is_refused() {
        let zeros = vec![0; 3 * FRAME];
        let packed = pack(&zeros, LEVEL);
        let mut frames = Frames::new(2 * FRAME as u64).unwrap();
        assert!(matches!(frames.feed(&packed), Err(FrameError::TooLarge(_))));
        // One frame of a hundred megabytes.
        let bomb = zstd::bulk::compress(&vec![0; 100 << 20], 19).unwrap();
        let mut frames = Frames::new(u64::MAX).unwrap();
        assert!(matches!(frames.feed(&bomb), Err(FrameError::Damaged(_))));
        assert!(frames.at.raw < 2 * MOST_FRAME);
    }
}
