//! YAML as a person would write it: block style, quotes only where they are needed.

use std::fmt::Write as _;

/// A value to write.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Out {
    /// Text, whatever it looks like.
    Text(String),
    /// A number, a boolean or the like, as it is written.
    Raw(String),
    List(Vec<Out>),
    Map(Vec<(String, Out)>),
    /// An item of a list that is not in force: it is written as a comment.
    Later(Box<Out>),
}

impl Out {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    pub(super) fn pairs<const N: usize>(pairs: [(&str, Out); N]) -> Self {
        Self::Map(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    fn is_block(&self) -> bool {
        match self {
            Self::Text(_) | Self::Raw(_) | Self::Later(_) => false,
            Self::List(items) => !items.is_empty(),
            Self::Map(pairs) => !pairs.is_empty(),
        }
    }
}

/// `key: value` and its line end, `indent` spaces in.
pub(super) fn pair(out: &mut String, indent: usize, key: &str, value: &Out) {
    let _ = write!(out, "{:indent$}{}:", "", scalar(key));
    if value.is_block() {
        let all_later =
            matches!(value, Out::List(items) if items.iter().all(|item| matches!(item, Out::Later(_))));
        out.push_str(if all_later { " []\n" } else { "\n" });
        block(out, indent + 2, value);
    } else {
        let _ = writeln!(out, " {}", inline(value));
    }
}

fn block(out: &mut String, indent: usize, value: &Out) {
    match value {
        Out::Map(pairs) => pairs.iter().for_each(|(key, value)| pair(out, indent, key, value)),
        Out::List(items) => items.iter().for_each(|item| list_item(out, indent, item)),
        _ => {}
    }
}

fn list_item(out: &mut String, indent: usize, item: &Out) {
    if let Out::Later(item) = item {
        let mut lines = String::new();
        list_item(&mut lines, 0, item);
        for line in lines.lines() {
            let _ = writeln!(out, "{:indent$}# {line}", "");
        }
        return;
    }
    if !item.is_block() {
        let _ = writeln!(out, "{:indent$}- {}", "", inline(item));
        return;
    }
    // The item's first line takes the place of its indentation.
    let mut below = String::new();
    block(&mut below, indent + 2, item);
    let _ = write!(out, "{:indent$}- {}", "", below.trim_start());
}

fn inline(value: &Out) -> String {
    match value {
        Out::Text(text) => scalar(text),
        Out::Raw(text) => text.clone(),
        Out::List(_) => "[]".to_owned(),
        Out::Map(_) => "{}".to_owned(),
        Out::Later(_) => String::new(),
    }
}

/// `text` plain where YAML reads it as that text, else within double quotes.
fn scalar(text: &str) -> String {
    if is_plain(text) { text.to_owned() } else { quoted(text) }
}

fn is_plain(text: &str) -> bool {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || matches!(c, '/' | '_' | '.'));
    let harmless = text.chars().all(|c| c.is_ascii_alphanumeric() || " _-./:@+=,$()<>&*~^%?;'|".contains(c));
    let shaped = !text.contains(": ")
        && !text.contains("  ")
        && !text.ends_with([' ', ':'])
        && !text.starts_with("...");
    let word = text.to_ascii_lowercase();
    let special = ["null", "true", "false", "yes", "no", "on", "off", "y", "n", ".inf", ".nan"]
        .contains(&word.as_str());
    let number =
        text.parse::<f64>().is_ok() || text.trim_start_matches('.').starts_with(|c: char| c.is_ascii_digit());
    (first && harmless && shaped && !special && !number) || is_measure(text)
}

/// `30s`, `1m30s`, `512MiB`, `60%`: digits and a unit.
fn is_measure(text: &str) -> bool {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    unit.len() < text.len()
        && unit.starts_with(['s', 'm', 'h', 'd', 'M', 'G', 'K', 'T', '%'])
        && unit.chars().all(|c| c.is_ascii_alphanumeric() || c == '%')
}

/// Double quotes: JSON's escapes are YAML's too; what YAML does not let stand is written as `\u`.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control()
                || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::diagnostic::Sink;
    use crate::read::{self, Format};
    use crate::source::SourceFile;
    use crate::tree::Kind;

    #[test]
    fn quotes_are_only_where_they_are_needed() {
        for plain in
            [".", "/health", "bin/web -p $PORT", "org/app:1.2", "30s", "1m30s", "512MiB", "60%", "a's", "./x"]
        {
            assert_eq!(scalar(plain), plain);
        }
        for quoted in [
            "", "1.5", "8080", "true", "No", "null", "a: b", "a #b", "- a", "0x1f", "1e3", "é", " a", "a:",
            "@a", "~",
        ] {
            assert!(scalar(quoted).starts_with('"'), "{quoted}");
        }
    }

    proptest! {
        #[test]
        fn text_is_read_as_it_was_written(text in "\\PC{0,12}|[ -~\\n\\t\\r\u{80}-\u{a0}]{0,12}") {
            let mut yaml = String::new();
            pair(&mut yaml, 0, "key", &Out::List(vec![Out::pairs([("a", Out::text(text.clone()))])]));
            let mut sink = Sink::new(Arc::new(SourceFile::new("f", yaml.clone())));
            let node = read::tree(Format::Yaml, &mut sink).expect(&yaml);
            let scalar = node.get("key").unwrap().items().unwrap()[0].entries().unwrap()[0].value.scalar().unwrap();
            prop_assert_eq!((&scalar.text, scalar.kind), (&text, Kind::Text), "{}", yaml);
        }
    }
}
