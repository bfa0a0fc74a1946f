//! Each rule finds what it forbids, where it is, and leaves the rest alone.

use super::files::File;
use super::{Finding, check, files, floors};

fn findings(path: &str, text: &str) -> Vec<Finding> {
    check(&[File { path: path.to_owned(), text: text.to_owned() }])
}

/// One finding at this line, whose message has these words.
#[track_caller]
fn check_finds(path: &str, text: &str, line: usize, words: &str) {
    let found = findings(path, text);
    assert!(found.len() == 1 && found[0].line == line && found[0].message.contains(words), "{found:?}");
}

#[track_caller]
fn check_accepts(path: &str, text: &str) {
    assert_eq!(findings(path, text), []);
}

#[test]
fn words_that_belong_to_no_product() {
    for word in [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")] {
        check_finds("docs/a.md", &format!("fine\nhere: {word}: later\n"), 2, "finish it now");
    }
    for word in [concat!("to", "do!"), concat!("unimple", "mented!")] {
        check_finds("crates/a/src/b.rs", &format!("fn f() {{\n    {word}()\n}}\n"), 2, "write what belongs");
    }
    check_finds("script/a", concat!("cd /wo", "rk/here\n"), 1, "path of one machine");
    for text in [concat!("see iss", "ue 12"), concat!("Iss", "ue #3 "), concat!("iss", "ue-4")] {
        check_finds("README.md", text, 1, "ticket");
    }
    check_accepts(
        "docs/a.md",
        "mktemp XXXXXX, TODOS, issue a token, issues, tissue 3 layers, /workspace/a\n",
    );
}

#[test]
fn a_skipped_test() {
    let text = concat!("#[test]\n    #[", "ignore = \"slow\"]\nfn f() {}\n");
    check_finds("crates/a/src/b.rs", text, 2, "skipped test");
    check_accepts("docs/a.md", text);
}

#[test]
fn a_file_that_is_too_long() {
    check_accepts("crates/a/src/b.rs", &"\n".repeat(600));
    check_finds("crates/a/src/b.rs", &"\n".repeat(601), 601, "601 lines");
    check_accepts("docs/a.md", &"\n".repeat(601));
}

fn manifest(name: &str, rest: &str) -> File {
    let text = format!("[package]\nname = \"{name}\"\n{rest}");
    File { path: "crates/pando-proxy/Cargo.toml".to_owned(), text }
}

fn root(text: &str) -> File {
    File { path: "crates/pando-proxy/src/lib.rs".to_owned(), text: text.to_owned() }
}

#[test]
fn a_crate_has_its_folder_s_name_and_says_what_it_is_for() {
    let good = "//! The data plane.\n";
    assert_eq!(check(&[manifest("pando-proxy", ""), root(good)]), []);
    assert_eq!(check(&[manifest("pando-proxy", ""), root(&format!("#![allow(x)]\n\n{good}"))]), []);

    let misnamed = check(&[manifest("pando-door", ""), root(good)]);
    assert!(misnamed.len() == 1 && misnamed[0].line == 2, "{misnamed:?}");
    assert!(misnamed[0].message.contains("`pando-door` but its folder is `pando-proxy`"), "{misnamed:?}");

    for silent in ["pub fn f() {}\n", "//!\n", ""] {
        let found = check(&[manifest("pando-proxy", ""), root(silent)]);
        assert!(found.len() == 1 && found[0].message.contains("`//!` paragraph"), "{silent:?}: {found:?}");
    }
    let rootless = check(&[manifest("pando-proxy", "")]);
    assert!(rootless.len() == 1 && rootless[0].message.contains("no src/lib.rs"), "{rootless:?}");
}

#[test]
fn arrows_point_down_to_allowed_crates_only() {
    let arrow = |rest: &str| {
        let files = [manifest("pando-proxy", rest), root("//! The data plane.\n")];
        check(&files).into_iter().map(|finding| (finding.line, finding.message)).collect::<Vec<_>>()
    };
    let good = "[dependencies]\npando-rt.workspace = true\nserde.workspace = true\n[dev-dependencies]\npando-control.workspace = true\n";
    assert_eq!(arrow(good), []);
    for (rest, line, words) in [
        ("[dependencies]\npando-control.workspace = true\n", 4, "goes up"),
        ("[dependencies]\n\npando-plan = { workspace = true }\n", 5, "goes sideways"),
        ("[dependencies]\npando-model.workspace = true\n", 4, "a new arrow is a decision"),
        ("[dependencies]\npando-magic.workspace = true\n", 4, "stands on no floor"),
        ("[build-dependencies]\npando.workspace = true\n", 4, "goes up"),
        ("[dependencies.pando-agent]\nworkspace = true\n", 3, "goes up"),
        ("[target.'cfg(unix)'.dependencies]\npando-agent.workspace = true\n", 4, "goes up"),
        ("[dependencies]\nhelper = { package = \"pando-agent\", path = \"../a\" }\n", 4, "goes up"),
    ] {
        let found = arrow(rest);
        assert!(found.len() == 1 && found[0].0 == line && found[0].1.contains(words), "{rest}: {found:?}");
    }
    assert!(arrow("[dependencies\n")[0].1.contains("not readable as TOML"));
}

#[test]
fn a_crate_on_no_floor_is_named() {
    check_finds("crates/pando-x/Cargo.toml.md", concat!("TO", "DO"), 1, "finish");
    let files = [
        File { path: "crates/pando-x/Cargo.toml".into(), text: "[package]\nname = \"pando-x\"\n".into() },
        File { path: "crates/pando-x/src/lib.rs".into(), text: "//! Something.\n".into() },
    ];
    let found = check(&files);
    assert!(found.len() == 1 && found[0].message.contains("stands on no floor"), "{found:?}");
}

#[test]
fn the_table_itself_points_down() {
    for from in floors::CRATES {
        for name in from.allowed {
            let to = floors::find(name).expect("every allowed crate is in the table");
            assert!(to.floor < from.floor, "{} -> {name}", from.name);
        }
    }
}

#[test]
fn pure_crates_only_compute() {
    let impure = "fn f() {\n    let now = Timestamp::now();\n}\n";
    check_finds("crates/pando-plan/src/drain.rs", impure, 2, "take it as an argument");
    check_accepts("crates/pando-plan/src/drain/tests.rs", impure);
    check_accepts("crates/pando-plan/src/drain.rs", "// Timestamp::now() is not for us\n");
    check_accepts("crates/pando-rt/src/clock.rs", impure);
    check_finds("crates/pando-plan/src/drain.rs", "    clock.awaited_by(step).await?;\n", 1, "`.await`");
    check_accepts("crates/pando-plan/src/drain.rs", "    let awaited = app.awaited_by(step);\n");
}

#[test]
fn reads_what_is_the_project_s_and_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    for path in ["a.md", ".ci/run", "src/b.rs", "target/c.rs", ".git/d", "examples/bin/e", "Cargo.lock"] {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "text").unwrap();
    }
    std::fs::write(root.path().join("picture.png"), [0xff, 0xfe]).unwrap();
    let read: Vec<String> = files::read(root.path()).unwrap().into_iter().map(|file| file.path).collect();
    assert_eq!(read, [".ci/run", "a.md", "src/b.rs"]);
}

#[test]
fn a_planted_violation_fails_the_run() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("notes.md"), "all is well\n").unwrap();
    super::run(root.path()).unwrap();
    std::fs::write(root.path().join("notes.md"), concat!("TO", "DO\n")).unwrap();
    let error = super::run(root.path()).unwrap_err();
    assert_eq!(error.to_string(), "tidy found 1 place to put right");
}
