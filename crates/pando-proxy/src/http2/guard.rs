//! Watches the frames that a client sends, before the `h2` crate sees them.
//!
//! Nine bytes of each frame say enough: what is the wrong size, what a client may never send, what comes too often, what
//! began and does not end. No IO; time is what the caller says.

use h2::Reason;

/// The length that we allow frames, which is the least that there is (RFC 9113, 4.2).
const LARGEST: u32 = 16 << 10;

/// What a client says before its first frame.
const PREFACE: usize = 24;

const HEAD: usize = 9;

/// So many bytes that went out allow one `WINDOW_UPDATE` to come in: whoever reads much says so often.
const BYTES_FOR_AN_UPDATE: u64 = 512;

/// What one connection may do in a second; twice as much at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    pub(super) resets: u32,
    /// PING, SETTINGS, PRIORITY, empty frames, unknown frames, and WINDOW_UPDATE as far as it isn't earned.
    pub(super) control: u32,
}

/// One connection's frames.
#[derive(Debug)]
pub(super) struct Guard {
    /// Bytes until the next frame's head: of the preface, or of a payload.
    skip: usize,
    head: [u8; HEAD],
    have: usize,
    /// The payload that is skipped is a body's.
    is_data: bool,
    /// `HEADERS` came and the end of its block did not.
    in_block: bool,
    unfinished: Option<u64>,
    resets: Bucket,
    control: Bucket,
    /// Bytes that went out since they last paid for an update.
    earned: u64,
}

/// The connection has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Violation {
    /// Where in the bytes the frame began, at most.
    pub(super) at: usize,
    pub(super) reason: Reason,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    length: u32,
    kind: u8,
    flags: u8,
}

const ACK_OR_END: u8 = 0x1;
const END_HEADERS: u8 = 0x4;

impl Guard {
    pub(super) fn new(rates: Rates, now: u64) -> Self {
        Self {
            skip: PREFACE,
            head: [0; HEAD],
            have: 0,
            is_data: false,
            in_block: false,
            unfinished: Some(now),
            resets: Bucket::new(rates.resets, now),
            control: Bucket::new(rates.control, now),
            earned: 0,
        }
    }

    /// Since when something other than a body has begun and not ended.
    pub(super) fn unfinished(&self) -> Option<u64> {
        self.unfinished
    }

    /// So many bytes went out.
    pub(super) fn sent(&mut self, bytes: usize) {
        self.earned = self.earned.saturating_add(bytes as u64).min(u64::from(u32::MAX));
    }

    /// The connection did what is as costly as a reset by the client.
    pub(super) fn note_reset(&mut self, now: u64) -> Result<(), Reason> {
        self.resets.take(now)
    }

    /// Looks at what came next.
    ///
    /// # Errors
    /// The first frame that must not come.
    pub(super) fn watch(&mut self, bytes: &[u8], now: u64) -> Result<(), Violation> {
        let (mut at, mut start) = (0, 0);
        while at < bytes.len() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len() - at);
                self.skip -= skipped;
                at += skipped;
                self.note_end();
                continue;
            }
            if self.have == 0 {
                start = at;
            }
            let taken = (HEAD - self.have).min(bytes.len() - at);
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[at..at + taken]);
            self.have += taken;
            at += taken;
            if self.have == HEAD {
                self.have = 0;
                let [a, b, c, kind, flags, ..] = self.head;
                let head = Head { length: u32::from_be_bytes([0, a, b, c]), kind, flags };
                self.judge(head, now).map_err(|reason| Violation { at: start, reason })?;
                self.skip = head.length as usize;
                self.note_end();
            }
        }
        if self.in_block || self.have > 0 || (self.skip > 0 && !self.is_data) {
            self.unfinished.get_or_insert(now);
        }
        Ok(())
    }

    fn note_end(&mut self) {
        if self.skip == 0 && !self.in_block {
            self.unfinished = None;
        }
    }

    fn judge(&mut self, head: Head, now: u64) -> Result<(), Reason> {
        let Head { length, kind, flags } = head;
        let ends = flags & ACK_OR_END != 0;
        self.is_data = kind == 0;
        if !self.in_block || kind != 9 {
            self.in_block = false;
        }
        let sane = match kind {
            2 => length == 5,
            3 | 8 => length == 4,
            4 => length % 6 == 0 && (!ends || length == 0),
            6 => length == 8,
            7 => length >= 8,
            _ => true,
        };
        if length > LARGEST || !sane {
            return Err(Reason::FRAME_SIZE_ERROR);
        }
        match kind {
            0 if length == 0 && !ends => self.control.take(now),
            0 => Ok(()),
            1 | 9 => {
                self.in_block = flags & END_HEADERS == 0;
                if length == 0 { self.control.take(now) } else { Ok(()) }
            }
            3 => self.resets.take(now),
            // Only servers push.
            5 => Err(Reason::PROTOCOL_ERROR),
            7 => Ok(()),
            8 if self.earned >= BYTES_FOR_AN_UPDATE => {
                self.earned -= BYTES_FOR_AN_UPDATE;
                Ok(())
            }
            _ => self.control.take(now),
        }
    }
}

/// So many a second, twice as many at once.
#[derive(Debug)]
struct Bucket {
    rate: u64,
    /// In thousandths.
    left: u64,
    at: u64,
}

impl Bucket {
    fn new(rate: u32, now: u64) -> Self {
        let rate = u64::from(rate);
        Self { rate, left: rate * 2000, at: now }
    }

    fn take(&mut self, now: u64) -> Result<(), Reason> {
        let refilled = now.saturating_sub(self.at).saturating_mul(self.rate);
        self.left = self.left.saturating_add(refilled).min(self.rate * 2000);
        self.at = now;
        self.left = self.left.checked_sub(1000).ok_or(Reason::ENHANCE_YOUR_CALM)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
