//! One line of a log, and how it is written in the file.

use pando_model::time::Timestamp;
use serde::{Deserialize, Serialize};

/// Longer lines are cut into several.
pub(crate) const LONGEST: usize = 64 * 1024;

/// The bytes before the text: `2026-01-31T12:00:00.123Z o `.
const HEAD: usize = 27;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    Stdout,
    Stderr,
    /// Pando's own remarks: started, ended, and why.
    Pando,
}

impl Stream {
    fn letter(self) -> char {
        match self {
            Self::Stdout => 'o',
            Self::Stderr => 'e',
            Self::Pando => 'p',
        }
    }

    fn from_letter(letter: &str) -> Option<Self> {
        match letter {
            "o" => Some(Self::Stdout),
            "e" => Some(Self::Stderr),
            "p" => Some(Self::Pando),
            _ => None,
        }
    }
}

/// One line that a run, or Pando about it, said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    pub time: Timestamp,
    /// Whose: the run's name, such as `web-2` or `release`.
    pub source: String,
    pub stream: Stream,
    /// Without its line end; at most 64 KiB. What was not UTF-8 is replaced by U+FFFD.
    pub text: String,
}

/// Appends one line as the file holds it. `text` must hold no line end.
pub(crate) fn encode(into: &mut Vec<u8>, time: Timestamp, stream: Stream, text: &[u8]) {
    into.extend_from_slice(format!("{time} {} ", stream.letter()).as_bytes());
    into.extend_from_slice(text);
    into.push(b'\n');
}

/// Reads one line of a file, without its line end. `None`: it was cut by a full disk or a crash.
pub(crate) fn decode(source: &str, line: &[u8]) -> Option<Line> {
    let head = std::str::from_utf8(line.get(..HEAD)?).ok()?;
    let (time, letter) = head.trim_end_matches(' ').split_once(' ')?;
    let time = Timestamp::try_from(time.to_owned()).ok()?;
    let stream = Stream::from_letter(letter)?;
    let text = String::from_utf8_lossy(line.get(HEAD..)?).into_owned();
    Some(Line { time, source: source.to_owned(), stream, text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_round_trip() {
        for text in ["", "x", " leading", "tab\tand \u{1b}[31mcolour", "é€😀"] {
            let time = Timestamp::from_millis(1_700_000_000_123);
            let mut bytes = Vec::new();
            encode(&mut bytes, time, Stream::Stderr, text.as_bytes());
            assert_eq!(bytes.pop(), Some(b'\n'));
            let line = decode("web-1", &bytes).unwrap();
            let expected =
                Line { time, source: "web-1".to_owned(), stream: Stream::Stderr, text: text.to_owned() };
            assert_eq!(line, expected);
        }
    }

    #[test]
    fn torn_lines_are_not_lines() {
        for torn in [
            "",
            "2026-01-31T12:00:00.123Z",
            "2026-01-31T12:00:00.123Z x text",
            "31T12:00:00.123Z o text and more",
        ] {
            assert_eq!(decode("web-1", torn.as_bytes()), None, "{torn}");
        }
    }
}
