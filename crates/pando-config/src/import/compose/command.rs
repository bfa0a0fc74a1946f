//! `command` and `entrypoint`, whose words no shell reads, as a command line.

use super::Process;
use crate::diagnostic::quoted;
use crate::import::draft::Draft;
use crate::import::shell;
use crate::import::write::Out;
use crate::tree::Node;

/// The command line of a service, if it names one.
pub(super) fn line(service: &Node) -> Option<String> {
    let words = ["entrypoint", "command"].iter().filter_map(|key| service.get(key)).filter_map(shell::words);
    let words: Vec<String> = words.flatten().collect();
    let line = shell::line(&words);
    (!line.trim().is_empty() && !line.contains('\0')).then_some(line)
}

pub(super) fn carry_over(service: &Node, process: &mut Process, draft: &mut Draft) {
    let of = process.service.clone();
    for key in ["entrypoint", "command"] {
        match service.get(key).map(shell::words) {
            Some(None) => draft.left_out(key, &of, "it can't be taken apart into words"),
            Some(Some(words)) if words.iter().all(|word| word.trim().is_empty()) => {
                draft.left_out(key, &of, "it takes away what the image has, which Pando keeps");
            }
            Some(Some(_)) if key == "entrypoint" => draft.left_out(
                key,
                &of,
                "it is written in front of `command`, but the image's own `ENTRYPOINT` stays before both; if it has one that is in the \
                 way, build an image without",
            ),
            _ => {}
        }
    }
    let Some(line) = line(service) else { return };
    if let Some(port) = shell::fixed_port(&line) {
        draft.note(format!(
            "`command` of {}: it listens on port {port}; `port` says so to Pando",
            quoted(&of)
        ));
    }
    process.keys.push(("command".to_owned(), Out::text(line)));
}
