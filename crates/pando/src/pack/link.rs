//! Where a symbolic link leads.

use std::path::{Component, Path};

/// Whether the link at `path` (relative to `root`) leads to something inside `root`, and would on any machine: by its words
/// alone, and through other links as far as they exist.
pub(super) fn stays_inside(path: &Path, target: &Path, root: &Path) -> bool {
    if !stays_by_words(path, target) {
        return false;
    }
    match root.join(path).canonicalize() {
        Ok(real) => real.starts_with(root),
        // It leads nowhere (yet); its words are all there is to judge by.
        Err(_) => true,
    }
}

fn stays_by_words(path: &Path, target: &Path) -> bool {
    let mut depth = path.components().count().saturating_sub(1);
    for component in target.components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            // The same place is elsewhere on a server.
            Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_tell_where_a_link_leads() {
        for (path, target, inside) in [
            ("a", "b", true),
            ("a/b", "../c", true),
            ("a/b", "../../c", false),
            ("a", "..", false),
            ("a", "./b/../c", true),
            ("a", "b/../../c", false),
            ("a", "/etc/passwd", false),
            ("a/b/c", "../../d/../e", true),
        ] {
            assert_eq!(stays_by_words(Path::new(path), Path::new(target)), inside, "{path} -> {target}");
        }
    }
}
