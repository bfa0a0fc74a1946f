//! The crate as its callers see it.

#![allow(clippy::unwrap_used, reason = "what a test can not go on without fails it")]

mod examples;
mod formats;
mod import;
mod import_compose;
mod import_compose_details;
mod import_compose_files;
mod import_compose_keys;
mod import_compose_refused;
mod import_kamal;
mod problems;
mod properties;
mod reference;
mod traffic;

use std::path::{Path, PathBuf};

use pando_config::{Files, Loaded, MemoryFiles, Problems, load};

fn fixtures(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder)
}

/// What a directory would be in which everything is there that the file speaks of.
struct Whole(String);

impl Files for Whole {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        match path.file_name().and_then(|name| name.to_str()) {
            Some("pando.yaml") => Ok(self.0.clone().into_bytes()),
            Some("Procfile") => Err(std::io::ErrorKind::NotFound.into()),
            _ => Ok(Vec::new()),
        }
    }

    fn is_dir(&self, _: &Path) -> bool {
        true
    }

    fn resolved(&self, path: &Path) -> std::path::PathBuf {
        path.to_owned()
    }
}

/// The files of a folder by name, in order.
fn files_in(folder: &str) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(fixtures(folder)).unwrap();
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// What the file `name` with `content` comes to, alone in its directory.
fn load_text(name: &str, content: impl Into<Vec<u8>>) -> Result<Loaded, Problems> {
    let files = MemoryFiles::default().with(name, content).with("Dockerfile", "");
    load(Path::new(name), None, &files)
}
