//! Bytes of output, cut into lines.

/// Lines of output that an exit report holds.
pub(crate) const LAST_LINES: usize = 20;

/// Bytes of each of them: a report is read by people, and kept by the control plane.
pub(crate) const LAST_LINE_BYTES: usize = 1000;

/// Longer lines are cut.
const LONGEST: usize = 64 * 1024;

/// As an exit report holds it.
pub(crate) fn shortened(line: &[u8]) -> String {
    if line.len() <= LAST_LINE_BYTES {
        return String::from_utf8_lossy(line).into_owned();
    }
    let text = String::from_utf8_lossy(&line[..cut_at(line, LAST_LINE_BYTES)]).into_owned();
    format!("{text}…")
}

/// Bytes that became lines or wait for their line end.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    whole: Vec<Vec<u8>>,
    rest: Vec<u8>,
}

impl Lines {
    pub(crate) fn push(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.rest.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            self.cut();
            let mut line = std::mem::take(&mut self.rest);
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            self.whole.push(line);
        }
        self.rest.extend_from_slice(bytes);
        self.cut();
    }

    fn cut(&mut self) {
        while self.rest.len() > LONGEST {
            let after = self.rest.split_off(cut_at(&self.rest, LONGEST));
            self.whole.push(std::mem::replace(&mut self.rest, after));
        }
    }

    pub(crate) fn take_whole(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.whole)
    }

    pub(crate) fn take_rest(&mut self) -> Vec<Vec<u8>> {
        if self.rest.is_empty() { Vec::new() } else { vec![std::mem::take(&mut self.rest)] }
    }
}

/// The place at or shortly before `most` that doesn't split a UTF-8 character.
fn cut_at(line: &[u8], most: usize) -> usize {
    (most.saturating_sub(3)..=most).rev().find(|at| line[*at] & 0xC0 != 0x80).unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        for piece in pieces {
            lines.push(piece);
        }
        let mut all = lines.take_whole();
        all.extend(lines.take_rest());
        all.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    #[test]
    fn pieces_become_lines() {
        assert_eq!(lines_of(&[b"one\ntw", b"o\r\n\nthr", b"ee"]), ["one", "two", "", "three"]);
        assert!(lines_of(&[b""]).is_empty());
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let long = "é".repeat(LONGEST);
        for pieces in [vec![long.as_bytes()], long.as_bytes().chunks(1000).collect()] {
            let lines = lines_of(&pieces);
            assert_eq!(lines.concat(), long);
            assert!(lines.iter().all(|line| line.len() <= LONGEST));
            assert_eq!(lines.len(), 2);
        }
        let exact = "x".repeat(LONGEST) + "\ny\n";
        assert_eq!(lines_of(&[exact.as_bytes()]).len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn every_byte_but_line_ends_is_kept_however_it_comes(text in "([a-zé]{0,9}\n?){0,20}", piece in 1_usize..20) {
            let pieces: Vec<&[u8]> = text.as_bytes().chunks(piece).collect();
            let expected: Vec<&str> = text.strip_suffix('\n').unwrap_or(&text).split('\n').collect();
            let expected = if text.is_empty() { Vec::new() } else { expected };
            proptest::prop_assert_eq!(lines_of(&pieces), expected);
        }
    }

    #[test]
    fn what_is_not_text_is_kept_and_cut_too() {
        let bytes = vec![0x80; LONGEST * 2 + 1];
        assert_eq!(lines_of(&[&bytes]).len(), 3);
    }
}
