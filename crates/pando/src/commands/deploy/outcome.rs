//! What a wish for a deployment came to, and how that is told.

use std::process::ExitCode;

use pando_api::v1::deployments::{Accepted, DryRun};
use pando_model::name::AppName;
use serde_json::{Value, json};

use crate::exit::INTERRUPTED;
use crate::follow::Live;
use crate::printer::Printer;

/// What became of it, unless it failed, which is an error.
#[derive(Debug)]
pub(super) enum Outcome {
    /// A dry run: nothing was changed.
    Planned(DryRun),
    /// It goes on by itself, as was asked for.
    Recorded(Accepted),
    Live(Box<Live>),
    /// Ctrl-C: it goes on by itself, and that was said.
    Left(Accepted),
}

impl Outcome {
    pub(super) fn exit_code(&self) -> u8 {
        match self {
            Self::Planned(_) | Self::Recorded(_) | Self::Live(_) => 0,
            Self::Left(_) => INTERRUPTED,
        }
    }

    /// To stdout, as data, and with talk around it.
    pub(super) fn tell(&self, printer: Printer, app: &AppName) -> anyhow::Result<ExitCode> {
        match self {
            Self::Left(_) => {}
            told if printer.is_json() => printer.json(&told.json(app))?,
            Self::Planned(dry_run) => {
                printer.talk(format_args!("{app} {} would go so, if all goes well:", dry_run.release));
                printer.lines(&steps(dry_run))?;
                printer.talk("nothing was changed");
            }
            Self::Recorded(accepted) => printer
                .line(format_args!("{app} {} is under way; `pando status` shows it", accepted.release))?,
            Self::Live(live) => printer.lines(&live.lines(printer.paint()))?,
        }
        Ok(ExitCode::from(self.exit_code()))
    }

    pub(super) fn json(&self, app: &AppName) -> Value {
        match self {
            Self::Planned(dry_run) => json!(dry_run),
            Self::Recorded(accepted) | Self::Left(accepted) => {
                json!({ "app": app, "release": accepted.release, "deployment": accepted.deployment })
            }
            Self::Live(live) => live.json(),
        }
    }
}

/// The plan of a dry run, numbered.
pub(super) fn steps(dry_run: &DryRun) -> Vec<String> {
    dry_run.plan.iter().enumerate().map(|(n, line)| format!("{:>3}. {line}", n + 1)).collect()
}
