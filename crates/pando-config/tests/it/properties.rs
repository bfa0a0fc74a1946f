//! Whatever the bytes, there is an answer: a specification, or a problem with a place inside the file.

use pando_config::Problems;
use proptest::prelude::*;

use crate::{files_in, load_text};

const NAMES: [&str; 3] = ["pando.yaml", "pando.json", "pando.toml"];

fn check(name: &str, content: &[u8]) {
    let Err(problems) = load_text(name, content) else { return };
    assert!(problems.has_errors());
    // A file that is not text is shown with its bad bytes replaced, so that lines count alike.
    let text = String::from_utf8_lossy(content).into_owned();
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    check_places(&problems, text);
    let shown = problems.render(false);
    let harmless = |c: char| c == '\n' || !c.is_control();
    assert!(shown.chars().all(harmless), "{shown:?}");
    serde_json::to_string(&problems).unwrap();
}

fn check_places(problems: &Problems, text: &str) {
    let lines: Vec<&str> = text.split('\n').collect();
    for problem in problems {
        let place = problem.position().expect("a problem of the content has a place");
        let line = lines.get(place.line - 1).unwrap_or_else(|| panic!("line {} of {text:?}", place.line));
        let columns = line.chars().count() + 1;
        assert!((1..=columns).contains(&place.column), "column {} of {line:?} in {text:?}", place.column);
        assert!(place.column + place.length <= columns.max(place.column) + 1, "{place:?} of {line:?}");
    }
}

/// Pieces of right and wrong files, so that generated ones get far enough to be interesting.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "name",
        "image",
        "source",
        "replicas",
        "processes",
        "web",
        "env",
        "targets",
        "health",
        "domains",
        "value",
        ": ",
        ": ",
        ":",
        "\n",
        "\n",
        "\n  ",
        "\n    ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        ", ",
        "\"",
        "'",
        "#",
        "&a ",
        "*a",
        "<<: *a",
        "!t ",
        "|",
        ">",
        "---",
        "...",
        "\t",
        "a",
        "é",
        "😀",
        "1",
        "0.5",
        "true",
        "null",
        "~",
        "=",
        " = ",
        "[web]",
        "[[env]]",
        "%",
        "@",
        "`",
        "\\",
        "\u{0}",
        "\r\n",
        "\u{feff}",
        "? ",
        "/health",
        "org/a:1",
        "10%",
    ];
    prop_oneof![
        4 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{0,8}",
    ]
}

/// A right file with some bytes changed, removed or repeated.
fn mutated() -> impl Strategy<Value = (String, Vec<u8>)> {
    let mut files = files_in("haloy");
    files.extend(files_in("problems"));
    for name in NAMES {
        let extension = name.rsplit('.').next().unwrap();
        let content = std::fs::read(crate::fixtures(&format!("every-key.{extension}"))).unwrap();
        files.push((name.to_owned(), content));
    }
    let edit = (
        any::<prop::sample::Index>(),
        0usize..12,
        prop_oneof![piece().prop_map(String::into_bytes), any::<[u8; 1]>().prop_map(Vec::from)],
    );
    (proptest::sample::select(files), prop::collection::vec(edit, 1..6)).prop_map(
        |((name, mut content), edits)| {
            for (at, removed, inserted) in edits {
                let start = at.index(content.len() + 1);
                let end = (start + removed).min(content.len());
                content.splice(start..end, inserted);
            }
            (name, content)
        },
    )
}

/// Some thousand are done in a blink; `PROPTEST_CASES` asks for more.
pub(crate) fn cases() -> ProptestConfig {
    let config = ProptestConfig::default();
    ProptestConfig { cases: config.cases.max(2000), failure_persistence: None, ..config }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn any_bytes_have_an_answer(content in prop::collection::vec(any::<u8>(), 0..200)) {
        for name in NAMES {
            check(name, &content);
        }
    }

    #[test]
    fn any_pieces_have_an_answer(pieces in prop::collection::vec(piece(), 0..40)) {
        for name in NAMES {
            check(name, pieces.concat().as_bytes());
        }
    }

    #[test]
    fn any_change_of_a_file_has_an_answer((name, content) in mutated()) {
        check(&name, &content);
    }
}
