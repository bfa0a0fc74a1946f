//! Rules for single files: calm length, nothing left for later, nothing that
//! belongs to the place where the file was written rather than to the product.

use super::Finding;
use super::files::File;

/// A Rust file longer than this should become several.
const MOST_LINES: usize = 600;

// Put together from halves, so that this file does not find itself.
const LATER: [&str; 3] = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX")];
const UNDONE: [&str; 2] = [concat!("to", "do!"), concat!("unimple", "mented!")];
const PLACE: &str = concat!("/wo", "rk/");
const TICKET: &str = concat!("iss", "ue");
const SKIPPED: &str = concat!("#[", "ignore");

pub(super) fn check(file: &File) -> Vec<Finding> {
    let mut findings: Vec<Finding> = file
        .lines()
        .flat_map(|(line, text)| check_line(file, text).map(move |message| (line, message)))
        .map(|(line, message)| Finding { path: file.path.clone(), line, message })
        .collect();
    let lines = file.text.lines().count();
    if file.is_rust() && lines > MOST_LINES {
        let message = format!("{lines} lines; at {MOST_LINES} at most a file stays calm: split it");
        findings.push(Finding { path: file.path.clone(), line: MOST_LINES + 1, message });
    }
    findings
}

fn check_line<'a>(file: &File, text: &'a str) -> impl Iterator<Item = String> + 'a {
    let later = LATER
        .into_iter()
        .filter(|word| has_word(text, word))
        .map(|word| format!("`{word}`: finish it now, or leave it out and say so in the documents"));
    let undone = UNDONE
        .into_iter()
        .filter(|word| has_word(text, word))
        .map(|word| format!("`{word}`: write what belongs here"));
    let place =
        text.contains(PLACE).then(|| format!("`{PLACE}` is a path of one machine, not of the product"));
    let ticket =
        mentions_ticket(text).then(|| "a ticket's number says nothing here: give the reason".to_owned());
    let skipped = (file.is_rust() && text.trim_start().starts_with(SKIPPED))
        .then(|| "a skipped test proves nothing: make it run, or take it out".to_owned());
    later.chain(undone).chain(place).chain(ticket).chain(skipped)
}

/// Whether `word` stands in `text` by itself, not as a part of a longer word.
fn has_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(start, found)| {
        let after = text.get(start + found.len()..).and_then(|text| text.chars().next());
        begins_word(text, start) && !after.is_some_and(is_part)
    })
}

/// The word for a ticket, then its number, with or without a `#`.
fn mentions_ticket(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.match_indices(TICKET).any(|(start, found)| {
        let rest = text.get(start + found.len()..).unwrap_or_default();
        let number = rest.trim_start_matches([' ', '#', '-', '_']);
        begins_word(&text, start)
            && number.len() < rest.len()
            && number.starts_with(|first: char| first.is_ascii_digit())
    })
}

fn begins_word(text: &str, start: usize) -> bool {
    !text.get(..start).and_then(|text| text.chars().next_back()).is_some_and(is_part)
}

fn is_part(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}
