//! Every story in `tests/scenarios/*.story`, against the log that was reviewed (`*.golden`).
//!
//! `UPDATE_GOLDEN=1 cargo nextest run -p pando-plan scenarios` writes the logs anew.

use std::fs;
use std::path::Path;

use crate::script;

#[test]
fn stories_go_as_reviewed() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut differ = Vec::new();
    let mut stories: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    stories.retain(|path| path.extension().is_some_and(|extension| extension == "story"));
    stories.sort();
    assert!(stories.len() >= 12, "stories are missing: {stories:?}");
    for story in stories {
        println!("{}", story.display());
        let told = script::play(&fs::read_to_string(&story).unwrap());
        let golden = story.with_extension("golden");
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &told).unwrap();
        }
        if fs::read_to_string(&golden).unwrap_or_default() != told {
            differ.push(format!("{}\n{told}", story.display()));
        }
    }
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}
