//! `pando releases`: which ones are kept.

use std::process::ExitCode;

use crate::cli::ReleasesArgs;
use crate::context::Context;
use crate::printer::Style;
use crate::table::{Cell, Table};
use crate::words::{age, now};

pub(crate) async fn run(args: &ReleasesArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let app = context.app(&args.app)?;
    let list = app.client.releases(&app.name).await?;
    let printer = context.printer();
    if printer.is_json() {
        printer.json(&list)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["RELEASE", "STATE", "AGE", "BY", "ARTIFACT"]);
    for summary in &list.releases {
        let state = match (summary.current, summary.succeeded) {
            (true, _) => Cell::styled("current", Style::Good),
            (false, true) => Cell::from("kept"),
            (false, false) => Cell::styled("never went live", Style::Dim),
        };
        let release = &summary.release;
        let artifact =
            release.artifact.as_ref().map(|digest| digest.as_str()[..12].to_owned()).unwrap_or_default();
        let made = age(release.created_at, now());
        table.row(vec![
            release.number.into(),
            state,
            made.into(),
            release.created_by.as_str().into(),
            artifact.into(),
        ]);
    }
    printer.lines(&table.lines(printer.paint()))?;
    Ok(ExitCode::SUCCESS)
}
