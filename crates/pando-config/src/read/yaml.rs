//! YAML 1.2 (core schema) into the tree, from the events of `saphyr-parser`.
//!
//! Anchors, aliases and `<<` merge keys work; what they may add up to is bounded,
//! and so is depth. A second document, a tag that the dialect does not have, a
//! key that is not a word and a key given twice are problems.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span as Marks, Tag};

use super::dialect::Dialect;
use super::{DEEPEST, Format, duplicate, malformed, too_deep};
use crate::diagnostic::Sink;
use crate::source::{SourceFile, Span};
use crate::tree::{Entry, Merge, Node, Scalar, Value};

/// What aliases may add up to. Files of people stay far below; files that multiply themselves stop here.
const MOST_NODES_BY_ALIAS: usize = 20_000;

pub(super) fn tree(file: &SourceFile, dialect: Dialect, sink: &mut Sink) -> Option<Node> {
    let mut builder = Builder::new(file, dialect, sink);
    let mut parser = Parser::new_from_str(file.text());
    while let Some(next) = parser.next_event() {
        let carry_on = match next {
            Ok((event, marks)) => builder.take(event, marks),
            Err(error) => {
                builder.malformed(&error);
                false
            }
        };
        if !carry_on {
            return None;
        }
    }
    builder.root
}

/// A list or map that is not complete yet.
struct Frame {
    start: Span,
    anchor: usize,
    merge: Merge,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, places: HashMap<String, Span>, key: Option<Key>, merged: Vec<Node> },
}

struct Key {
    text: String,
    span: Span,
    merge: bool,
}

struct Builder<'a> {
    file: &'a SourceFile,
    dialect: Dialect,
    sink: &'a mut Sink,
    /// Byte offsets by character, since the parser counts characters; empty when they are the same.
    bytes: Vec<usize>,
    frames: Vec<Frame>,
    anchors: HashMap<usize, (Node, usize, Merge)>,
    nodes_by_alias: usize,
    documents: usize,
    root: Option<Node>,
}

impl<'a> Builder<'a> {
    fn new(file: &'a SourceFile, dialect: Dialect, sink: &'a mut Sink) -> Self {
        let text = file.text();
        let bytes =
            if text.is_ascii() { Vec::new() } else { text.char_indices().map(|(at, _)| at).collect() };
        Self {
            file,
            dialect,
            sink,
            bytes,
            frames: Vec::new(),
            anchors: HashMap::new(),
            nodes_by_alias: 0,
            documents: 0,
            root: None,
        }
    }

    /// Whether there is any use in going on.
    fn take(&mut self, event: Event<'_>, marks: Marks) -> bool {
        let span = self.span(marks);
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => true,
            Event::DocumentStart(_) => self.document(span),
            Event::Alias(anchor) => self.alias(anchor, span),
            Event::Scalar(text, style, anchor, tag) => {
                let merge = self.merge_of(tag.as_deref(), span);
                let scalar = self.scalar(text.into_owned(), style, tag.as_deref(), span);
                let node = Node { span, value: Value::Scalar(scalar) };
                self.complete(node, anchor, style == ScalarStyle::Plain, merge);
                true
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(Content::List(Vec::new()), span, anchor, tag.as_deref())
            }
            Event::MappingStart(anchor, tag) => {
                let content = Content::Map {
                    entries: Vec::new(),
                    places: HashMap::new(),
                    key: None,
                    merged: Vec::new(),
                };
                self.open(content, span, anchor, tag.as_deref())
            }
            Event::SequenceEnd | Event::MappingEnd => {
                self.close(span);
                true
            }
        }
    }

    fn document(&mut self, span: Span) -> bool {
        self.documents += 1;
        if self.documents > 1 {
            let hint = "one file describes one app: give the other its own file, and choose with `-c FILE`";
            self.sink.error_hint(span, "a second document starts here", hint);
        }
        self.documents == 1
    }

    fn open(&mut self, content: Content, start: Span, anchor: usize, tag: Option<&Tag>) -> bool {
        let merge = self.merge_of(tag, start);
        if self.frames.len() >= DEEPEST {
            too_deep(start, self.sink);
            return false;
        }
        self.frames.push(Frame { start, anchor, merge, content });
        true
    }

    fn close(&mut self, end: Span) {
        let Some(frame) = self.frames.pop() else { return };
        let node = match frame.content {
            Content::List(items) => {
                let span =
                    extent(frame.start, items.first().map(|n| n.span), items.last().map(|n| n.span), end);
                Node { span, value: Value::List(items) }
            }
            Content::Map { mut entries, mut places, merged, .. } => {
                let (first, last) =
                    (entries.first().map(|e| e.key_span), entries.last().map(|e| e.value.span));
                let span = extent(frame.start, first, last, end);
                self.merge(&mut entries, &mut places, merged);
                Node { span, value: Value::Map(entries) }
            }
        };
        self.complete(node, frame.anchor, false, frame.merge);
    }

    fn alias(&mut self, anchor: usize, span: Span) -> bool {
        let Some((node, size, merge)) = self.anchors.get(&anchor) else {
            self.sink.error(span, "this alias lies within what it stands for");
            return false;
        };
        self.nodes_by_alias += size;
        if self.nodes_by_alias > MOST_NODES_BY_ALIAS {
            self.sink.error(span, format!("aliases add up to more than {MOST_NODES_BY_ALIAS} values"));
            return false;
        }
        let (node, height, merge) = (Node { span, ..node.clone() }, height(node), *merge);
        if self.frames.len() + height > DEEPEST {
            too_deep(span, self.sink);
            return false;
        }
        self.complete(node, 0, false, merge);
        true
    }

    /// Puts a whole value where it belongs.
    fn complete(&mut self, node: Node, anchor: usize, may_be_merge_key: bool, merge: Merge) {
        if anchor != 0 {
            let size = node.size();
            self.anchors.insert(anchor, (node.clone(), size, merge));
        }
        match self.frames.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Content::List(_)) if merge == Merge::Remove => {}
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { key: slot @ None, .. }) => {
                let (key, complaint) = as_key(node, may_be_merge_key);
                if let Some(reason) = complaint {
                    self.sink.error(key.span, reason);
                }
                *slot = Some(key);
            }
            Some(Content::Map { entries, places, key: slot @ Some(_), merged }) => {
                let Some(key) = slot.take() else { return };
                if key.merge {
                    merged.push(node);
                } else if let Some(&first) = places.get(&key.text) {
                    duplicate(&key.text, key.span, first, self.sink);
                } else {
                    places.insert(key.text.clone(), key.span);
                    entries.push(Entry { merge, ..entry(key, node) });
                }
            }
        }
    }

    /// `<<: *base` and `<<: [*a, *b]`: keys that are given win over merged ones, earlier ones over later.
    fn merge(&mut self, entries: &mut Vec<Entry>, places: &mut HashMap<String, Span>, merged: Vec<Node>) {
        for node in merged {
            let span = node.span;
            let sources = match node.value {
                Value::List(items) => items,
                value => vec![Node { span, value }],
            };
            for source in sources {
                let Value::Map(more) = source.value else {
                    self.sink.error(source.span, "`<<` merges maps of keys, and this is not one");
                    continue;
                };
                for entry in more {
                    if !places.contains_key(&entry.key) {
                        places.insert(entry.key.clone(), entry.key_span);
                        entries.push(entry);
                        continue;
                    }
                    // What an earlier file has is taken away, and what is merged in here is not.
                    let is_it = |given: &&mut Entry| given.key == entry.key && given.merge == Merge::Remove;
                    if let Some(given) = entries.iter_mut().find(is_it) {
                        *given = Entry { merge: Merge::Replace, ..entry };
                    }
                }
            }
        }
    }

    fn scalar(&mut self, text: String, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Scalar {
        match tag {
            Some(tag) if tag.is_yaml_core_schema() && matches!(&*tag.suffix, "binary" | "timestamp") => {
                self.foreign_tag(tag, span);
                Scalar::text(text)
            }
            Some(tag) if !tag.is_yaml_core_schema() || tag.suffix == "str" => Scalar::text(text),
            _ if style == ScalarStyle::Plain => self.dialect.plain(text),
            _ => Scalar::text(text),
        }
    }

    /// What a tag says of merging; of others it says that they mean nothing.
    fn merge_of(&mut self, tag: Option<&Tag>, span: Span) -> Merge {
        let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) else { return Merge::Join };
        let is_value = tag.handle == "!" && !self.frames.is_empty();
        match self.dialect.merge(&tag.suffix).filter(|_| is_value) {
            Some(merge) => merge,
            None => {
                self.foreign_tag(tag, span);
                Merge::Join
            }
        }
    }

    fn foreign_tag(&mut self, tag: &Tag, span: Span) {
        // `!` alone only says "not a number".
        if !tag.suffix.is_empty() {
            self.sink.error(span, format!("the tag `{tag}` means nothing here"));
        }
    }

    fn malformed(&mut self, error: &ScanError) {
        // What is missing at the end is shown at the last thing that is there.
        let at = self.byte(*error.marker()).min(self.file.text().trim_end().len());
        if error.info().contains("recursion limit") {
            return too_deep(Span::new(at, at + 1), self.sink);
        }
        let line = self.file.position(Span::new(at, at)).line;
        if let Some(tab) = [line, line.saturating_sub(1)].iter().find_map(|&line| self.leading_tab(line)) {
            let hint = "YAML is indented with spaces";
            return malformed(Format::Yaml, tab, "a tab in the indentation", Some(hint), self.sink);
        }
        let hint = match error.info() {
            info if info.contains("mapping values are not allowed") => {
                Some("is the indentation as on the line above? A value with `: ` in it needs quotes")
            }
            info if info.contains("while parsing a flow") && self.joins_a_brace(at) => {
                Some("within `{…}` and `[…]`, text with `{`, `}`, `[` or `]` in it needs quotes")
            }
            info if info.contains("simple key expect") || info.contains("could not find expected ':'") => {
                Some("a key is followed by `: ` and its value")
            }
            _ => None,
        };
        malformed(Format::Yaml, Span::new(at, at + 1), error.info(), hint, self.sink);
    }

    /// Whether a bracket there follows on text, as in `user@{host}`.
    fn joins_a_brace(&self, at: usize) -> bool {
        let (before, after) = self.file.text().split_at(at);
        let follows = before.chars().next_back().is_some_and(|c| !c.is_whitespace() && !",[{".contains(c));
        follows && after.starts_with(['{', '}', '[', ']'])
    }

    fn leading_tab(&self, line: usize) -> Option<Span> {
        let text = self.file.line(line);
        let blank = text.len() - text.trim_start().len();
        let tab = text[..blank].find('\t')?;
        let start = self.file.offset(line, tab + 1);
        Some(Span::new(start, start + 1))
    }

    fn span(&self, marks: Marks) -> Span {
        Span::new(self.byte(marks.start), self.byte(marks.end))
    }

    fn byte(&self, marker: Marker) -> usize {
        if self.bytes.is_empty() {
            return marker.index();
        }
        self.bytes.get(marker.index()).copied().unwrap_or(self.file.text().len())
    }
}

fn as_key(node: Node, may_be_merge_key: bool) -> (Key, Option<&'static str>) {
    let span = node.span;
    match node.value {
        Value::Scalar(Scalar { text, .. }) => {
            let merge = may_be_merge_key && text == "<<";
            (Key { text, span, merge }, None)
        }
        _ => (
            Key { text: String::new(), span, merge: false },
            Some("a key must be a word, not a list or a map"),
        ),
    }
}

fn entry(key: Key, mut value: Node) -> Entry {
    if value.is_null() && value.span.start == value.span.end {
        value.span = key.span;
    }
    Entry::new(key.text, key.span, value)
}

/// Block lists and maps have no marks of their own: they reach from the first to the last value.
fn extent(start: Span, first: Option<Span>, last: Option<Span>, end: Span) -> Span {
    if end.end > end.start {
        return start.to(end);
    }
    match (first, last) {
        (Some(first), Some(last)) => Span::new(first.start, last.end),
        _ => start,
    }
}

fn height(node: &Node) -> usize {
    match &node.value {
        Value::Scalar(_) => 0,
        Value::List(items) => 1 + items.iter().map(height).max().unwrap_or(0),
        Value::Map(entries) => 1 + entries.iter().map(|entry| height(&entry.value)).max().unwrap_or(0),
    }
}
