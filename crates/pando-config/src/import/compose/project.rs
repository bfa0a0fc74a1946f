//! A compose file with all that Compose reads along with it: further files, what services extend, and `.env`.

use std::path::{Path, PathBuf};

use super::Service;
use super::interpolate::{self, Report, Variables};
use super::model::{Loader, Scope};
use super::names::Names;
use super::reader::Reader;
use super::refused;
use crate::diagnostic::{Problems, quoted};
use crate::files::Files;
use crate::import::draft::Draft;
use crate::tree::{Node, Value};

/// Files that Compose reads by itself beside the first, if nobody names files.
const OVERRIDES: [&str; 4] = [
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yaml",
    "docker-compose.override.yml",
];
/// What may be filled in in all: variables that stand in many places would otherwise fill every memory.
const MOST_FILLED: usize = 16 << 20;
/// Nobody reads more problems than these before the first is dealt with.
const MOST_REFUSED: usize = 50;

pub(super) struct Project<'a> {
    /// All files as one.
    pub(super) node: Node,
    /// Of the first file, and what paths in all of them are seen from.
    pub(super) directory: PathBuf,
    pub(super) variables: Variables,
    pub(super) reader: Reader<'a>,
    /// What its services are called in their network.
    pub(super) names: Names,
}

impl<'a> Project<'a> {
    /// `paths`: at least one, later ones over earlier ones.
    pub(super) fn read(paths: &[PathBuf], files: &'a dyn Files, draft: &mut Draft) -> Result<Self, Problems> {
        let directory = paths.first().and_then(|path| path.parent()).map(Path::to_owned).unwrap_or_default();
        let mut reader = Reader::new(files, &directory);
        let mut loader = Loader { reader: &mut reader, draft };
        let variables = loader.own_variables(&directory, &Variables::new());
        let scope = Scope { directory, variables };
        let model = loader.model(paths, &scope, &[])?;
        let node =
            model.unwrap_or(Node { span: crate::source::Span::default(), value: Value::Map(Vec::new()) });
        let Scope { directory, variables } = scope;
        let project = Self { node, directory, variables, reader, names: Names::default() };
        project.tell_overrides(paths, draft);
        Ok(project)
    }

    fn tell_overrides(&self, paths: &[PathBuf], draft: &mut Draft) {
        let first = paths.first().map(|path| path.display().to_string()).unwrap_or_default();
        for name in OVERRIDES {
            let path = self.directory.join(name);
            if !paths.contains(&path) && self.reader.files.read(&path).is_ok() {
                draft.note(format!(
                    "`{name}`: it is not read, since such a file mostly is for developing; if it belongs to what is deployed: `pando init \
                     --from {first} --from {}`",
                    path.display()
                ));
            }
        }
    }

    /// The services with their texts filled in, except those of variables. What could not be is in their reports.
    pub(super) fn services(&self, draft: &mut Draft) -> Result<Vec<Service>, Problems> {
        let Some(services) = self.node.get("services") else { return Ok(Vec::new()) };
        let (mut found, mut refused) = (Vec::new(), Vec::new());
        let mut filled_in = 0;
        for entry in services.entries().unwrap_or_default() {
            if entry.value.entries().is_none() {
                draft.note(format!("`services`: {} has no keys", quoted(&entry.key)));
                continue;
            }
            let mut report = Report::default();
            let filled = interpolate::tree(&entry.value, "", &self.variables, &mut report);
            filled_in += report.filled;
            if filled_in > MOST_FILLED {
                let hint = "a variable of `.env` is long, and stands in many places: write what it is for into the image";
                return Err(self.reader.error(
                    entry.key_span,
                    "what variables fill in adds up to more than 16 MiB",
                    hint,
                ));
            }
            if let Some(filled) = filled.as_ref().filter(|_| refused.len() < MOST_REFUSED) {
                refused.extend(refused::problems(&entry.value, filled, &self.reader));
            }
            let typed_image =
                entry.value.get("image").and_then(Node::scalar).map(|scalar| scalar.text.clone());
            found.extend(filled.map(|node| Service { name: entry.key.clone(), node, typed_image, report }));
        }
        if refused.is_empty() { Ok(found) } else { Err(Problems::new(refused)) }
    }
}
