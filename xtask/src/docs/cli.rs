//! The reference of the command line, from what the built binary says of itself.
//!
//! It asks `--help` of every command that a help lists, so that a new command is
//! in the page without a word here. The tests of `pando` include this file to
//! compare the page with the binary at hand.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

const HEAD: &str = "\
# The command line

<!-- Generated from the program: `cargo run -p xtask -- docs` renews it. -->

Data goes to stdout, talk to stderr. Every command takes the options of `pando` itself below *Everywhere*, and says what it does
with `--help`.

| command | what it does |
|---|---|
";

/// More than this, and the program says that it is its own command.
const DEEPEST: usize = 4;

/// A command and what it says about itself.
pub(crate) struct Help {
    /// As typed after `pando`; empty for `pando` itself.
    pub(crate) words: Vec<String>,
    pub(crate) text: String,
}

/// Every command, each before those below it, in the order of the help that lists them.
pub(crate) fn helps(pando: &Path) -> anyhow::Result<Vec<Help>> {
    let mut helps = Vec::new();
    walk(pando, &[], &mut helps)?;
    ensure!(helps.len() > 1, "`{} --help` lists no commands", pando.display());
    Ok(helps)
}

fn walk(pando: &Path, words: &[String], helps: &mut Vec<Help>) -> anyhow::Result<()> {
    ensure!(words.len() <= DEEPEST, "`pando {}` is nested too deep", words.join(" "));
    let text = ask(pando, words)?;
    let below: Vec<String> = section(&text, "Commands:").filter_map(command_name).collect();
    helps.push(Help { words: words.to_vec(), text });
    for name in below {
        let words: Vec<String> = words.iter().cloned().chain([name]).collect();
        walk(pando, &words, helps)?;
    }
    Ok(())
}

/// In an environment that changes nothing of what is said.
fn ask(pando: &Path, words: &[String]) -> anyhow::Result<String> {
    let output = Command::new(pando).args(words).arg("--help").env_clear().output();
    let output = output.with_context(|| format!("can't run `{}`; is it built?", pando.display()))?;
    if !output.status.success() || !output.stderr.is_empty() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("`pando {} --help` ended with {}: {stderr}", words.join(" "), output.status);
    }
    String::from_utf8(output.stdout).context("a help is not UTF-8")
}

/// The lines of a section, up to the next empty one.
fn section<'a>(text: &'a str, head: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().skip_while(move |line| *line != head).skip(1).take_while(|line| !line.is_empty())
}

/// `None` for the second line of what a command does.
fn command_name(line: &str) -> Option<String> {
    let name = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' '))?;
    name.split_whitespace().next().map(str::to_owned)
}

/// The page.
pub(crate) fn page(pando: &Path) -> anyhow::Result<String> {
    let helps = helps(pando)?;
    let mut page = HEAD.to_owned();
    for help in &helps {
        let name = name(help);
        let link = name.replace(' ', "-");
        let _ = writeln!(page, "| [`{name}`](#{link}) | {} |", about(help).replace('|', "\\|"));
    }
    for help in &helps {
        let _ = write!(page, "\n## {}\n\n{}.\n\n```text\n{}\n```\n", name(help), about(help), body(help));
    }
    Ok(page)
}

fn name(help: &Help) -> String {
    ["pando"].into_iter().chain(help.words.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
}

/// The first sentence, however many lines it takes.
fn about(help: &Help) -> String {
    let lines: Vec<&str> = help.text.lines().take_while(|line| !line.is_empty()).collect();
    lines.join(" ").trim_end_matches('.').to_owned()
}

/// The rest; without what every command takes, which stands once, at `pando`.
fn body(help: &Help) -> String {
    let is_everywhere = |part: &&str| !help.words.is_empty() && part.trim_start().starts_with("Everywhere:");
    let mut parts: Vec<&str> = Vec::new();
    let mut in_everywhere = false;
    for part in help.text.split("\n\n").skip(1) {
        // Options that are told at length have empty lines between them, and are indented.
        in_everywhere = is_everywhere(&part) || (in_everywhere && part.starts_with("  "));
        if !in_everywhere {
            parts.push(part);
        }
    }
    let text = parts.join("\n\n");
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned()
}
