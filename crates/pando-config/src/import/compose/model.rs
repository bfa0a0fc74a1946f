//! The files of a project as one tree, by Compose's rules: each with what its services extend and what it includes, later ones over
//! earlier ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::interpolate::{self, Filled, Report, Variables};
use super::reader::Reader;
use super::{dotenv, extend, include, merge, shapes};
use crate::decode::listed;
use crate::diagnostic::Problems;
use crate::import::draft::{Draft, plain};
use crate::tree::{Node, Value};

/// Where the paths of some files are seen from, and what their variables are.
#[derive(Debug, Clone, Default)]
pub(super) struct Scope {
    pub(super) directory: PathBuf,
    pub(super) variables: Variables,
}

/// What reads, and who is told.
pub(super) struct Loader<'l, 'a> {
    pub(super) reader: &'l mut Reader<'a>,
    pub(super) draft: &'l mut Draft,
}

impl Loader<'_, '_> {
    /// The files at `paths` as one. `chain`: those that include each other down to here.
    pub(super) fn model(
        &mut self,
        paths: &[PathBuf],
        scope: &Scope,
        chain: &[PathBuf],
    ) -> Result<Option<Node>, Problems> {
        let mut whole: Option<Node> = None;
        for path in paths {
            let node = self.file(path, scope, &[chain, std::slice::from_ref(path)].concat())?;
            let merged = whole.as_ref().map_or_else(|| node.clone(), |under| merge::merged("", under, &node));
            whole = Some(merge::settled(merged));
        }
        Ok(whole)
    }

    fn file(&mut self, path: &Path, scope: &Scope, chain: &[PathBuf]) -> Result<Node, Problems> {
        let mut node = Node::clone(&*self.tree(path)?);
        if let Value::Map(entries) = &mut node.value
            && let Some(services) = entries.iter_mut().find(|entry| entry.key == "services")
        {
            services.value = extend::resolved(&services.value, path, scope, self)?;
        }
        include::taken_in(node, scope, chain, self)
    }

    /// The tree of the file at `path`, read once, without what is of no shape that Compose takes.
    pub(super) fn tree(&mut self, path: &Path) -> Result<Arc<Node>, Problems> {
        if let Some(tree) = self.reader.known(path) {
            return Ok(tree);
        }
        let tree = self.reader.tree(path)?;
        let checked = shapes::checked(&tree, self);
        Ok(self.reader.keep(path, checked))
    }

    /// `text` with its variables filled in, or the names of those that are not known.
    pub(super) fn filled(&mut self, text: &str, scope: &Scope) -> Result<String, String> {
        let mut report = Report::default();
        let filled = interpolate::fill(text, &scope.variables, &mut report);
        super::tell(&report, "", self.draft);
        match filled {
            Filled::Known(text) => Ok(text),
            Filled::Unknown(names) | Filled::Secret(names) => {
                Err(listed(names.iter().map(String::as_str), "and"))
            }
        }
    }

    /// Those of `.env` in `directory`, if it is there, behind those that are known already.
    pub(super) fn own_variables(&mut self, directory: &Path, known: &Variables) -> Variables {
        let path = directory.join(".env");
        if self.reader.is_missing(&path) {
            return known.clone();
        }
        self.variables(&path, known).unwrap_or_else(|why| {
            let shown = plain(&path.display().to_string());
            self.draft.note(format!("`{shown}`: it can't be read ({why}), so nothing is filled in from it"));
            known.clone()
        })
    }

    /// The variables of the file at `path`, where those that are known already win. What could not be read is noted.
    pub(super) fn variables(&mut self, path: &Path, known: &Variables) -> Result<Variables, String> {
        let text = self.reader.text(path)?;
        let shown = path.display().to_string();
        let read = dotenv::parse(&text, known);
        dotenv::tell_unread(&read, &shown, self.draft);
        dotenv::tell_unknown(&read, &shown, self.draft);
        let mut variables = known.clone();
        for line in read.lines {
            if let (None, Some(value)) = (known.get(&line.name), line.value) {
                variables.extend(value.variable().map(|value| (line.name, value)));
            }
        }
        Ok(variables)
    }
}
