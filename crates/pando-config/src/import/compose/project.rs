//! A compose file with all that Compose reads along with it: further files, what services extend, and `.env`.

use std::path::{Path, PathBuf};

use super::interpolate::{self, Report, Variables};
use super::names::Names;
use super::{Service, dotenv, extend, merge, scalars};
use crate::diagnostic::quoted;
use crate::files::Files;
use crate::import::draft::Draft;
use crate::tree::Node;

/// Files that Compose reads by itself beside the first, if nobody names files.
const OVERRIDES: [&str; 4] = [
    "compose.override.yaml",
    "compose.override.yml",
    "docker-compose.override.yaml",
    "docker-compose.override.yml",
];

pub(super) struct Project<'a> {
    /// All files as one.
    pub(super) node: Node,
    /// Of the first file, and what paths in all of them are seen from.
    pub(super) directory: PathBuf,
    pub(super) variables: Variables,
    pub(super) files: &'a dyn Files,
    /// What its services are called in their network.
    pub(super) names: Names,
}

impl<'a> Project<'a> {
    /// `sources`: at least one, later ones over earlier ones.
    pub(super) fn read(sources: &[(PathBuf, Node)], files: &'a dyn Files, draft: &mut Draft) -> Option<Self> {
        let ((path, first), others) = sources.split_first()?;
        let node = others.iter().fold(first.clone(), |node, (_, over)| merge::merged("", &node, over));
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        let text = files.read(&directory.join(".env")).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let variables = dotenv::parse(&text.unwrap_or_default(), &Variables::new());
        let variables = variables.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
        let project = Self { node, directory, variables, files, names: Names::default() };
        project.tell_overrides(sources, draft);
        Some(project)
    }

    fn tell_overrides(&self, sources: &[(PathBuf, Node)], draft: &mut Draft) {
        let first = sources.first().map(|(path, _)| path.display().to_string()).unwrap_or_default();
        for name in OVERRIDES {
            let path = self.directory.join(name);
            let is_read = sources.iter().any(|(source, _)| *source == path);
            if !is_read && self.files.read(&path).is_ok() {
                draft.note(format!(
                    "`{name}`: it is not read, since such a file mostly is for developing; if it belongs to what is deployed: `pando init \
                     --from {first} --from {}`",
                    path.display()
                ));
            }
        }
    }

    /// The services with all that they extend, and their texts filled in, except those of variables. What could not be is in their
    /// reports.
    pub(super) fn services(&self, draft: &mut Draft) -> Vec<Service> {
        let Some(services) = self.node.get("services") else { return Vec::new() };
        let mut found = Vec::new();
        for entry in services.entries().unwrap_or_default() {
            let resolved = extend::resolved(&entry.key, services, &self.directory, self.files, draft);
            let Some(resolved) = resolved.filter(|node| node.entries().is_some()) else {
                draft.note(format!("`services`: {} has no keys", quoted(&entry.key)));
                continue;
            };
            let resolved = scalars::as_texts(&resolved);
            let mut report = Report::default();
            let filled = interpolate::tree(&resolved, "", &self.variables, &mut report);
            let typed_image = resolved.get("image").and_then(Node::scalar).map(|scalar| scalar.text.clone());
            found.extend(filled.map(|node| Service { name: entry.key.clone(), node, typed_image, report }));
        }
        found
    }
}
