//! Whether the keys of a service are of the shapes that Compose takes: what is none of them is named, and left out before anything else
//! is done with it.

use super::model::Loader;
use super::paths::each;
use crate::diagnostic::quoted;
use crate::import::draft::plain;
use crate::tree::{Entry, Kind, Node, Value};

const TEXT: &[Shape] = &[Shape::Text];
const LIST: &[Shape] = &[Shape::List];
const MAP: &[Shape] = &[Shape::Map];
const TEXT_OR_LIST: &[Shape] = &[Shape::Text, Shape::List];
const TEXT_OR_MAP: &[Shape] = &[Shape::Text, Shape::Map];
const LIST_OR_MAP: &[Shape] = &[Shape::List, Shape::Map];

/// Of the keys that are carried over. Those that are not are named in any case.
const SHAPES: [(&str, &[Shape]); 28] = [
    ("image", TEXT),
    ("build", TEXT_OR_MAP),
    ("command", TEXT_OR_LIST),
    ("entrypoint", TEXT_OR_LIST),
    ("environment", LIST_OR_MAP),
    ("env_file", &[Shape::Text, Shape::List, Shape::Map]),
    ("ports", TEXT_OR_LIST),
    ("expose", TEXT_OR_LIST),
    ("depends_on", LIST_OR_MAP),
    ("profiles", LIST),
    ("extends", TEXT_OR_MAP),
    ("volumes", LIST),
    ("deploy", MAP),
    ("scale", TEXT),
    ("healthcheck", MAP),
    ("stop_grace_period", TEXT),
    ("mem_limit", TEXT),
    ("cpus", TEXT),
    ("pids_limit", TEXT),
    ("labels", LIST_OR_MAP),
    ("user", TEXT),
    ("restart", TEXT),
    ("pull_policy", TEXT),
    ("networks", LIST_OR_MAP),
    ("network_mode", TEXT),
    ("container_name", TEXT),
    ("links", LIST),
    ("init", TEXT),
];
/// Maps and lists of variables and the like, whose values are no lists and no maps.
const PAIRS: [&str; 3] = ["environment", "labels", "args"];
/// Lists of words.
const WORDS: [&str; 5] = ["command", "entrypoint", "profiles", "expose", "links"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Text,
    List,
    Map,
}

impl Shape {
    fn of(node: &Node) -> Self {
        match node.value {
            Value::Scalar(_) => Self::Text,
            Value::List(_) => Self::List,
            Value::Map(_) => Self::Map,
        }
    }
}

/// A compose file without what can't be read as what its key is.
pub(super) fn checked(file: &Node, loader: &mut Loader<'_, '_>) -> Node {
    let services = file.get("services").filter(|services| services.entries().is_none());
    if let Some(services) = services {
        let at = loader.reader.place(services.span);
        let found = services.describe();
        loader
            .draft
            .note(format!("`services` ({at}): expected a map of services by their names, found {found}"));
    }
    let loader = std::cell::RefCell::new(loader);
    each(file, |key, value| match key {
        "services" => each(value, |name, service| self::service(name, service, &mut loader.borrow_mut())),
        _ => value.clone(),
    })
}

fn service(name: &str, service: &Node, loader: &mut Loader<'_, '_>) -> Node {
    let Some(entries) = service.entries() else { return service.clone() };
    let mut kept = Vec::new();
    for entry in entries {
        let allowed = SHAPES.iter().find(|(key, _)| *key == entry.key).map(|(_, shapes)| *shapes);
        if !entry.value.is_null() && allowed.is_some_and(|shapes| !shapes.contains(&Shape::of(&entry.value)))
        {
            misshapen(&entry.key, name, &entry.value, loader);
            continue;
        }
        let value = match entry.key.as_str() {
            "build" => value_of_build(name, &entry.value, loader),
            key => values(key, key, name, &entry.value, loader),
        };
        kept.push(Entry { value, ..entry.clone() });
    }
    Node { span: service.span, value: Value::Map(kept) }
}

fn value_of_build(of: &str, build: &Node, loader: &mut Loader<'_, '_>) -> Node {
    let loader = std::cell::RefCell::new(loader);
    each(build, |key, value| match key {
        "args" => values("args", "build.args", of, value, &mut loader.borrow_mut()),
        _ => value.clone(),
    })
}

/// `node` without values that are lists or maps, where `key` has none.
fn values(key: &str, at: &str, of: &str, node: &Node, loader: &mut Loader<'_, '_>) -> Node {
    let value = match &node.value {
        Value::Map(entries) if PAIRS.contains(&key) => {
            let fits =
                |entry: &&Entry| pair(&format!("{at}.{}", plain(&entry.key)), of, &entry.value, loader);
            Value::Map(entries.iter().filter(fits).cloned().collect())
        }
        Value::Scalar(_) if key == "args" && !node.is_null() => {
            misshapen(at, of, node, loader);
            Value::Map(Vec::new())
        }
        Value::List(items) if PAIRS.contains(&key) || WORDS.contains(&key) => {
            let fits = |item: &&Node| {
                let fits = item.scalar().is_some();
                if !fits {
                    misshapen(&format!("{at}: an item"), of, item, loader);
                }
                fits
            };
            Value::List(items.iter().filter(fits).cloned().collect())
        }
        value => value.clone(),
    };
    Node { span: node.span, value }
}

/// Whether it is a text, and whether that is sure.
fn pair(at: &str, of: &str, value: &Node, loader: &mut Loader<'_, '_>) -> bool {
    let Some(scalar) = value.scalar() else {
        misshapen(at, of, value, loader);
        return false;
    };
    let odd = match scalar.kind {
        // Containers have Pando's labels alone.
        _ if at.starts_with("labels") => return true,
        Kind::Date => "a date",
        Kind::Float if !scalar.text.contains(|c: char| c.is_ascii_digit()) => "no finite number",
        _ => return true,
    };
    loader.draft.note(format!(
        "`{at}` of `{}` ({}): {}, without quotes, is {odd} to Compose, which refuses it or writes it otherwise, depending on its version; it \
         is carried over as it stands: correct it if the app was told otherwise",
        plain(of),
        loader.reader.place(value.span),
        quoted(&scalar.text)
    ));
    true
}

fn misshapen(at: &str, of: &str, value: &Node, loader: &mut Loader<'_, '_>) {
    let found = match Shape::of(value) {
        Shape::Text => "a text",
        Shape::List => "a list",
        Shape::Map => "a map of keys",
    };
    loader.draft.note(format!(
        "`{}` of `{}` ({}): it is {found}, which Compose does not take there, so it is left out",
        plain(at),
        plain(of),
        loader.reader.place(value.span)
    ));
}
