//! Finds the end of a head while it arrives.
//!
//! Each byte is looked at once, however the head is cut into reads: reading a head anew for each byte of it is how slow
//! senders are made expensive.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// Where a head ends whose lines all end as they should.
static END: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\r\n\r\n"));

/// Remembers how far a head was looked through.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadScan {
    /// Up to here there is no end.
    seen: usize,
    /// Where the line that `seen` is in began.
    line: usize,
    /// Some line ended without a CR.
    bare: bool,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scanned {
    /// The head goes on after what is here.
    Partial,
    /// The head has so many bytes.
    Whole {
        len: usize,
        /// Some line ended with a bare LF.
        bare: bool,
    },
    /// As soon as it is known: some line ended with a bare LF. Only [`HeadScan::strictly`] says so.
    Bare,
}

impl HeadScan {
    /// Whether nothing was looked through yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.seen == 0
    }

    /// Looks on through `buffer`, which begins with the head's first byte; what was there at the last call must be there still.
    pub fn leniently(&mut self, buffer: &[u8]) -> Scanned {
        if self.seen == 0
            && let Some(len) = proper(buffer)
        {
            (self.seen, self.line) = (len, len);
            return Scanned::Whole { len, bare: false };
        }
        while let Some(ahead) = memchr::memchr(b'\n', buffer.get(self.seen..).unwrap_or_default()) {
            let end = self.seen + ahead;
            let has_cr = end > self.line && buffer[end - 1] == b'\r';
            let text = end - self.line - usize::from(has_cr);
            self.bare |= !has_cr;
            (self.seen, self.line) = (end + 1, end + 1);
            if text == 0 {
                return Scanned::Whole { len: end + 1, bare: self.bare };
            }
        }
        self.seen = buffer.len();
        Scanned::Partial
    }

    /// As [`HeadScan::leniently`], but says at once when a line ended with a bare LF.
    pub fn strictly(&mut self, buffer: &[u8]) -> Scanned {
        match self.leniently(buffer) {
            _ if self.bare => Scanned::Bare,
            scanned => scanned,
        }
    }
}

/// The length of a head that is whole and has no bare LF: almost all are, and whole lines need not be told apart to see it.
fn proper(buffer: &[u8]) -> Option<usize> {
    if buffer.starts_with(b"\r\n") {
        return None;
    }
    let len = END.find(buffer)? + 4;
    let (before, after) = (&buffer[..len - 1], &buffer[1..len]);
    let bare = |(before, after): (&u8, &u8)| u8::from(*after == b'\n') & u8::from(*before != b'\r');
    // Without a way out of the loop, so that many are looked at at once.
    let any = before.iter().zip(after).map(bare).fold(u8::from(buffer[0] == b'\n'), |any, one| any | one);
    (any == 0).then_some(len)
}

/// How many bytes of empty lines stand before a head (RFC 9112, 2.2): old clients send one after a body.
#[must_use]
pub fn empty_lines(buffer: &[u8]) -> usize {
    let mut skipped = 0;
    while buffer[skipped..].starts_with(b"\r\n") {
        skipped += 2;
    }
    skipped
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn whole(text: &str) -> Scanned {
        HeadScan::default().leniently(text.as_bytes())
    }

    #[test]
    fn the_end_is_an_empty_line() {
        assert_eq!(whole("GET / HTTP/1.1\r\nhost: a\r\n\r\nrest"), Scanned::Whole { len: 27, bare: false });
        assert_eq!(whole("GET / HTTP/1.1\nhost: a\n\nrest"), Scanned::Whole { len: 24, bare: true });
        assert_eq!(whole("GET / HTTP/1.1\r\nhost: a\r\n"), Scanned::Partial);
        assert_eq!(whole(""), Scanned::Partial);
        assert_eq!(HeadScan::default().strictly(b"GET / HTTP/1.1\nhost"), Scanned::Bare);
        assert_eq!(empty_lines(b"\r\n\r\nGET"), 4);
        assert_eq!(empty_lines(b"\r"), 0);
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(text in "([a-z]{0,3}\r?\n){0,8}[a-z]{0,3}", cuts in prop::collection::vec(0usize..30, 0..6)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.sort_unstable();
            cuts.push(bytes.len());
            let (mut scan, mut last) = (HeadScan::default(), Scanned::Partial);
            for cut in cuts {
                last = scan.leniently(&bytes[..cut]);
                if last != Scanned::Partial {
                    break;
                }
            }
            prop_assert_eq!(last, whole(&text));
        }
    }
}
