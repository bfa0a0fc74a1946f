//! JSON into the tree. `serde_json` judges whether it is JSON; a walk over the
//! text that passed finds the places.

use std::collections::HashMap;

use super::{DEEPEST, Format, duplicate, malformed, too_deep};
use crate::diagnostic::Sink;
use crate::source::{SourceFile, Span};
use crate::tree::{Entry, Kind, Node, Scalar, Value};

pub(super) fn tree(file: &SourceFile, sink: &mut Sink) -> Option<Node> {
    if let Err(error) = serde_json::from_str::<serde_json::Value>(file.text()) {
        let at = file.offset(error.line(), error.column());
        let text = error.to_string();
        let reason = text.rsplit_once(" at line ").map_or(text.as_str(), |(reason, _)| reason);
        let comment = ["//", "/*", "#"].iter().any(|start| file.text()[at..].starts_with(start));
        let hint = match reason {
            "trailing comma" => Some("remove the comma before the closing bracket"),
            _ if comment => Some("JSON has no comments; YAML and TOML do"),
            _ => None,
        };
        (reason.contains("trailing comma")).then_some("remove the comma before the closing bracket");
        malformed(Format::Json, Span::new(at, at + 1), reason, hint, sink);
        return None;
    }
    Walk { text: file.text(), at: 0, sink }.value(0)
}

/// Over text that is known to be JSON: what can't be is skipped, not reported.
struct Walk<'a> {
    text: &'a str,
    at: usize,
    sink: &'a mut Sink,
}

impl Walk<'_> {
    fn value(&mut self, depth: usize) -> Option<Node> {
        let start = self.skip_blank();
        if depth > DEEPEST {
            too_deep(Span::new(start, start + 1), self.sink);
            return None;
        }
        let value = match self.text.as_bytes().get(start)? {
            b'{' => Value::Map(self.object(depth)?),
            b'[' => Value::List(self.array(depth)?),
            b'"' => Value::Scalar(Scalar::text(self.string()?)),
            _ => Value::Scalar(self.word()),
        };
        Some(Node { span: Span::new(start, self.at), value })
    }

    fn object(&mut self, depth: usize) -> Option<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut places: HashMap<String, Span> = HashMap::new();
        self.at += 1;
        while !self.ends_with(b'}')? {
            let start = self.skip_blank();
            let key = self.string()?;
            let key_span = Span::new(start, self.at);
            self.skip_blank();
            self.at += 1;
            let value = self.value(depth + 1)?;
            if let Some(&first) = places.get(&key) {
                duplicate(&key, key_span, first, self.sink);
            } else {
                places.insert(key.clone(), key_span);
                entries.push(Entry::new(key, key_span, value));
            }
        }
        Some(entries)
    }

    fn array(&mut self, depth: usize) -> Option<Vec<Node>> {
        let mut items = Vec::new();
        self.at += 1;
        while !self.ends_with(b']')? {
            items.push(self.value(depth + 1)?);
        }
        Some(items)
    }

    /// Goes past a comma, or past the closing bracket and says so.
    fn ends_with(&mut self, close: u8) -> Option<bool> {
        let next = self.skip_blank();
        match self.text.as_bytes().get(next)? {
            b',' => self.at += 1,
            byte if *byte == close => {
                self.at += 1;
                return Some(true);
            }
            _ => {}
        }
        Some(false)
    }

    fn string(&mut self) -> Option<String> {
        let start = self.at;
        let mut bytes = self.text.as_bytes().iter().enumerate().skip(start + 1);
        while let Some((index, byte)) = bytes.next() {
            match byte {
                b'\\' => _ = bytes.next(),
                b'"' => {
                    self.at = index + 1;
                    break;
                }
                _ => {}
            }
        }
        serde_json::from_str(self.text.get(start..self.at)?).ok()
    }

    fn word(&mut self) -> Scalar {
        let rest = &self.text[self.at..];
        let end = rest
            .find(|c: char| c.is_ascii_whitespace() || matches!(c, ',' | ']' | '}'))
            .unwrap_or(rest.len());
        self.at += end;
        let text = &rest[..end];
        let kind = match text {
            "null" => Kind::Null,
            "true" | "false" => Kind::Bool,
            _ if text.contains(['.', 'e', 'E']) => Kind::Float,
            _ => Kind::Integer,
        };
        Scalar { text: text.to_owned(), kind }
    }

    fn skip_blank(&mut self) -> usize {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r']).len();
        self.at
    }
}
