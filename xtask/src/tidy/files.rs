//! The repository's text files, read once for all rules.

use std::path::Path;

use anyhow::Context;

/// Built, generated or private directories; whatever else begins with a dot is left out too,
/// except what the project itself keeps under such a name.
const LEFT_OUT: [&str; 4] = ["target", "bin", "node_modules", "corpus"];
const DOTTED: [&str; 3] = [".ci", ".config", ".pandoignore"];

/// A text file. Bytes that are no UTF-8 make a file binary, and no concern of these rules.
#[derive(Debug)]
pub(crate) struct File {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    pub(crate) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// The lines with their numbers, counted from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// Every text file under `root`, in the order of their paths.
pub(crate) fn read(root: &Path) -> anyhow::Result<Vec<File>> {
    let mut files = Vec::new();
    read_directory(root, "", &mut files)?;
    files.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(files)
}

fn read_directory(directory: &Path, prefix: &str, files: &mut Vec<File>) -> anyhow::Result<()> {
    let entries = std::fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {}", directory.display()))?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let kind = entry.file_type().with_context(|| format!("looking at {}", entry.path().display()))?;
        let path = format!("{prefix}{name}");
        if kind.is_dir() && is_kept(&name) {
            read_directory(&entry.path(), &format!("{path}/"), files)?;
        } else if kind.is_file() && is_kept(&name) && !name.ends_with(".lock") {
            let bytes =
                std::fs::read(entry.path()).with_context(|| format!("reading {}", entry.path().display()))?;
            files.extend(String::from_utf8(bytes).ok().map(|text| File { path, text }));
        }
    }
    Ok(())
}

fn is_kept(name: &str) -> bool {
    !LEFT_OUT.contains(&name) && (!name.starts_with('.') || DOTTED.contains(&name))
}
