//! From a Procfile: its lines are the processes.

use std::path::Path;
use std::sync::Arc;

use super::draft::Draft;
use super::write::Out;
use super::{Imported, build, known, shell};
use crate::diagnostic::Problems;
use crate::procfile;
use crate::source::SourceFile;

pub(super) fn import(name: &str, text: &str, app: &str, base: &Path) -> Result<Imported, Problems> {
    let procfile = procfile::parse(Arc::new(SourceFile::new(name, text)));
    if procfile.problems.iter().any(crate::Problem::is_error) {
        return Err(Problems::new(procfile.problems));
    }
    let mut draft = Draft::new("a Procfile");
    for problem in procfile.problems {
        draft.note(format!("`processes`: {}", problem.message));
    }
    draft.name(None, app);
    draft.set_with(
        "The directory to run, seen from this file.",
        "source",
        Out::text(build::joined(base, ".")),
    );
    if let Some(release) = procfile.release {
        let comment = "Runs once per deployment, on one server, before any traffic moves.";
        draft.set_with(comment, "release", Out::text(release));
    }
    let processes: Vec<(String, String)> =
        procfile.processes.into_iter().map(|(name, command)| (name.to_string(), command)).collect();
    plain_processes(&processes, "Copied from the Procfile, which is not read any more.", &mut draft);
    Ok(draft.finish())
}

/// `processes` by name and command, with what goes with a `web` among them.
pub(super) fn plain_processes(processes: &[(String, String)], comment: &str, draft: &mut Draft) {
    let pair = |(name, command): &(String, String)| {
        let mut keys = vec![("command".to_owned(), Out::text(command.clone()))];
        if known::is_clock(name) {
            keys.push(("singleton".to_owned(), Out::Raw("true".to_owned())));
        }
        (name.clone(), Out::Map(keys))
    };
    draft.set_with(comment, "processes", Out::Map(processes.iter().map(pair).collect()));
    if processes.iter().any(|(name, _)| name == "web") {
        let comment = "A path that answers 200 when the app can serve. It gets requests only while it does.";
        draft.set_with(comment, "health_check_path", Out::text("/"));
        draft.offer(
            "How many replicas of `web` there are in all; without it, one on each server.",
            "replicas: 2",
        );
        draft.offer("The domains that it answers to.", "domains: [example.com]");
    }
    for (name, command) in processes {
        if let Some(port) = shell::fixed_port(command) {
            draft.note(format!(
                "`processes.{name}`: it listens on port {port}, but each replica is given its own: write `$PORT`"
            ));
        }
    }
}
