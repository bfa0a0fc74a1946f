//! The binary: flags, commands, printing, wiring.
//!
//! What clusters are and do is decided in the other crates. Here words become
//! calls, answers become lines, and failures become exit codes.

mod cli;
mod commands;
mod context;
mod daemons;
mod exit;
mod follow;
mod image;
mod pack;
mod printer;
mod progress;
mod table;
mod terminal;
mod watch;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<OsString> = std::env::args_os().collect();
    // The parent of every replica starts with this; it must not carry more than it needs, nor have its words read by others.
    if words.get(1).is_some_and(|word| word == "shim") {
        let own: Vec<String> = words.iter().skip(2).map(|word| word.to_string_lossy().into_owned()).collect();
        return daemons::shim(&own);
    }
    match cli::parse(&words) {
        Ok(cli) => commands::run(cli),
        Err(refusal) => exit::of_words(&refusal, &words),
    }
}
