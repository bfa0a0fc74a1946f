//! Watches the frames that a client sends, before the `h2` crate sees them.
//!
//! Nine bytes of each frame say most: what is the wrong size, what a client may never send, what comes too often, what comes
//! after the end of its stream, what began and does not end. Of payloads only settings and trailers are looked into. No IO;
//! time is what the caller says.

mod out;

use h2::Reason;

use super::block::names_pseudo;
use out::Out;

/// The length that we allow frames, which is the least that there is (RFC 9113, 4.2).
const LARGEST: u32 = 16 << 10;

/// What a client says before its first frame.
const PREFACE: usize = 24;

const HEAD: usize = 9;

/// What goes out allows a `WINDOW_UPDATE` or a `PING` to come in for so many bytes, and for each frame of an answer: whoever reads
/// much says so often, and gRPC's clients measure by a `PING` with what comes how much may be under way.
const BYTES_FOR_A_FRAME: u64 = 512;

/// Streams that are remembered after the client has ended them. What comes on older ones is the `h2` crate's to judge.
const REMEMBERED: usize = 16;

/// Of a payload that is looked into, blocks of several frames included: what trailers may have, and more than settings need.
const MOST_KEPT: usize = 16 << 10;

/// The largest window there is.
const MOST_WINDOW: u32 = (1 << 31) - 1;

/// What one connection may do in a second; twice as much at once.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rates {
    pub(super) resets: u32,
    /// SETTINGS, PRIORITY, empty frames, unknown frames; and WINDOW_UPDATE and PING as far as they aren't earned.
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
    /// What of the current frame's payload is looked into.
    look: Look,
    kept: Vec<u8>,
    /// The highest that the client has begun.
    last: u32,
    ended: [u32; REMEMBERED],
    next_ended: usize,
    resets: Bucket,
    control: Bucket,
    /// Bytes that went out and were not used for a frame that came in; a frame of an answer counts for some more.
    earned: u64,
    out: Out,
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
    stream: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    Nothing,
    Settings,
    /// A block, beginning with a frame of these flags.
    Trailers(u8),
    /// What follows such a frame.
    MoreTrailers,
}

const ACK_OR_END: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

impl Guard {
    pub(super) fn new(rates: Rates, now: u64) -> Self {
        Self {
            skip: PREFACE,
            head: [0; HEAD],
            have: 0,
            is_data: false,
            in_block: false,
            unfinished: Some(now),
            look: Look::Nothing,
            kept: Vec::new(),
            last: 0,
            ended: [0; REMEMBERED],
            next_ended: 0,
            resets: Bucket::new(rates.resets, now),
            control: Bucket::new(rates.control, now),
            earned: 0,
            out: Out::default(),
        }
    }

    /// Since when something other than a body has begun and not ended.
    pub(super) fn unfinished(&self) -> Option<u64> {
        self.unfinished
    }

    /// These bytes go out after those before.
    pub(super) fn says(&mut self, bytes: &[u8]) {
        let frames = self.out.answers(bytes);
        let earned = (bytes.len() as u64).saturating_add(frames.saturating_mul(BYTES_FOR_A_FRAME));
        self.earned = self.earned.saturating_add(earned).min(u64::from(u32::MAX));
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
                self.keep(&bytes[at..at + skipped]).map_err(|reason| Violation { at: start, reason })?;
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
                let [a, b, c, kind, flags, id @ ..] = self.head;
                let stream = u32::from_be_bytes(id) & MOST_WINDOW;
                let head = Head { length: u32::from_be_bytes([0, a, b, c]), kind, flags, stream };
                self.judge(head, now).map_err(|reason| Violation { at: start, reason })?;
                self.skip = head.length as usize;
                if self.skip == 0 {
                    self.keep(&[]).map_err(|reason| Violation { at: start, reason })?;
                }
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
        let Head { length, kind, flags, stream } = head;
        let ends = flags & ACK_OR_END != 0;
        self.is_data = kind == 0;
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
        // A block stands in one piece, and only servers push.
        if self.in_block != (kind == 9) || kind == 5 {
            return Err(Reason::PROTOCOL_ERROR);
        }
        self.judge_stream(head)?;
        if kind != 9 {
            self.look = if kind == 4 { Look::Settings } else { Look::Nothing };
            self.kept.clear();
        }
        match kind {
            0 if length == 0 && !ends => self.control.take(now),
            0 | 7 => Ok(()),
            1 | 9 => {
                self.in_block = flags & END_HEADERS == 0;
                if kind == 1 && stream <= self.last {
                    self.look = Look::Trailers(flags);
                }
                self.last = self.last.max(stream);
                if length == 0 { self.control.take(now) } else { Ok(()) }
            }
            3 => self.resets.take(now),
            6 | 8 if self.earned >= BYTES_FOR_A_FRAME => {
                self.earned -= BYTES_FOR_A_FRAME;
                Ok(())
            }
            _ => self.control.take(now),
        }
    }

    /// What comes after the client has said that nothing will (RFC 9113, 5.1).
    fn judge_stream(&mut self, head: Head) -> Result<(), Reason> {
        let Head { kind, flags, stream, .. } = head;
        let is_message = matches!(kind, 0 | 1);
        if is_message && stream > 0 && self.ended.contains(&stream) {
            return Err(Reason::STREAM_CLOSED);
        }
        let ends = kind == 3 || is_message && flags & ACK_OR_END != 0;
        if ends && !self.ended.contains(&stream) {
            self.ended[self.next_ended] = stream;
            self.next_ended = (self.next_ended + 1) % REMEMBERED;
        }
        Ok(())
    }

    /// A part of a payload, which is whole when nothing is left to skip.
    fn keep(&mut self, part: &[u8]) -> Result<(), Reason> {
        if self.look == Look::Nothing {
            return Ok(());
        }
        if self.kept.len() + part.len() > MOST_KEPT {
            return Err(Reason::ENHANCE_YOUR_CALM);
        }
        self.kept.extend_from_slice(part);
        if self.skip > 0 {
            return Ok(());
        }
        if let Look::Trailers(flags) = self.look {
            self.kept = block(&self.kept, flags).to_vec();
            self.look = Look::MoreTrailers;
        }
        if self.in_block {
            return Ok(());
        }
        let found = match self.look {
            Look::Settings if asks_for_too_large_windows(&self.kept) => Err(Reason::FLOW_CONTROL_ERROR),
            Look::MoreTrailers if names_pseudo(&self.kept) => Err(Reason::PROTOCOL_ERROR),
            _ => Ok(()),
        };
        (self.look, self.kept) = (Look::Nothing, Vec::new());
        found
    }
}

/// `SETTINGS_INITIAL_WINDOW_SIZE` (RFC 9113, 6.5.2).
fn asks_for_too_large_windows(settings: &[u8]) -> bool {
    settings.chunks_exact(6).any(|setting| match setting {
        [0, 4, value @ ..] => value > &MOST_WINDOW.to_be_bytes()[..],
        _ => false,
    })
}

/// What a `HEADERS` frame of these flags has of its block.
fn block(payload: &[u8], flags: u8) -> &[u8] {
    let is_padded = flags & PADDED != 0;
    let padding = if is_padded { payload.first().copied().unwrap_or(0) } else { 0 };
    let start = usize::from(is_padded) + if flags & PRIORITY != 0 { 5 } else { 0 };
    payload.get(start..payload.len().saturating_sub(padding.into())).unwrap_or_default()
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
