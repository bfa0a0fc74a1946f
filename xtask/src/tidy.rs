//! `tidy`: the rules of the house that neither the compiler nor clippy checks.
//!
//! Each rule is a function from files to findings, in a module of its own. This
//! one gathers the files, runs every rule and prints all findings at once.

mod crates;
mod files;
mod floors;
mod source;

#[cfg(test)]
mod tests;

use std::fmt;
use std::path::Path;

/// One broken rule, at one place.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    /// Counted from 1.
    pub(crate) line: usize,
    /// What is wrong, and what to do instead.
    pub(crate) message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// Prints every finding; fails if there is one.
pub(crate) fn run(root: &Path) -> anyhow::Result<()> {
    let files = files::read(root)?;
    let findings = check(&files);
    for finding in &findings {
        println!("{finding}");
    }
    anyhow::ensure!(findings.is_empty(), "tidy found {} to put right", counted(findings.len()));
    println!("tidy: {} files are in order", files.len());
    Ok(())
}

/// All findings in `files`, in the order of path and line.
fn check(files: &[files::File]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = files.iter().flat_map(source::check).collect();
    findings.extend(crates::check(files));
    findings.extend(files.iter().flat_map(floors::check));
    findings.sort();
    findings
}

fn counted(findings: usize) -> String {
    if findings == 1 { "1 place".to_owned() } else { format!("{findings} places") }
}
