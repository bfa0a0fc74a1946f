//! `pando check`: is the file right, and what would break on a second server?

use std::process::ExitCode;

use pando_config::Target;
use serde_json::json;

use crate::cli::CheckArgs;
use crate::context::{Context, shown};
use crate::exit::WRONG;
use crate::printer::Style;

pub(crate) fn run(args: &CheckArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let loaded = context.load(args.target.as_deref())?;
    let printer = context.printer();
    let targets: Vec<&Target> = if loaded.targets.is_empty() {
        loaded.base.iter().collect()
    } else {
        loaded.targets.iter().collect()
    };
    let found = targets.iter().fold(loaded.warnings.clone(), |found, target| {
        found.and(target.unsupported.clone()).and(target.advice.clone())
    });
    let refused = found.has_errors();
    if printer.is_json() {
        printer.json(&json!({ "file": shown(&context.file()?), "name": loaded.name, "valid": !refused, "problems": found }))?;
    } else {
        if !found.is_empty() {
            printer.talk(found.render(printer.talk_paint().is_coloured()));
        }
        let verdict = match (refused, found.len()) {
            (true, _) => printer.paint().with(Style::Bad, "this version can't deploy it as it stands"),
            (false, 0) => printer.paint().with(Style::Good, "all is well"),
            (false, _) => "it can be deployed; see the warnings".to_owned(),
        };
        printer.line(format_args!("{}: {verdict}", shown(&context.file()?)))?;
    }
    Ok(if refused { ExitCode::from(WRONG) } else { ExitCode::SUCCESS })
}
