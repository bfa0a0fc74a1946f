//! A file's text and places in it: byte ranges, lines and columns.
//!
//! Reading the file and saying what is wrong with it are left to others.

/// A range of bytes in a file's text.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    pub start: usize,
    /// Exclusive.
    pub end: usize,
}

impl Span {
    #[must_use]
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end: end.max(start) }
    }

    /// From the start of this to the end of `other`.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self::new(self.start, other.end)
    }
}

/// Where a span starts, as editors count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// In characters, at least 1, and never beyond the end of the line (by more than that 1).
    pub length: usize,
}

/// A text file with its name and the starts of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceFile {
    name: String,
    text: String,
    line_starts: Vec<usize>,
}

impl SourceFile {
    #[must_use]
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        let text = text.into();
        let after_newlines = text.match_indices('\n').map(|(index, _)| index + 1);
        let line_starts = std::iter::once(0).chain(after_newlines).collect();
        Self { name: name.into(), text, line_starts }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Where `span` starts; a span beyond the text counts as its end.
    #[must_use]
    pub fn position(&self, span: Span) -> Position {
        let start = self.clamp(span.start);
        let line = self.line_starts.partition_point(|&line_start| line_start <= start).max(1);
        let line_start = self.line_starts[line - 1];
        let line_end = line_start + self.line(line).len();
        let end = self.clamp(span.end).clamp(start, line_end.max(start));
        let count = |from: usize, to: usize| self.text[from..to].chars().count();
        Position { line, column: count(line_start, start) + 1, length: count(start, end).max(1) }
    }

    /// Line `number` (from 1) without its end; empty when there is none.
    #[must_use]
    pub fn line(&self, number: usize) -> &str {
        let Some(&start) = number.checked_sub(1).and_then(|index| self.line_starts.get(index)) else {
            return "";
        };
        let end = self.line_starts.get(number).copied().unwrap_or(self.text.len());
        self.text[start..end].trim_end_matches(['\n', '\r'])
    }

    /// The text of `span`.
    pub(crate) fn slice(&self, span: Span) -> &str {
        let start = self.clamp(span.start);
        &self.text[start..self.clamp(span.end).max(start)]
    }

    /// The byte at which line and column (both from 1, the column in bytes) lie; clamped.
    pub(crate) fn offset(&self, line: usize, column: usize) -> usize {
        let start = line.checked_sub(1).and_then(|index| self.line_starts.get(index)).copied();
        self.clamp(start.map_or(self.text.len(), |start| start + column.saturating_sub(1)))
    }

    fn clamp(&self, index: usize) -> usize {
        let mut index = index.min(self.text.len());
        while !self.text.is_char_boundary(index) {
            index -= 1;
        }
        index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_characters_and_stay_on_their_line() {
        let file = SourceFile::new("f", "ä: bcd\r\nxyz\n");
        for (start, end, line, column, length) in [
            (0, 2, 1, 1, 1),
            (4, 7, 1, 4, 3),
            (4, 99, 1, 4, 3),
            (9, 11, 2, 1, 2),
            (99, 120, 3, 1, 1),
            (1, 1, 1, 1, 1),
        ] {
            let position = file.position(Span::new(start, end));
            assert_eq!(position, Position { line, column, length }, "{start}..{end}");
        }
        assert_eq!((file.line(1), file.line(2), file.line(3), file.line(4)), ("ä: bcd", "xyz", "", ""));
    }
}
