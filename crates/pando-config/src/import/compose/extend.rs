//! `extends`: services that begin as others do, of the same file or another.

use std::path::{Path, PathBuf};

use super::keys::Keys;
use super::merge;
use super::model::{Loader, Scope};
use super::paths;
use crate::diagnostic::{Problems, quoted};
use crate::import::draft::plain;
use crate::source::Span;
use crate::tree::{Merge, Node, Value};

/// Longer chains of services are not followed.
const LONGEST: usize = 10;

/// A service that is on its way to be resolved: the file, and its name.
type Seen = (PathBuf, String);

/// Where services are looked for.
struct Place<'p> {
    file: PathBuf,
    services: &'p Node,
    /// Where paths are seen from; what has no value in its variables is not filled in.
    scope: Scope,
}

/// `services` of the file at `path`, each with all that it extends.
pub(super) fn resolved(
    services: &Node,
    path: &Path,
    scope: &Scope,
    loader: &mut Loader<'_, '_>,
) -> Result<Node, Problems> {
    let place = Place { file: path.to_owned(), services, scope: scope.clone() };
    let mut whole = services.clone();
    if let Value::Map(entries) = &mut whole.value {
        for entry in entries {
            if entry.value.get("extends").is_some() {
                entry.value = place.service(&entry.key, &entry.value, &[], loader)?;
                loader.reader.count(&entry.value)?;
            }
        }
    }
    Ok(whole)
}

fn missing(why: &str) -> String {
    format!("what it extends can't be read here ({why}), so all of that is missing")
}

/// What `extends` says: a file other than this one, and a service.
struct Extends {
    file: Option<String>,
    service: String,
}

impl Place<'_> {
    fn service(
        &self,
        name: &str,
        own: &Node,
        seen: &[Seen],
        loader: &mut Loader<'_, '_>,
    ) -> Result<Node, Problems> {
        let entry = own.entries().unwrap_or_default().iter().find(|entry| entry.key == "extends");
        let Some(entry) = entry.filter(|entry| entry.merge != Merge::Remove && !entry.value.is_null()) else {
            return Ok(own.clone());
        };
        let at = loader.reader.place(entry.key_span);
        let seen = [seen, &[(self.file.clone(), name.to_owned())]].concat();
        let base = match self.extends(&entry.value, name, loader) {
            Some(extends) => self.base(&extends, &seen, entry.value.span, loader)?,
            None => Err("it does not say which service".to_owned()),
        };
        match base {
            Ok(base) => Ok(merge::merged("", &merge::settled(base), own)),
            Err(why) => {
                loader.draft.left_out("extends", name, &format!("{why} ({at})"));
                Ok(own.clone())
            }
        }
    }

    fn extends(&self, node: &Node, of: &str, loader: &mut Loader<'_, '_>) -> Option<Extends> {
        if let Some(service) = node.scalar() {
            return Some(Extends { file: None, service: service.text.clone() });
        }
        let mut keys = Keys::of(node);
        let (service, file) = (keys.text("service"), keys.text("file"));
        keys.name_others("extends", of, "Compose has no such key", loader.draft);
        Some(Extends { file: file.map(str::to_owned), service: service?.to_owned() })
    }

    /// What a service begins as, or why it does not.
    fn base(
        &self,
        extends: &Extends,
        seen: &[Seen],
        span: Span,
        loader: &mut Loader<'_, '_>,
    ) -> Result<Result<Node, String>, Problems> {
        if seen.len() > LONGEST {
            return Ok(Err(missing(&format!("it is behind more than {LONGEST} others"))));
        }
        let Some(file) = &extends.file else { return self.found(extends, self.file.clone(), seen, loader) };
        let file = match loader.filled(file, &self.scope) {
            Ok(file) => file,
            Err(name) => {
                return Ok(Err(missing(&format!("its file is named by {name}, which is not known"))));
            }
        };
        let path = paths::under(&self.scope.directory, &file);
        if path == self.file {
            return self.found(extends, path, seen, loader);
        }
        match loader.tree(&path) {
            Ok(node) => {
                loader.reader.tell_outside(&path, "extends.file", span, loader.draft);
                self.elsewhere(&node, &file, extends, seen, loader)
            }
            Err(problems) => {
                let why = problems.iter().next().map(|problem| problem.message.clone()).unwrap_or_default();
                Ok(Err(missing(&format!("{}: {why}", plain(&file)))))
            }
        }
    }

    /// A service of `node`, another file: its paths are seen from there.
    fn elsewhere(
        &self,
        node: &Node,
        file: &str,
        extends: &Extends,
        seen: &[Seen],
        loader: &mut Loader<'_, '_>,
    ) -> Result<Result<Node, String>, Problems> {
        let Some(services) = node.get("services") else {
            return Ok(Err(missing(&format!("{} has no `services`", quoted(file)))));
        };
        let path = paths::under(&self.scope.directory, file);
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        let scope = Scope { directory, variables: self.scope.variables.clone() };
        let place = Place { file: path.clone(), services, scope };
        let found = place.found(extends, path, seen, loader)?;
        let below = Path::new(file).parent().unwrap_or(Path::new(""));
        Ok(found.map(|found| paths::seen_from_above(&found, below)))
    }

    fn found(
        &self,
        extends: &Extends,
        file: PathBuf,
        seen: &[Seen],
        loader: &mut Loader<'_, '_>,
    ) -> Result<Result<Node, String>, Problems> {
        if seen.contains(&(file, extends.service.clone())) {
            return Ok(Err("it extends itself, perhaps through others: such a cycle has no end, and Compose takes no such file".to_owned()));
        }
        match self.services.get(&extends.service) {
            Some(own) => self.service(&extends.service, own, seen, loader).map(Ok),
            None => Ok(Err(format!(
                "there is no service {}: what it extends can't be read here, so all of that is missing",
                quoted(&extends.service)
            ))),
        }
    }
}
