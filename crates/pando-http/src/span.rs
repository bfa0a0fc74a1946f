//! Places in the buffer that a head lies in.

/// From here to there, in bytes from the start of the head.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    /// Where `part`, which must lie in `whole`, lies.
    pub(crate) fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
        Self::at(start, part.len())
    }

    /// Heads are bounded far below 4 GiB.
    pub(crate) fn at(start: usize, len: usize) -> Self {
        let clip = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        Self { start: clip(start), end: clip(start + len) }
    }

    /// The bytes; empty when the span lies outside of `buffer`.
    #[must_use]
    pub fn bytes(self, buffer: &[u8]) -> &[u8] {
        buffer.get(self.start as usize..self.end as usize).unwrap_or_default()
    }

    /// The text; empty when it is none.
    #[must_use]
    pub fn text(self, buffer: &[u8]) -> &str {
        std::str::from_utf8(self.bytes(buffer)).unwrap_or_default()
    }

    #[must_use]
    pub fn len(self) -> usize {
        (self.end - self.start) as usize
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}
