//! `pando scale`: other counts, and waiting until they are there.

use std::collections::BTreeSet;
use std::process::ExitCode;

use pando_api::v1::apps::ScaleRequest;

use crate::cli::ScaleArgs;
use crate::commands::stop::{Goal, settle};
use crate::context::Context;
use crate::exit::Trouble;

pub(crate) async fn run(args: &ScaleArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let mut named = BTreeSet::new();
    if let Some(twice) = args.counts.iter().find(|scaling| !named.insert(&scaling.process)) {
        return Err(Trouble::wrong(format!("`{}` is given two counts", twice.process)).into());
    }
    let app = context.app(&args.app)?;
    let processes = args.counts.iter().map(|scaling| (scaling.process.clone(), scaling.count)).collect();
    let wish = app.client.scale(&app.name, &ScaleRequest { processes }).await?;
    let printer = context.printer();
    if !args.detach && !wish.stopped {
        settle(context, &app, Goal::Running).await?;
    }
    if printer.is_json() {
        printer.json(&app.client.app(&app.name).await?)?;
        return Ok(ExitCode::SUCCESS);
    }
    for scaling in &args.counts {
        match scaling.count {
            Some(count) => printer.line(format_args!("{} {} = {count}", app.name, scaling.process))?,
            None => printer.line(format_args!("{} {}: as the file has it", app.name, scaling.process))?,
        }
    }
    if wish.stopped {
        printer.talk(format_args!("{} is stopped; the counts hold from the next `pando start` on", app.name));
    }
    Ok(ExitCode::SUCCESS)
}
