//! What Compose refuses and what would have a meaning here: a number where it takes a text alone, and a length of time without a unit.
//!
//! Such a file never ran. Whoever wrote `user: 010` meant no user 8, which Go makes of it, and `interval: 5` may be five of anything.

use super::reader::Reader;
use crate::diagnostic::{Problem, Problems};
use crate::tree::{Kind, Node, Scalar};

/// Of those that are carried over.
const TIMES: [&[&str]; 4] = [
    &["stop_grace_period"],
    &["healthcheck", "interval"],
    &["healthcheck", "timeout"],
    &["healthcheck", "start_period"],
];

/// In a service: `typed`, as it stands in its files, and `filled`, with its variables filled in.
pub(super) fn problems(typed: &Node, filled: &Node, reader: &Reader<'_>) -> Vec<Problem> {
    let times = TIMES.iter().filter_map(|path| time(path, typed, filled, reader));
    user(typed, reader).into_iter().chain(times).flatten().collect()
}

fn user(service: &Node, reader: &Reader<'_>) -> Option<Problems> {
    let node = service.get("user")?;
    let scalar = node.scalar()?;
    let what = match scalar.kind {
        Kind::Integer => format!("the number {}", scalar.text),
        Kind::Float => "a number".to_owned(),
        Kind::Bool => format!("the value {}", scalar.text),
        Kind::Date => "a date".to_owned(),
        Kind::Text | Kind::Null => return None,
    };
    let typed = reader.typed(node.span).unwrap_or(&scalar.text);
    let reason = format!("`user` is {what} to Compose, which takes a text alone there and refuses the file");
    Some(reader.error(node.span, &reason, &format!("write it in quotes: `user: \"{typed}\"`")))
}

fn time(path: &[&str], typed: &Node, filled: &Node, reader: &Reader<'_>) -> Option<Problems> {
    let (node, key) = (at(typed, path)?, path.last()?);
    let is_number = matches!(node.scalar()?.kind, Kind::Integer | Kind::Float);
    let text = &at(filled, path)?.scalar()?.text;
    if !is_number && !lacks_a_unit(text) {
        return None;
    }
    let typed =
        reader.typed(node.span).filter(|typed| is_number && Scalar::text(*typed).as_integer().is_some());
    let plain = typed.unwrap_or(text);
    let meant = if plain.starts_with('0') && plain != "0" { "30" } else { plain };
    let reason =
        format!("`{key}` has no unit: Compose takes a text such as `30s` alone there and refuses the file");
    Some(reader.error(node.span, &reason, &format!("say which, such as `{key}: {meant}s`")))
}

/// As the library has it that Compose reads durations with. Nothing is nothing, whatever the unit.
fn lacks_a_unit(text: &str) -> bool {
    let bare = text.strip_prefix(['+', '-']).unwrap_or(text);
    bare != "0"
        && bare.contains(|c: char| c.is_ascii_digit())
        && bare.chars().all(|c| c.is_ascii_digit() || c == '.')
}

fn at<'n>(node: &'n Node, path: &[&str]) -> Option<&'n Node> {
    path.iter().try_fold(node, |node, key| node.get(key))
}
