//! Finding one cookie in a `Cookie` field as it came, and taking it off.
//!
//! Bytes in, ranges of bytes out: nothing is decoded, copied or put in order. A field
//! without that cookie goes on as it came, whatever is in it. Pairs end at every `;`,
//! as RFC 6265 has it for servers; quotes mean nothing.

use std::ops::Range;

/// The values of all cookies of that name in one field, in order. Call it for each `Cookie` field.
pub fn values<'f>(field: &'f [u8], name: &'f [u8]) -> impl Iterator<Item = &'f [u8]> {
    pairs(field).filter_map(move |pair| value_of(&field[pair], name))
}

/// The ranges of the field that remain without the cookies of that name: put together in order they are the field to send. None
/// at all: nothing remains, leave the field out. What remains keeps its order and its bytes.
pub fn without<'f>(field: &'f [u8], name: &'f [u8]) -> impl Iterator<Item = Range<usize>> + 'f {
    Without { field, name, at: Some(0), any_kept: false }
}

struct Without<'f> {
    field: &'f [u8],
    name: &'f [u8],
    /// Where the next pair starts, behind its `;`. `None`: there is none.
    at: Option<usize>,
    any_kept: bool,
}

impl Iterator for Without<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        let start = self.skip_ours()?;
        // The `;` before it comes along, unless nothing is before that.
        let from = if self.any_kept { start - 1 } else { self.behind_space(start) };
        let mut to = start;
        while let Some(start) = self.at.filter(|start| !self.is_ours(*start)) {
            to = end_of(self.field, start);
            self.at = following(self.field, to);
        }
        self.any_kept = true;
        Some(from..to)
    }
}

impl Without<'_> {
    /// The start of the next pair that stays.
    fn skip_ours(&mut self) -> Option<usize> {
        while let Some(start) = self.at {
            if !self.is_ours(start) {
                // After a pair that went, only space may be left.
                let only_space = self.behind_space(start) == self.field.len() && start > 0;
                return (!only_space).then_some(start);
            }
            self.at = following(self.field, end_of(self.field, start));
        }
        None
    }

    fn is_ours(&self, start: usize) -> bool {
        value_of(&self.field[start..end_of(self.field, start)], self.name).is_some()
    }

    /// Behind the space that followed the `;` of a pair that went. At the very start space stays as it came.
    fn behind_space(&self, start: usize) -> usize {
        let space = self.field[start..].iter().take_while(|byte| is_space(**byte)).count();
        if start == 0 { 0 } else { start + space }
    }
}

fn pairs(field: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut at = Some(0);
    std::iter::from_fn(move || {
        let start = at?;
        let end = end_of(field, start);
        at = following(field, end);
        Some(start..end)
    })
}

/// Where the pair that starts there ends: at the next `;` or with the field.
fn end_of(field: &[u8], start: usize) -> usize {
    field[start..].iter().position(|byte| *byte == b';').map_or(field.len(), |length| start + length)
}

fn following(field: &[u8], end: usize) -> Option<usize> {
    (end < field.len()).then_some(end + 1)
}

/// The value, if the pair is of that name.
fn value_of<'f>(pair: &'f [u8], name: &[u8]) -> Option<&'f [u8]> {
    let equals = pair.iter().position(|byte| *byte == b'=')?;
    (trim(&pair[..equals]) == name).then(|| trim(&pair[equals + 1..]))
}

fn trim(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_space(*first)
    {
        bytes = rest;
    }
    while let [rest @ .., last] = bytes
        && is_space(*last)
    {
        bytes = rest;
    }
    bytes
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t')
}
