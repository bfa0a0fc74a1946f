//! `extends`: services that begin as others do, of the same file or another.

use std::path::{Path, PathBuf};

use super::merge;
use crate::diagnostic::quoted;
use crate::files::Files;
use crate::import::draft::Draft;
use crate::tree::{Entry, Node, Scalar, Value};

/// Longer chains of services are not followed.
const LONGEST: usize = 10;

/// A service that is on its way to be resolved: the file, none of the first, and its name.
type Seen = (PathBuf, String);

/// Where services are looked for.
struct Place<'a> {
    /// None: that of the first.
    file: PathBuf,
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
    let place = Place { file: PathBuf::new(), services, directory: directory.to_owned(), files };
    place.service(name, &[], draft)
}

impl Place<'_> {
    fn service(&self, name: &str, seen: &[Seen], draft: &mut Draft) -> Option<Node> {
        let own = self.services.get(name)?;
        let Some(extends) = own.get("extends") else { return Some(own.clone()) };
        let of = |key: &str| extends.get(key).and_then(Node::scalar).map(|scalar| scalar.text.clone());
        let base = extends.scalar().map(|scalar| scalar.text.clone()).or_else(|| of("service"));
        let seen = [seen, &[(self.file.clone(), name.to_owned())]].concat();
        let file = of("file").map_or_else(|| self.file.clone(), |file| self.directory.join(file));
        let is_ring = base.as_ref().is_some_and(|base| seen.contains(&(file, base.clone())));
        let base = base.filter(|_| !is_ring && seen.len() <= LONGEST).and_then(|base| match of("file") {
            Some(file) => self.elsewhere(&file, &base, &seen, draft),
            None => self.service(&base, &seen, draft),
        });
        match base {
            Some(base) => Some(merge::merged("", &base, own)),
            None => {
                let why = match is_ring {
                    true => {
                        "it extends itself, perhaps through others: such a cycle has no end, and Compose takes no such file"
                    }
                    false => "what it extends can't be read here, so all of that is missing",
                };
                draft.left_out("extends", name, why);
                Some(own.clone())
            }
        }
    }

    fn elsewhere(&self, file: &str, base: &str, seen: &[Seen], draft: &mut Draft) -> Option<Node> {
        let path = self.directory.join(file);
        let node = crate::import::parsed_file(&path, self.files)?;
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        let place = Place { file: path, services: node.get("services")?, directory, files: self.files };
        let found = place.service(base, seen, draft)?;
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
