//! Header blocks, looked at without their tables: whether a pseudo-header stands in trailers.
//!
//! The `h2` crate drops such a field and takes the rest. A name that refers to the connection's own table can't be told
//! here; the crate drops that too, so that nothing of it goes anywhere.

/// The static table begins with the pseudo-headers (RFC 7541, A).
const LAST_PSEUDO: usize = 14;

/// Whether a whole block names a pseudo-header, as far as it can be told. What is malformed doesn't: others judge it.
pub(super) fn names_pseudo(block: &[u8]) -> bool {
    let mut rest = Rest(block);
    while let Some(first) = rest.0.first().copied() {
        // Indexed; literal, to be remembered; new size of the table; literal, not to be remembered.
        let (bits, is_literal, is_size) = match first {
            0x80.. => (7, false, false),
            0x40.. => (6, true, false),
            0x20.. => (5, false, true),
            _ => (4, true, false),
        };
        let Some(index) = rest.integer(bits) else { return false };
        if is_size {
            continue;
        }
        if (1..=LAST_PSEUDO).contains(&index) {
            return true;
        }
        if !is_literal {
            continue;
        }
        if index == 0 {
            match rest.string() {
                Some((huffman, text)) if begins_with_colon(huffman, text) => return true,
                Some(_) => {}
                None => return false,
            }
        }
        if rest.string().is_none() {
            return false;
        }
    }
    false
}

/// The code of `:` is 1011100.
fn begins_with_colon(huffman: bool, text: &[u8]) -> bool {
    match (huffman, text.first()) {
        (true, Some(first)) => first >> 1 == 0b101_1100,
        (false, Some(first)) => *first == b':',
        (_, None) => false,
    }
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// RFC 7541, 5.1.
    fn integer(&mut self, bits: u32) -> Option<usize> {
        let most = (1usize << bits) - 1;
        let mut number = usize::from(self.byte()?) & most;
        if number < most {
            return Some(number);
        }
        for shift in [0, 7, 14, 21] {
            let byte = usize::from(self.byte()?);
            number += (byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    /// Whether it is in Huffman's code, and its bytes.
    fn string(&mut self) -> Option<(bool, &'a [u8])> {
        let huffman = self.0.first()? & 0x80 != 0;
        let length = self.integer(7)?;
        let text = self.0.get(..length)?;
        self.0 = &self.0[length..];
        Some((huffman, text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pseudo_headers_are_found_however_they_are_written() {
        // `:path: /` of the static table; a literal value; a literal name; the same in Huffman's code.
        assert!(names_pseudo(&[0x84]));
        assert!(names_pseudo(&[0x04, 1, b'/']));
        assert!(names_pseudo(&[0x44, 1, b'/']));
        assert!(names_pseudo(&[0x00, 5, b':', b'p', b'a', b't', b'h', 1, b'/']));
        assert!(names_pseudo(&[0x40, 0x84, 0xb9, 0x58, 0xd3, 0x3f, 1, b'/']));
        // After other things: a size, a field, one of the connection's table.
        assert!(names_pseudo(&[0x20, 0x00, 1, b'a', 1, b'b', 0xbe, 0x84]));
        assert!(names_pseudo(&[0x3f, 0xe1, 0x1f, 0x84]));
    }

    #[test]
    fn others_are_not_taken_for_them() {
        assert!(!names_pseudo(&[]));
        assert!(!names_pseudo(&[0x00, 1, b'a', 1, b':']));
        assert!(!names_pseudo(&[0x0f, 0x00, 1, b'x', 0x8f, 0xbe, 0x3f, 0xe1, 0x1f]));
        let long = [&[0x00, 1, b'a', 0x7f, 0x01][..], &[0x84; 128]].concat();
        assert!(!names_pseudo(&long));
        // What breaks off.
        for broken in [&[0x00][..], &[0x00, 5, b'a'], &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff], &[0x04, 9, 1]] {
            assert!(!names_pseudo(broken) || broken[0] == 0x04, "{broken:?}");
        }
    }
}
