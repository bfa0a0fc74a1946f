//! What every command says about itself, and that the reference says the same.

#[path = "../../../../../xtask/src/docs/cli.rs"]
mod reference;

use std::path::Path;

const PANDO: &str = env!("CARGO_BIN_EXE_pando");

#[test]
fn every_command_says_what_it_does_with_examples() {
    let helps = reference::helps(Path::new(PANDO)).unwrap();
    assert!(helps.len() >= 25, "{} commands", helps.len());
    for help in helps {
        let (words, text) = (help.words.join(" "), help.text);
        assert!(text.contains("Examples:\n  "), "`pando {words}` shows no example: {text}");
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(120), "`pando {words}`: {text}");
        let first = text.lines().next().unwrap();
        assert!(first.starts_with(char::is_uppercase), "`pando {words}`: {first}");
    }
}

/// The page is also the record of every help: a change of one is a change of the page.
#[test]
fn the_reference_of_the_command_line_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/cli.md");
    let written = std::fs::read_to_string(path).unwrap_or_default();
    let page = reference::page(Path::new(PANDO)).unwrap();
    let renew = "docs/reference/cli.md is out of date; `cargo run -p xtask -- docs` renews it";
    let differs = written.lines().zip(page.lines()).find(|(held, now)| held != now);
    assert!(written == page, "{renew}: {differs:?}");
}
