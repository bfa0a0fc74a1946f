//! `command` and `entrypoint`, whose words no shell reads, as a command line.

use super::Process;
use crate::import::draft::Draft;
use crate::import::shell;
use crate::import::write::Out;
use crate::tree::Node;

/// Of release commands that were entry points.
pub(super) const IMAGE_ENTRYPOINT_OF_RELEASE: &str = "`release`: an `entrypoint` is written in front of the command, but the image's own \
    `ENTRYPOINT` stays before both; if it has one that is in the way, build an image without";

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
    process.keys.push(("command".to_owned(), Out::text(line)));
}

/// The port that the command of a process names, where it has no other. Where it has one, a note says that they differ.
pub(super) fn port(process: &Process, draft: &mut Draft) -> Option<u16> {
    let line = process.keys.iter().find_map(|(key, value)| match value {
        Out::Text(line) if key == "command" => Some(line),
        _ => None,
    });
    let named: u16 = shell::fixed_port(line?)?.parse().ok()?;
    let given = process.keys.iter().find_map(|(key, value)| match value {
        Out::Raw(port) if key == "port" => port.parse::<u16>().ok(),
        _ => None,
    });
    match given {
        Some(given) if given != named => {
            draft.note(format!(
                "`command` of `{}`: it seems to listen on port {named}, but requests come to {given}: correct `port` if so",
                process.service
            ));
            None
        }
        Some(_) => None,
        None => Some(named),
    }
}
