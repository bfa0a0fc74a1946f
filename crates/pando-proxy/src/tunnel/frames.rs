//! Where WebSocket frames begin and end (RFC 6455, 5.2), followed in passing.

/// Follows one direction of a WebSocket. Pure: bytes in, positions out.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The head of the current frame, as far as it is here; at most 14 bytes.
    head: [u8; 14],
    have: usize,
    /// Bytes of the current frame's payload still to come.
    payload: u64,
    close_seen: bool,
}

const OPCODE_CLOSE: u8 = 0x8;

impl Frames {
    /// Whether a frame of our own may stand here.
    pub(super) fn is_between(&self) -> bool {
        self.have == 0 && self.payload == 0
    }

    /// Whether a whole head of a close frame went by: nothing of substance follows.
    pub(super) fn close_seen(&self) -> bool {
        self.close_seen
    }

    /// Takes `bytes` in.
    pub(super) fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let taken = self.step(bytes);
            bytes = &bytes[taken..];
        }
    }

    /// Takes bytes in up to the next place between two frames, and answers how many. All of them, if there is none.
    pub(super) fn follow_to_boundary(&mut self, bytes: &[u8]) -> usize {
        let mut taken = 0;
        while !self.is_between() && taken < bytes.len() {
            taken += self.step(&bytes[taken..]);
        }
        taken
    }

    /// Takes in at most one frame's payload or one byte of a head; `bytes` isn't empty. Answers how many bytes it took.
    fn step(&mut self, bytes: &[u8]) -> usize {
        if self.payload > 0 {
            let taken = usize::try_from(self.payload).unwrap_or(usize::MAX).min(bytes.len());
            self.payload -= taken as u64;
            return taken;
        }
        self.head[self.have] = bytes[0];
        self.have += 1;
        if let Some(length) = self.head_done() {
            self.close_seen |= self.head[0] & 0x0f == OPCODE_CLOSE;
            self.payload = length;
            self.have = 0;
        }
        1
    }

    /// The payload's length, once the head is whole.
    fn head_done(&self) -> Option<u64> {
        if self.have < 2 {
            return None;
        }
        let mask = if self.head[1] & 0x80 != 0 { 4 } else { 0 };
        let (extra, short) = match self.head[1] & 0x7f {
            126 => (2, None),
            127 => (8, None),
            short => (0, Some(u64::from(short))),
        };
        if self.have < 2 + extra + mask {
            return None;
        }
        let long = self.head[2..2 + extra].iter().fold(0u64, |sum, byte| sum << 8 | u64::from(*byte));
        Some(short.unwrap_or(long))
    }
}

/// A close frame "1001, going away". Towards a server it is masked, as all that a client says.
pub(super) fn going_away(masked: bool) -> Vec<u8> {
    let code = 1001u16.to_be_bytes();
    if !masked {
        return vec![0x88, 2, code[0], code[1]];
    }
    // A mask protects caches from payloads that a page chose; two bytes of ours choose nothing.
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    vec![0x88, 0x82, mask[0], mask[1], mask[2], mask[3], code[0] ^ mask[0], code[1] ^ mask[1]]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: u8, masked: bool, payload: usize) -> Vec<u8> {
        let mut bytes = vec![0x80 | opcode];
        let mask_bit = if masked { 0x80 } else { 0 };
        match payload {
            0..=125 => bytes.push(mask_bit | u8::try_from(payload).unwrap()),
            126..=65535 => {
                bytes.push(mask_bit | 126);
                bytes.extend(u16::try_from(payload).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(mask_bit | 127);
                bytes.extend((payload as u64).to_be_bytes());
            }
        }
        if masked {
            bytes.extend([1, 2, 3, 4]);
        }
        bytes.extend(std::iter::repeat_n(0x88, payload));
        bytes
    }

    proptest! {
        /// However the bytes are cut into reads, the boundaries are where the frames end.
        #[test]
        fn boundaries_are_found_however_bytes_arrive(
            sizes in prop::collection::vec((0usize..70_000, any::<bool>()), 1..6),
            cuts in prop::collection::vec(1usize..5_000, 1..200),
        ) {
            let mut stream = Vec::new();
            let mut ends = vec![0];
            for (size, masked) in sizes {
                stream.extend(frame(2, masked, size));
                ends.push(stream.len());
            }
            let mut frames = Frames::default();
            let (mut at, mut cuts) = (0, cuts.iter().cycle());
            while at < stream.len() {
                prop_assert_eq!(frames.is_between(), ends.contains(&at), "at {}", at);
                let to = (at + cuts.next().unwrap()).min(stream.len());
                frames.follow(&stream[at..to]);
                at = to;
            }
            prop_assert!(frames.is_between() && !frames.close_seen());
        }
    }

    #[test]
    fn following_to_the_boundary_stops_there() {
        let mut stream = frame(1, false, 10);
        stream.extend(frame(1, true, 300));
        let mut frames = Frames::default();
        assert_eq!(frames.follow_to_boundary(&stream), 0, "a boundary at the very start");
        frames.follow(&stream[..5]);
        assert_eq!(frames.follow_to_boundary(&stream[5..]), 7);
        frames.follow(&stream[12..20]);
        assert_eq!(frames.follow_to_boundary(&stream[20..40]), 20);
        assert!(!frames.is_between());
    }

    #[test]
    fn a_close_frame_is_noticed_but_not_in_a_payload() {
        let mut frames = Frames::default();
        frames.follow(&frame(2, false, 50));
        assert!(!frames.close_seen());
        frames.follow(&going_away(true));
        assert!(frames.close_seen() && frames.is_between());
    }
}
