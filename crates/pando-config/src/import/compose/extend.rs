//! `extends`: services that begin as others do, of the same file or another.

use std::path::{Path, PathBuf};

use super::merge;
use crate::diagnostic::quoted;
use crate::files::Files;
use crate::import::draft::Draft;
use crate::tree::{Entry, Node, Scalar, Value};

/// Longer chains of services are taken for rings.
const LONGEST: usize = 10;

/// Where services are looked for.
struct Place<'a> {
    services: &'a Node,
    directory: PathBuf,
    files: &'a dyn Files,
}

/// The service `name` of `services` as it is with all that it extends.
pub(super) fn resolved(
    name: &str,
    services: &Node,
    directory: &Path,
    files: &dyn Files,
    draft: &mut Draft,
) -> Option<Node> {
    let place = Place { services, directory: directory.to_owned(), files };
    place.service(name, 0, draft)
}

impl Place<'_> {
    fn service(&self, name: &str, depth: usize, draft: &mut Draft) -> Option<Node> {
        let own = self.services.get(name)?;
        let Some(extends) = own.get("extends") else { return Some(own.clone()) };
        let of = |key: &str| extends.get(key).and_then(Node::scalar).map(|scalar| scalar.text.clone());
        let base = extends.scalar().map(|scalar| scalar.text.clone()).or_else(|| of("service"));
        let base = base.filter(|_| depth < LONGEST).and_then(|base| match of("file") {
            Some(file) => self.elsewhere(&file, &base, depth, draft),
            None => self.service(&base, depth + 1, draft),
        });
        match base {
            Some(base) => Some(merge::merged("", &base, own)),
            None => {
                let why = "what it extends can't be read here, so all of that is missing";
                draft.left_out("extends", name, why);
                Some(own.clone())
            }
        }
    }

    fn elsewhere(&self, file: &str, base: &str, depth: usize, draft: &mut Draft) -> Option<Node> {
        let path = self.directory.join(file);
        let node = crate::import::parsed_file(&path, self.files)?;
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        let place = Place { services: node.get("services")?, directory, files: self.files };
        let found = place.service(base, depth + 1, draft)?;
        let below = Path::new(file)
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty() && *parent != Path::new("."));
        Some(match below {
            Some(below) => moved(&found, below, draft),
            None => found,
        })
    }
}

/// Paths of the other file are seen from where that is.
fn moved(service: &Node, below: &Path, draft: &mut Draft) -> Node {
    draft.note(format!(
        "`extends`: paths of files in {} are seen from there; look through `build`",
        quoted(&below.display().to_string())
    ));
    let Value::Map(entries) = &service.value else { return service.clone() };
    let moved = |entry: &Entry| match (entry.key.as_str(), &entry.value.value) {
        ("build", Value::Scalar(_)) => Entry { value: joined(&entry.value, below), ..entry.clone() },
        ("build", Value::Map(keys)) => {
            let keys = keys.iter().map(|key| match key.key.as_str() {
                "context" => Entry { value: joined(&key.value, below), ..key.clone() },
                _ => key.clone(),
            });
            let value = Node { span: entry.value.span, value: Value::Map(keys.collect()) };
            Entry { value, ..entry.clone() }
        }
        _ => entry.clone(),
    };
    Node { span: service.span, value: Value::Map(entries.iter().map(moved).collect()) }
}

fn joined(node: &Node, below: &Path) -> Node {
    let text = node.scalar().map(|scalar| scalar.text.as_str()).unwrap_or_default();
    let joined = below.join(text.trim_start_matches("./")).display().to_string();
    Node { span: node.span, value: Value::Scalar(Scalar::text(joined)) }
}
