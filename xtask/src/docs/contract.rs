//! The promises that every runtime keeps, from the suite that checks them.
//!
//! A promise is a public function of the suite; what it promises is its doc
//! comment. The page is refused when a list of promises, the suite's own or
//! the tests', has lost one: what it says would not be checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, ensure};

const SUITE: &str = "crates/pando-runtime/src/contract.rs";
const TESTS: &str = "crates/pando-runtime/tests/it";

const HEAD: &str = "\
# What every runtime promises

<!-- Written by `cargo run -p xtask -- docs` from the suite that checks it. -->

A runtime runs an app's replicas on a server. There is more than one, and the rest of Pando does not know which it has: it relies on what stands here. Each promise is a
test of its name in `crates/pando-runtime/src/contract.rs`, and each runtime runs all of them in its own tests, the one for containers against a real engine.

";

/// What a runtime of the tests runs, for people.
const RUNS: &[(&str, &str)] = &[
    ("DockerRuntime", "containers, each held by the server's Docker engine"),
    ("MemoryRuntime", "nothing: runs that other tests play with"),
    ("ProcessRuntime", "plain processes, each under a shim"),
];

/// A function of the suite.
#[derive(Debug, PartialEq, Eq)]
struct Promise {
    name: String,
    text: String,
}

/// The page.
///
/// # Errors
/// When a promise is missing in what checks it, or a runtime has no word here.
pub(super) fn page(root: &Path) -> anyhow::Result<String> {
    let suite = read(&root.join(SUITE))?;
    let promises = promises(&suite)?;
    check_list(&promises, &called(&suite), SUITE)?;
    let tests = sources(&root.join(TESTS))?;
    let listing = tests.iter().find(|text| text.contains("macro_rules! promises"));
    let listing = listing.with_context(|| format!("no list of promises in {TESTS}"))?;
    check_list(&promises, &listed(listing), TESTS)?;
    write_page(&promises, &runtimes(&tests))
}

fn write_page(promises: &[Promise], runtimes: &BTreeSet<String>) -> anyhow::Result<String> {
    let known: BTreeMap<&str, &str> = RUNS.iter().copied().collect();
    let mut page = HEAD.to_owned();
    page.push_str("| runtime | what it runs |\n|---|---|\n");
    for runtime in runtimes {
        let runs =
            known.get(runtime.as_str()).with_context(|| format!("no word on {runtime} in {}", file!()))?;
        let _ = writeln!(page, "| `{runtime}` | {runs} |");
    }
    for Promise { name, text } in promises {
        let _ = write!(page, "\n## {}\n\n{text}\n\n`{name}`\n", sentence(name));
    }
    Ok(page)
}

/// `a_stop_ends_by_sigterm` is `A stop ends by SIGTERM`.
fn sentence(name: &str) -> String {
    let words = name.replace('_', " ").replace("sigterm", "SIGTERM").replace("sigkill", "SIGKILL");
    let mut letters = words.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// Each public function that takes a subject alone, with its doc comment.
fn promises(suite: &str) -> anyhow::Result<Vec<Promise>> {
    let mut found = Vec::new();
    let mut comment: Vec<&str> = Vec::new();
    for line in suite.lines() {
        if let Some(text) = line.strip_prefix("///") {
            comment.push(text.trim());
            continue;
        }
        if let Some(name) = promise_name(line) {
            ensure!(!comment.is_empty(), "`{name}` in {SUITE} does not say what it promises");
            found.push(Promise { name: name.to_owned(), text: comment.join(" ") });
        }
        comment.clear();
    }
    ensure!(!found.is_empty(), "{SUITE} has no promises");
    Ok(found)
}

fn promise_name(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub async fn ")?;
    let (name, rest) = rest.split_once("<S: Subject>(")?;
    let takes_one = rest.starts_with("subject: S)") || rest.starts_with("mut subject: S)");
    takes_one.then_some(name)
}

/// What the suite runs when it runs all.
fn called(suite: &str) -> BTreeSet<String> {
    let calls = suite.lines().filter_map(|line| line.trim().strip_suffix("(make()).await;"));
    calls.map(str::to_owned).collect()
}

/// The names of which the tests make a test each.
fn listed(tests: &str) -> BTreeSet<String> {
    let names = tests.lines().map(str::trim).filter_map(|line| line.strip_suffix(','));
    let is_name = |name: &&str| {
        name.contains('_') && name.chars().all(|letter| letter == '_' || letter.is_ascii_lowercase())
    };
    names.filter(is_name).map(str::to_owned).collect()
}

fn check_list(promises: &[Promise], list: &BTreeSet<String>, place: &str) -> anyhow::Result<()> {
    for Promise { name, .. } in promises {
        ensure!(
            list.contains(name),
            "the promise `{name}` is not in the list of {place}, which would not check it"
        );
    }
    Ok(())
}

/// The runtimes of the subjects for which tests are made.
fn runtimes(tests: &[String]) -> BTreeSet<String> {
    let subject = |line: &str| {
        let path = line.trim().split_once("promises!(")?.1.strip_suffix(");")?;
        path.rsplit("::").next().map(str::to_owned)
    };
    let subjects: BTreeSet<String> = tests.iter().flat_map(|text| text.lines()).filter_map(subject).collect();
    tests.iter().flat_map(|text| subjects.iter().filter_map(|name| runtime_of(text, name))).collect()
}

fn runtime_of(text: &str, subject: &str) -> Option<String> {
    let (_, body) = text.split_once(&format!("impl Subject for {subject} {{"))?;
    let (_, rest) = body.split_once("type Runtime = ")?;
    rest.split_once(';').map(|(name, _)| name.to_owned())
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| format!("can't read `{}`", path.display()))
}

/// Every file below.
fn sources(dir: &Path) -> anyhow::Result<Vec<String>> {
    let mut texts = Vec::new();
    let entries = fs::read_dir(dir).with_context(|| format!("can't read `{}`", dir.display()))?;
    for entry in entries {
        let path = entry?.path();
        match path.is_dir() {
            true => texts.extend(sources(&path)?),
            false => texts.push(read(&path)?),
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROMISED: &str = "/// A stop sends SIGTERM\n/// at once.\npub async fn a_stop_ends_by_sigterm<S: Subject>(mut subject: S) {\n";

    #[test]
    fn a_promise_is_its_name_and_its_comment() {
        let found = promises(PROMISED).unwrap();
        let text = "A stop sends SIGTERM at once.".to_owned();
        assert_eq!(found, [Promise { name: "a_stop_ends_by_sigterm".to_owned(), text }]);
        let page = write_page(&found, &["MemoryRuntime".to_owned()].into()).unwrap();
        assert!(
            page.ends_with(
                "## A stop ends by SIGTERM\n\nA stop sends SIGTERM at once.\n\n`a_stop_ends_by_sigterm`\n"
            ),
            "{page}"
        );
    }

    #[test]
    fn a_promise_that_says_nothing_or_that_nobody_checks_is_refused() {
        assert!(promises("pub async fn it_lasts<S: Subject>(subject: S) {\n").is_err());
        let found = promises(PROMISED).unwrap();
        assert!(check_list(&found, &called("    another(make()).await;\n"), SUITE).is_err());
        assert!(check_list(&found, &called("    a_stop_ends_by_sigterm(make()).await;\n"), SUITE).is_ok());
        assert!(check_list(&found, &listed("  a_stop_ends_by_sigterm,\n"), TESTS).is_ok());
        assert!(write_page(&found, &["OtherRuntime".to_owned()].into()).is_err());
    }

    #[test]
    fn runtimes_are_those_of_which_tests_are_made() {
        let tests = [
            "impl Subject for Mine {\n    type Runtime = MyRuntime;\n".to_owned(),
            "impl Subject for Other {\n    type Runtime = OtherRuntime;\n".to_owned(),
            "    super::promises!(super::Mine);\n".to_owned(),
        ];
        assert_eq!(runtimes(&tests), ["MyRuntime".to_owned()].into());
    }
}
