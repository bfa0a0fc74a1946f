//! Where the app's file is.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::exit::Trouble;

/// The names that are looked for.
const NAMES: [&str; 4] = ["pando.yaml", "pando.yml", "pando.json", "pando.toml"];

/// The file in this directory or the nearest one above.
pub(super) fn nearest() -> anyhow::Result<Option<PathBuf>> {
    let here =
        std::env::current_dir().context("the current directory can't be found; it may have been removed")?;
    nearest_from(&here)
}

/// With a path as short as it can be seen from `here`: `pando.yaml`, `../pando.yaml`.
fn nearest_from(here: &Path) -> anyhow::Result<Option<PathBuf>> {
    let mut seen_from_here = PathBuf::new();
    for directory in here.ancestors() {
        let there: Vec<&str> = NAMES.into_iter().filter(|name| directory.join(name).is_file()).collect();
        match there[..] {
            [] => {}
            [name] => return Ok(Some(seen_from_here.join(name))),
            [first, second, ..] => {
                let message = format!("both `{first}` and `{second}` are in {}", directory.display());
                return Err(Trouble::wrong(message).hint("say which with `-c FILE`, or remove one").into());
            }
        }
        seen_from_here.push("..");
    }
    Ok(None)
}

/// The directory that a file is in, never empty.
pub(super) fn directory_of(file: &Path) -> PathBuf {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

pub(super) fn missing() -> Trouble {
    Trouble::new(crate::exit::WRONG, "no_file", "there is no pando.yaml here or in a directory above")
        .hint("`pando init` writes one; `-c FILE` names another")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn the_nearest_file_is_found_upwards() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b");
        fs::create_dir_all(&deep).unwrap();
        fs::write(root.path().join("pando.toml"), "").unwrap();
        assert_eq!(nearest_from(&deep).unwrap(), Some(PathBuf::from("../../pando.toml")));
        fs::write(deep.join("pando.yml"), "").unwrap();
        assert_eq!(nearest_from(&deep).unwrap(), Some(PathBuf::from("pando.yml")));
        fs::write(deep.join("pando.json"), "").unwrap();
        let error = nearest_from(&deep).unwrap_err();
        assert!(error.to_string().contains("both `pando.yml` and `pando.json`"), "{error}");
    }

    #[test]
    fn the_directory_of_a_file_is_never_empty() {
        assert_eq!(directory_of(Path::new("pando.yaml")), Path::new("."));
        assert_eq!(directory_of(Path::new("../pando.yaml")), Path::new(".."));
    }
}
