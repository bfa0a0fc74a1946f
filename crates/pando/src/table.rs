//! Columns that line up.

use crate::printer::{Paint, Style};

/// Rows of cells; the first row is the head.
#[derive(Debug, Default)]
pub(crate) struct Table {
    head: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// A text and how it looks.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: text.into(), style }
    }
}

impl<T: ToString> From<T> for Cell {
    fn from(text: T) -> Self {
        Self { text: text.to_string(), style: Style::Plain }
    }
}

/// Between two columns.
const GAP: &str = "  ";

impl Table {
    pub(crate) fn new(head: &[&'static str]) -> Self {
        Self { head: head.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// A line each, without spaces at the ends. Columns that are empty in every row are left out.
    pub(crate) fn lines(&self, paint: Paint) -> Vec<String> {
        let used: Vec<usize> = (0..self.head.len()).filter(|column| self.is_used(*column)).collect();
        let width = |column: &usize| {
            let cells =
                self.rows.iter().filter_map(|row| row.get(*column)).map(|cell| cell.text.chars().count());
            cells.chain([self.head[*column].len()]).max().unwrap_or(0)
        };
        let widths: Vec<usize> = used.iter().map(width).collect();
        let head = used.iter().map(|column| Cell::styled(self.head[*column], Style::Dim)).collect::<Vec<_>>();
        let mut lines = vec![line(&head, &widths, paint)];
        for row in &self.rows {
            let cells: Vec<Cell> = used.iter().filter_map(|column| row.get(*column).cloned()).collect();
            lines.push(line(&cells, &widths, paint));
        }
        lines
    }

    fn is_used(&self, column: usize) -> bool {
        self.rows.is_empty()
            || self.rows.iter().any(|row| row.get(column).is_some_and(|cell| !cell.text.is_empty()))
    }
}

fn line(cells: &[Cell], widths: &[usize], paint: Paint) -> String {
    let mut out = String::new();
    let last = cells.iter().rposition(|cell| !cell.text.is_empty());
    for (index, (cell, width)) in cells.iter().zip(widths).enumerate().take(last.map_or(0, |last| last + 1)) {
        out.push_str(&paint.with(cell.style, &cell.text));
        if Some(index) != last {
            out.push_str(&" ".repeat(width.saturating_sub(cell.text.chars().count())));
            out.push_str(GAP);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_empty_ones_are_left_out() {
        let mut table = Table::new(&["NAME", "EMPTY", "STATE"]);
        table.row(vec!["web-1".into(), "".into(), Cell::styled("serving", Style::Good)]);
        table.row(vec!["a-long-name-1".into(), "".into(), "".into()]);
        let plain = table.lines(Paint::plain()).join("\n");
        assert_eq!(plain, "NAME           STATE\nweb-1          serving\na-long-name-1");
        let coloured = table.lines(Paint::coloured()).join("\n");
        assert!(coloured.contains("\u{1b}[32mserving\u{1b}[0m"), "{coloured:?}");
    }
}
