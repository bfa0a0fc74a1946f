//! Procfiles: one `name: command` a line.

use std::sync::Arc;

use pando_model::ProcessName;

use crate::diagnostic::{Problem, Sink, quoted};
use crate::source::{SourceFile, Span};
use crate::value::to_label;

/// What a Procfile says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Procfile {
    /// In its order; `release` is not among them.
    pub(crate) processes: Vec<(ProcessName, String)>,
    /// The command of its `release:` line.
    pub(crate) release: Option<String>,
    pub(crate) problems: Vec<Problem>,
}

pub(crate) fn parse(file: Arc<SourceFile>) -> Procfile {
    let mut sink = Sink::new(Arc::clone(&file));
    let mut procfile = Procfile::default();
    let mut start = 0;
    for line in file.text().split_inclusive('\n') {
        let typed = line.trim();
        let span = Span::new(start, start + line.trim_end().len());
        start += line.len();
        if !typed.is_empty() && !typed.starts_with('#') {
            take(typed, span, &mut procfile, &mut sink);
        }
    }
    if procfile.processes.is_empty() && !sink.has_errors() {
        sink.whole("the Procfile names no process", Some("write one a line: `web: bin/server`".to_owned()));
    }
    procfile.problems = sink.into_list();
    procfile
}

fn take(line: &str, span: Span, procfile: &mut Procfile, sink: &mut Sink) {
    let Some((typed, command)) = line.split_once(':').map(|(name, command)| (name.trim(), command.trim()))
    else {
        return sink.error_hint(span, "this line is not `name: command`", "a comment starts with `#`");
    };
    if command.is_empty() {
        return sink.error(span, format!("{} has no command", quoted(typed)));
    }
    if command.contains('\0') {
        return sink.error(span, "the command has a NUL character in it");
    }
    if typed == "release" {
        procfile.release = Some(command.to_owned());
        return;
    }
    let Ok(name) = ProcessName::new(to_label(typed)) else {
        return sink.error(span, format!("{} is not the name of a process", quoted(typed)));
    };
    if name.as_str() != typed {
        let hint = "names of processes have only a-z, 0-9 and `-`";
        sink.warn(span, format!("{} is called `{name}` here", quoted(typed)), hint);
    }
    if procfile.processes.iter().any(|(given, _)| *given == name) {
        return sink.error(span, format!("the process `{name}` is given twice"));
    }
    procfile.processes.push((name, command.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Procfile {
        parse(Arc::new(SourceFile::new("Procfile", text)))
    }

    #[test]
    fn lines_are_processes_and_release_is_not() {
        let procfile = parsed(
            "# what runs\nweb: bin/web -p $PORT\n\nrelease: bin/migrate\r\nslow_jobs: bin/work: all\n",
        );
        let names: Vec<(&str, &str)> =
            procfile.processes.iter().map(|(name, command)| (name.as_str(), command.as_str())).collect();
        assert_eq!(names, [("web", "bin/web -p $PORT"), ("slow-jobs", "bin/work: all")]);
        assert_eq!(procfile.release.as_deref(), Some("bin/migrate"));
        assert_eq!(procfile.problems.len(), 1, "the renamed process is a warning: {:?}", procfile.problems);
        assert!(!procfile.problems[0].is_error());
    }

    #[test]
    fn what_is_not_a_process_is_pointed_at() {
        let procfile = parsed("web bin/web\nweb:\nok: x\nok: y\n!!: z\n");
        let lines: Vec<usize> = procfile.problems.iter().map(|p| p.position().unwrap().line).collect();
        assert_eq!(lines, [1, 2, 4, 5]);
        assert!(parsed("# nothing\n").problems[0].is_error());
    }
}
