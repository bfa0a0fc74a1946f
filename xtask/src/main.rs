//! Repository automation: `cargo run -p xtask -- COMMAND`.
//!
//! This file finds the repository and hands over to one module per command.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;

mod docs;
mod picture;
mod tidy;

const USAGE: &str = "usage: cargo run -p xtask -- COMMAND

  docs    write what is generated from the types (docs/reference); with --check only compare
  picture draw docs/demo.svg from a real run of the release build
  tidy    check the rules of the house that no other tool checks";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let result = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["docs"] => repository().and_then(|root| docs::docs(&root, false)),
        ["docs", "--check"] => repository().and_then(|root| docs::docs(&root, true)),
        ["picture"] => repository().and_then(|root| picture::picture(&root)),
        ["tidy"] => repository().and_then(|root| tidy::run(&root)),
        other => {
            eprintln!("xtask: unknown command `{}`\n{USAGE}", other.join(" "));
            return ExitCode::from(2);
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository: what cargo says when it runs this program, else where it was built.
fn repository() -> anyhow::Result<PathBuf> {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().map(Path::to_path_buf).context("xtask lives in the root of no repository")
}
