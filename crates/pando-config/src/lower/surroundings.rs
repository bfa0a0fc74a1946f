//! What lies beside the file: its directory and its Procfile.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::diagnostic::{Problem, Sink};
use crate::files::Files;
use crate::procfile::{self, Procfile};
use crate::read;
use crate::source::SourceFile;

/// What a specification may refer to outside its own file.
#[derive(Clone)]
pub(crate) struct Surroundings<'a> {
    files: &'a dyn Files,
    /// The directory that the file is in.
    pub(crate) directory: PathBuf,
    /// `None`: there is none.
    pub(crate) procfile: Option<Procfile>,
}

impl<'a> Surroundings<'a> {
    pub(crate) fn of(file: &Path, files: &'a dyn Files) -> Self {
        let directory = file.parent().unwrap_or(Path::new("")).to_owned();
        let procfile = read_procfile(&directory.join("Procfile"), files);
        Self { files, directory, procfile }
    }

    pub(crate) fn is_dir(&self, path: &Path) -> bool {
        self.files.is_dir(path)
    }

    /// A file, relative to that directory; see [`Files::read`].
    pub(crate) fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        self.files.read(&self.directory.join(path))
    }

    /// A file by a path that leads there from where the file's own path was given.
    pub(crate) fn read_at(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        let plain: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
        self.files.read(&plain)
    }

    /// Those of the Procfile; empty without one.
    pub(crate) fn procfile_problems(&self) -> Vec<Problem> {
        self.procfile.as_ref().map(|procfile| procfile.problems.clone()).unwrap_or_default()
    }
}

fn read_procfile(path: &Path, files: &dyn Files) -> Option<Procfile> {
    let name = path.display().to_string();
    let failed = |problems| Some(Procfile { problems, ..Procfile::default() });
    match files.read(path) {
        Ok(bytes) => match read::text(&name, &bytes) {
            Ok(file) => Some(procfile::parse(file)),
            Err(problems) => failed(problems.into_iter().collect()),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => {
            let mut sink = Sink::new(Arc::new(SourceFile::new(name, "")));
            sink.whole(format!("the file can't be read: {error}"), None);
            failed(sink.into_list())
        }
    }
}
