//! How a command ends: what is printed about a failure, and the exit code.
//!
//! 0 done; 1 the work failed; 2 the file or the words are wrong; 3 the cluster
//! can't be reached; 4 refused because it would do harm. 130: Ctrl-C.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::process::ExitCode;

use pando_api::{ClientError, ErrorBody};
use pando_config::Problems;
use pando_rt::error_chain::error_chain;
use serde::Serialize;
use serde_json::Value;

use crate::context::Context;
use crate::image::ImageTrouble;
use crate::printer::{Paint, Printer, Style};
use crate::words::counted;

pub(crate) const FAILED: u8 = 1;
pub(crate) const WRONG: u8 = 2;
pub(crate) const UNREACHABLE: u8 = 3;
pub(crate) const REFUSED: u8 = 4;
pub(crate) const INTERRUPTED: u8 = 130;

/// A failure that knows its exit code and what to do next.
///
/// As JSON it is the `error` of the documented `{"error": {…}}`.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Trouble {
    /// For programs, such as `unreachable`.
    code: String,
    /// What failed, where and why, in one sentence.
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    /// Whatever else a program may want to know.
    #[serde(flatten)]
    data: serde_json::Map<String, Value>,
    exit_code: u8,
}

impl Trouble {
    pub(crate) fn new(exit_code: u8, code: &str, message: impl Into<String>) -> Self {
        Self {
            code: code.to_owned(),
            message: message.into(),
            details: Vec::new(),
            hint: None,
            data: serde_json::Map::new(),
            exit_code,
        }
    }

    /// The words or the file are wrong.
    pub(crate) fn wrong(message: impl Into<String>) -> Self {
        Self::new(WRONG, "invalid", message)
    }

    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Lines below the message, printed as they are.
    #[must_use]
    pub(crate) fn details(mut self, details: Vec<String>) -> Self {
        self.details = details;
        self
    }

    /// A field for programs only.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: &impl Serialize) -> Self {
        // What can't be written as JSON is left out: the sentence says the same.
        if let Ok(value) = serde_json::to_value(value) {
            self.data.insert(name.to_owned(), value);
        }
        self
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// A field that [`Trouble::with`] gave it.
    pub(crate) fn field(&self, name: &str) -> Option<&Value> {
        self.data.get(name)
    }

    /// The lines below the message.
    pub(crate) fn details_text(&self) -> String {
        self.details.join("\n")
    }

    pub(crate) fn render(&self, paint: Paint) -> String {
        let mut out =
            format!("{} {}", paint.with(Style::Bad, "error:"), paint.with(Style::Bold, &self.message));
        for line in &self.details {
            out.push_str("\n  ");
            out.push_str(line);
        }
        if let Some(hint) = &self.hint {
            out.push_str(&format!("\n  {} {hint}", paint.with(Style::Hint, "help:")));
        }
        out
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Trouble {}

/// Prints what went wrong, once, and says the exit code.
pub(crate) fn report(error: &anyhow::Error, context: &Context) -> ExitCode {
    if is_closed_pipe(error) {
        return ExitCode::SUCCESS;
    }
    let printer = context.printer();
    if let Some(problems) = error.downcast_ref::<Problems>() {
        return of_problems(problems, context);
    }
    tell(&trouble_of(error, context), printer)
}

fn tell(trouble: &Trouble, printer: Printer) -> ExitCode {
    if printer.is_json() {
        // Whoever reads stdout has left; the exit code still speaks.
        let _ = printer.json(&serde_json::json!({ "error": trouble }));
    } else {
        printer.talk(trouble.render(printer.talk_paint()));
    }
    ExitCode::from(trouble.exit_code)
}

/// What went wrong, with its exit code, for a command that goes on nevertheless.
pub(crate) fn trouble_of(error: &anyhow::Error, context: &Context) -> Trouble {
    if let Some(problems) = error.downcast_ref::<Problems>() {
        return invalid_file(problems, context);
    }
    if let Some(trouble) = error.downcast_ref::<Trouble>() {
        return trouble.clone();
    }
    if let Some(error) = error.downcast_ref::<ClientError>() {
        return of_client(error, context);
    }
    let code = if error.is::<ImageTrouble>() { "image" } else { "failed" };
    Trouble::new(FAILED, code, error_chain(error.as_ref()))
}

/// What a call of the control plane came to.
fn of_client(error: &ClientError, context: &Context) -> Trouble {
    let code = match error {
        ClientError::Refused(body) => return of_refusal(error.exit_code(), body),
        ClientError::Address { .. } => "invalid",
        ClientError::Unreachable { .. } => "unreachable",
        ClientError::TimedOut { .. } => "timed_out",
        ClientError::Broken { .. } => "broken",
        ClientError::NotTls { .. } => "not_tls",
        ClientError::NotHttp { .. } => "not_http",
        ClientError::OtherCluster { .. } => "other_cluster",
        ClientError::OutOfTime { .. } => "out_of_time",
        ClientError::NotMember { .. } => "not_member",
        ClientError::Protocol { .. } => "protocol",
        ClientError::File { .. } => "file",
    };
    let trouble = Trouble::new(error.exit_code(), code, told(error));
    match error {
        ClientError::Unreachable { .. } | ClientError::TimedOut { .. } | ClientError::Broken { .. } => {
            trouble.hint(context.absence_hint())
        }
        ClientError::Protocol { .. } => {
            trouble.hint("is it Pando, and of the same version? `pando version` says this one's")
        }
        ClientError::OtherCluster { .. } => trouble.hint(
            "if the cluster was made anew, take its address from there again; if not, somebody answers in its place",
        ),
        _ => trouble,
    }
}

/// The failure and its root: what lies between are the layers of a library.
pub(crate) fn told(error: &ClientError) -> String {
    let source = match error {
        ClientError::Unreachable { source, .. } => source,
        // Their words say it all; what is below tells of handshakes.
        ClientError::NotTls { .. }
        | ClientError::NotHttp { .. }
        | ClientError::OtherCluster { .. }
        | ClientError::OutOfTime { .. }
        | ClientError::NotMember { .. } => return error.to_string(),
        _ => return error_chain(error),
    };
    let mut root: &dyn std::error::Error = source.as_ref();
    while let Some(source) = root.source() {
        root = source;
    }
    let root = root.to_string();
    // The number says nothing to people.
    let words = root.split(" (os error").next().unwrap_or(&root);
    format!("{error}: {}", words.to_lowercase())
}

fn of_refusal(exit_code: u8, body: &ErrorBody) -> Trouble {
    let code = serde_json::to_value(body.code).ok().and_then(|code| code.as_str().map(str::to_owned));
    let mut trouble = Trouble::new(exit_code, code.as_deref().unwrap_or("unknown"), body.message.clone())
        .details(body.details.clone());
    trouble.hint = body.hint.clone();
    trouble
}

fn of_problems(problems: &Problems, context: &Context) -> ExitCode {
    let (trouble, printer) = (invalid_file(problems, context), context.printer());
    if printer.is_json() {
        return tell(&trouble, printer);
    }
    printer.talk(problems.render(printer.talk_paint().is_coloured()));
    tell(&trouble, printer)
}

fn invalid_file(problems: &Problems, context: &Context) -> Trouble {
    let errors = problems.iter().filter(|problem| problem.is_error()).count();
    let file = problems.iter().next().map(|problem| problem.file().to_owned()).unwrap_or_default();
    let message = format!("{file} has {}", counted(errors as u64, "error"));
    let trouble = Trouble::new(WRONG, "invalid_file", message).with("problems", problems);
    match context.broken_file_hint() {
        Some(hint) => trouble.hint(hint),
        None => trouble,
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// Help and version that were asked for, and words that are wrong.
pub(crate) fn of_words(refusal: &clap::Error, words: &[OsString]) -> ExitCode {
    let wants_json = words.iter().any(|word| word == "--json");
    if refusal.use_stderr() && wants_json {
        let text = refusal.render().to_string();
        let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        let message = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let details = lines.map(str::to_owned).collect();
        let trouble = Trouble::new(WRONG, "invalid", message).details(details);
        println!("{}", serde_json::json!({ "error": trouble }));
        return ExitCode::from(WRONG);
    }
    // Nobody may be listening; the exit code still speaks.
    let _ = refusal.print();
    if refusal.use_stderr() { ExitCode::from(WRONG) } else { ExitCode::SUCCESS }
}
