//! The files that make up a project: each read once, within bounds, and told again by the places of its values.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Problems, Sink};
use crate::files::{Files, LARGEST_FILE};
use crate::import::draft::{Draft, plain};
use crate::import::{parsed_source, text_of};
use crate::read::Dialect;
use crate::source::{SourceFile, Span};
use crate::tree::Node;

/// In all files of a project, each as often as it is taken in. Those of people stay far below; two thousand services have half.
const MOST_VALUES: usize = 50_000;
const MOST_FILES: usize = 100;

pub(super) struct Reader<'a> {
    pub(super) files: &'a dyn Files,
    /// What the project may read without a word.
    root: PathBuf,
    /// Each file with the number at which its places begin: no two values of different files have the same.
    starts: Vec<(usize, Arc<SourceFile>)>,
    trees: BTreeMap<PathBuf, Arc<Node>>,
    values: usize,
}

impl<'a> Reader<'a> {
    /// `root`: the project's directory.
    pub(super) fn new(files: &'a dyn Files, root: &Path) -> Self {
        let root = files.resolved(root);
        Self { files, root, starts: Vec::new(), trees: BTreeMap::new(), values: 0 }
    }

    /// The tree of a file that was read before.
    pub(super) fn known(&self, path: &Path) -> Option<Arc<Node>> {
        self.trees.get(path).cloned()
    }

    pub(super) fn keep(&mut self, path: &Path, tree: Node) -> Arc<Node> {
        let tree = Arc::new(tree);
        self.trees.insert(path.to_owned(), Arc::clone(&tree));
        tree
    }

    /// The tree of a compose file, from the disk.
    pub(super) fn tree(&mut self, path: &Path) -> Result<Node, Problems> {
        let source = text_of(path, self.files)?;
        if self.starts.len() >= MOST_FILES {
            let reason = format!("a project has at most {MOST_FILES} files, and this is one more");
            return Err(of_whole(
                source,
                &reason,
                "let `docker compose config --no-interpolate` write it as one file, and import that",
            ));
        }
        let tree = parsed_source(Dialect::Compose, path, Arc::clone(&source))?;
        let start = self.starts.last().map_or(0, |(start, file)| start + file.text().len() + 1);
        self.starts.push((start, source));
        let tree = tree.moved(start);
        self.count(&tree)?;
        Ok(tree)
    }

    /// Takes the values of `node` for some that are there once more.
    pub(super) fn count(&mut self, node: &Node) -> Result<(), Problems> {
        self.values += node.size();
        if self.values > MOST_VALUES {
            let hint = "it looks generated: import the services that are one app, from a file of their own";
            return Err(self.error(
                node.span,
                &format!("there are more than {MOST_VALUES} values in all"),
                hint,
            ));
        }
        Ok(())
    }

    /// The text of a file that is none of Compose's, or why it has none.
    pub(super) fn text(&self, path: &Path) -> Result<String, String> {
        let bytes = self.files.read(path).map_err(|error| error.to_string())?;
        if bytes.len() > LARGEST_FILE {
            return Err("it is larger than 1 MiB".to_owned());
        }
        let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
        Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
    }

    /// Whether there is nothing at `path`.
    pub(super) fn is_missing(&self, path: &Path) -> bool {
        self.files.read(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound)
    }

    /// Says so where a file that is read lies outside of the project's directory. `key`: what names it.
    pub(super) fn tell_outside(&self, path: &Path, key: &str, span: Span, draft: &mut Draft) {
        if !self.files.resolved(path).starts_with(&self.root) {
            draft.note(format!(
                "`{key}` ({}): `{}` lies outside of the project's directory, and was read from there",
                self.place(span),
                plain(&path.display().to_string())
            ));
        }
    }

    /// `compose.yaml:12`.
    pub(super) fn place(&self, span: Span) -> String {
        match self.source(span) {
            Some((file, span)) => format!("{}:{}", plain(file.name()), file.position(span).line),
            None => String::new(),
        }
    }

    /// What stands there in its file.
    pub(super) fn typed(&self, span: Span) -> Option<&str> {
        let (file, span) = self.source(span)?;
        file.text().get(span.start..span.end)
    }

    pub(super) fn error(&self, span: Span, reason: &str, hint: &str) -> Problems {
        match self.source(span) {
            Some((file, span)) => {
                let mut sink = Sink::new(Arc::clone(file));
                sink.error_hint(span, reason, hint);
                sink.into_problems()
            }
            None => of_whole(Arc::new(SourceFile::new("", "")), reason, hint),
        }
    }

    /// The file that a value is from, and where it is there.
    fn source(&self, span: Span) -> Option<(&Arc<SourceFile>, Span)> {
        let after = self.starts.partition_point(|(start, _)| *start <= span.start);
        let (start, file) = self.starts.get(after.checked_sub(1)?)?;
        Some((file, Span::new(span.start - start, span.end.saturating_sub(*start))))
    }
}

fn of_whole(file: Arc<SourceFile>, reason: &str, hint: &str) -> Problems {
    let mut sink = Sink::new(file);
    sink.whole(reason, Some(hint.to_owned()));
    sink.into_problems()
}
