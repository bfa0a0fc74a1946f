//! A hint for a subcommand that was mistyped in a way that looks like another word: letters in the wrong order, above all in short ones.

use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Command, Error};

/// So many slips: a letter too many, too few or another one, or two in the wrong order.
const SLIPS: usize = 1;

/// Adds what was meant, where clap has found nothing.
pub(super) fn suggest(mut refusal: Error, root: &Command, words: &[OsString]) -> Error {
    let has_hint = refusal.get(ContextKind::SuggestedSubcommand).is_some();
    if refusal.kind() != ErrorKind::InvalidSubcommand || has_hint {
        return refusal;
    }
    let Some(ContextValue::String(found)) = refusal.get(ContextKind::InvalidSubcommand) else {
        return refusal;
    };
    let near = nearest(found, parent(root, words, found));
    if !near.is_empty() {
        refusal.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(near));
    }
    refusal
}

/// The command whose subcommand the word would be.
fn parent<'a>(root: &'a Command, words: &[OsString], found: &str) -> &'a Command {
    let before = words.iter().skip(1).filter_map(|word| word.to_str()).take_while(|word| *word != found);
    before.fold(root, |command, word| command.find_subcommand(word).unwrap_or(command))
}

fn nearest(found: &str, command: &Command) -> Vec<String> {
    let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set()).map(Command::get_name);
    let near = shown.filter(|name| name.len() > 2 && strsim::damerau_levenshtein(name, found) <= SLIPS);
    near.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(words: &[&str]) -> String {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        super::super::parse(&words).unwrap_err().to_string()
    }

    #[test]
    fn what_was_meant_is_said() {
        for (words, expected) in [
            (["pando", "lb", "tpo"], "'top'"),
            (["pando", "lb", "tp"], "'top'"),
            (["pando", "lb", "stauts"], "'status'"),
            (["pando", "cert", "sl"], ""),
            (["pando", "lb", "xyz"], ""),
        ] {
            let said = said(&words);
            assert!(said.contains("unrecognized subcommand"), "{said}");
            assert_eq!(said.contains("tip: a similar subcommand exists"), !expected.is_empty(), "{said}");
            assert!(said.contains(expected), "{said}");
        }
        assert!(said(&["pando", "dve"]).contains("'dev'"));
    }
}
