//! Looks at what a builder would get, before it gets it.

use std::io;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use pando_config::Build;

use super::ImageTrouble;

/// Where `pando dev` keeps a cluster, its keys included. One `COPY . .` would put them into the image.
const KEYS: &str = ".pando";

/// Blocks.
///
/// # Errors
/// Files are missing, or keys would go along.
pub(super) fn check(build: &Build) -> Result<(), ImageTrouble> {
    if !build.context.is_dir() {
        return Err(ImageTrouble::NoContext(build.context.display().to_string()));
    }
    if !build.dockerfile.is_file() {
        return Err(ImageTrouble::NoDockerfile(build.dockerfile.display().to_string()));
    }
    // BuildKit prefers the one beside the Dockerfile, and other builders don't know it: each has to leave the keys out.
    let general = build.context.join(".dockerignore");
    let mut own = build.dockerfile.clone().into_os_string();
    own.push(".dockerignore");
    let own = Some(PathBuf::from(own)).filter(|own| own.is_file());
    for file in [general].into_iter().chain(own) {
        let patterns = patterns(&build.context, &file).map_err(ImageTrouble::Builder)?;
        if let Some(keys) = keys_in(&build.context, &patterns) {
            let (keys, file) = (keys.display().to_string(), file.display().to_string());
            return Err(ImageTrouble::Keys { keys, file });
        }
    }
    Ok(())
}

/// What is left out. Unlike in `.gitignore`, each pattern begins at the context.
fn patterns(context: &Path, file: &Path) -> io::Result<Gitignore> {
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        text => text?,
    };
    let mut builder = GitignoreBuilder::new(context);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        let (not, pattern) = line.strip_prefix('!').map_or(("", line), |pattern| ("!", pattern.trim()));
        let pattern = pattern.trim_start_matches("./").trim_start_matches('/');
        if !pattern.is_empty() {
            // One that is no pattern is the builder's to refuse.
            let _ = builder.add_line(None, &format!("{not}/{pattern}"));
        }
    }
    builder.build().map_err(io::Error::other)
}

/// The first folder with keys that is not left out, seen from the context.
fn keys_in(context: &Path, patterns: &Gitignore) -> Option<PathBuf> {
    // Where something is taken in again, it may lie in a folder that is left out.
    let leaves_out = (patterns.num_whitelists() == 0).then(|| patterns.clone());
    let mut walk = WalkBuilder::new(context);
    walk.standard_filters(false).follow_links(false).filter_entry(move |entry| {
        let left_out = |patterns: &Gitignore| patterns.matched(entry.path(), true).is_ignore();
        entry.file_type().is_some_and(|kind| kind.is_dir()) && !leaves_out.as_ref().is_some_and(left_out)
    });
    // What can't be looked into can't be sent either.
    let folders = walk.build().filter_map(Result::ok);
    let mut keys = folders.filter(|entry| entry.depth() > 0 && entry.file_name() == KEYS);
    let found = keys.find(|entry| {
        let inside = entry.path().join("context.json");
        !patterns.matched_path_or_any_parents(inside, false).is_ignore()
    })?;
    found.path().strip_prefix(context).ok().map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;

    /// What is said of a context with `.pando` and `app/.pando`, and this `.dockerignore`.
    fn said(ignored: &str) -> String {
        let root = tempfile::tempdir().unwrap();
        for folder in [".pando", "app/.pando"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
            fs::write(root.path().join(folder).join("context.json"), "{}").unwrap();
        }
        fs::write(root.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        fs::write(root.path().join(".dockerignore"), ignored).unwrap();
        match check(&build(root.path())) {
            Ok(()) => String::new(),
            Err(ImageTrouble::Keys { keys, .. }) => keys,
            Err(error) => panic!("{error}"),
        }
    }

    fn build(context: &Path) -> Build {
        Build {
            context: context.to_owned(),
            dockerfile: context.join("Dockerfile"),
            args: BTreeMap::new(),
            target: None,
        }
    }

    #[test]
    fn keys_do_not_go_along() {
        for without in
            ["", "node_modules\n# .pando\n", ".git\n", "*\n!.pando\n!app\n", "*\n!app/.pando\n", "x/.pando\n"]
        {
            assert_ne!(said(without), "", "{without:?}");
        }
        for with in [
            "**/.pando\n",
            "*\n!src\n",
            ".pando\napp/.pando\n",
            "/.pando/\n./app\n",
            ".*\napp/.*\n",
            "**/.pando/**\n",
        ] {
            assert_eq!(said(with), "", "{with:?}");
        }
        assert_eq!(said(".pando\n"), "app/.pando", "patterns begin at the context");
    }

    #[test]
    fn the_list_beside_the_dockerfile_has_to_leave_them_out_too() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join(".pando")).unwrap();
        fs::write(root.path().join("Dockerfile"), "FROM scratch\n").unwrap();
        fs::write(root.path().join(".dockerignore"), ".pando").unwrap();
        assert!(check(&build(root.path())).is_ok());
        fs::write(root.path().join("Dockerfile.dockerignore"), "tmp").unwrap();
        let error = check(&build(root.path())).unwrap_err().to_string();
        assert!(error.contains("Dockerfile.dockerignore`"), "{error}");
    }

    #[test]
    fn what_is_missing_is_named() {
        let root = tempfile::tempdir().unwrap();
        let said = |build: &Build| check(build).unwrap_err().to_string();
        assert!(said(&build(root.path())).contains("there is no file"), "{}", said(&build(root.path())));
        let nowhere = build(&root.path().join("nowhere"));
        assert!(said(&nowhere).contains("there is no directory"), "{}", said(&nowhere));
    }
}
