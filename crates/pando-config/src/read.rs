//! From bytes to a tree, by the file's extension. What the keys mean is left to
//! `decode`; here a file is only not too large, text, and well-formed.

mod dialect;
mod json;
mod toml;
mod yaml;

use std::path::Path;
use std::sync::Arc;

use crate::diagnostic::{Problems, Sink, quoted};
use crate::files::LARGEST_FILE;
use crate::source::{SourceFile, Span};
use crate::tree::Node;

pub(crate) use dialect::Dialect;

/// Deeper than any specification, shallow enough for every stack.
const DEEPEST: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Yaml,
    Json,
    Toml,
}

impl Format {
    pub(crate) fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            "toml" => Some(Self::Toml),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Yaml => "YAML",
            Self::Json => "JSON",
            Self::Toml => "TOML",
        }
    }
}

/// The text of `bytes` as a file named `name`.
///
/// # Errors
/// Too large, or not UTF-8.
pub(crate) fn text(name: &str, bytes: &[u8]) -> Result<Arc<SourceFile>, Problems> {
    if bytes.len() > LARGEST_FILE {
        let mut sink = Sink::new(Arc::new(SourceFile::new(name, "")));
        sink.whole(
            "the file is larger than 1 MiB",
            Some("is it the right file? A specification is rarely more than some kilobytes".to_owned()),
        );
        return Err(sink.into_problems());
    }
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(Arc::new(SourceFile::new(name, text))),
        Err(error) => {
            let start = error.valid_up_to();
            let mut sink = Sink::new(Arc::new(SourceFile::new(name, String::from_utf8_lossy(bytes))));
            sink.error_hint(Span::new(start, start + 1), "this is not UTF-8 text", "save the file as UTF-8");
            Err(sink.into_problems())
        }
    }
}

/// The tree of a file. `None` when it is not well-formed; `sink` then has at least one error. It also has those that leave
/// a tree, such as keys given twice.
pub(crate) fn tree(format: Format, sink: &mut Sink) -> Option<Node> {
    tree_in(Dialect::Pando, format, sink)
}

/// As [`tree`], of a file that another tool reads.
pub(crate) fn tree_in(dialect: Dialect, format: Format, sink: &mut Sink) -> Option<Node> {
    let file = sink.file().clone();
    if file.text().trim().is_empty() {
        empty(sink);
        return None;
    }
    let node = match format {
        Format::Yaml => yaml::tree(&file, dialect, sink),
        Format::Json => json::tree(&file, sink),
        Format::Toml => toml::tree(&file, sink),
    };
    if node.as_ref().is_none_or(Node::is_null) && !sink.has_errors() {
        empty(sink);
    }
    node
}

fn empty(sink: &mut Sink) {
    sink.error_hint(Span::default(), "the file is empty", "`pando init` writes one to start from");
}

fn malformed(format: Format, span: Span, reason: &str, hint: Option<&str>, sink: &mut Sink) {
    let message = format!("this is not valid {}: {reason}", format.name());
    match hint {
        Some(hint) => sink.error_hint(span, message, hint),
        None => sink.error(span, message),
    }
}

fn duplicate(key: &str, span: Span, first: Span, sink: &mut Sink) {
    let line = sink.file().position(first).line;
    sink.error_hint(
        span,
        format!("the key {} is given twice", quoted(key)),
        format!("it is given on line {line} already; keep one of them"),
    );
}

fn too_deep(span: Span, sink: &mut Sink) {
    sink.error(span, format!("this is nested more than {DEEPEST} levels deep"));
}

#[cfg(test)]
mod tests;
