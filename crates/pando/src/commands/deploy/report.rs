//! What became of each of several targets: a table for people, a list for programs, one exit code for scripts.

use pando_model::name::AppName;
use pando_model::release::ReleaseNumber;
use pando_model::time::Millis;
use serde_json::{Value, json};

use super::outcome::{Outcome, steps};
use crate::exit::{FAILED, INTERRUPTED, REFUSED, Trouble, UNREACHABLE, WRONG};
use crate::printer::{Paint, Printer, Style};
use crate::table::{Cell, Table};
use crate::words::{harmless, thousands, took};

/// The worst first: what was cut short, what changed something and failed, what may have, what did not, what never could.
const WORST_FIRST: [u8; 5] = [INTERRUPTED, FAILED, UNREACHABLE, REFUSED, WRONG];

/// A target and what became of it.
#[derive(Debug)]
pub(super) struct Row {
    /// `None`: the file without targets.
    pub(super) target: Option<String>,
    pub(super) app: AppName,
    /// As people call it.
    pub(super) cluster: String,
    pub(super) ended: Ended,
}

#[derive(Debug)]
pub(super) enum Ended {
    Came(Outcome),
    Failed(Trouble),
    /// It was left out because of one before it.
    NotBegun,
}

impl Row {
    pub(super) fn exit_code(&self) -> u8 {
        match &self.ended {
            Ended::Came(outcome) => outcome.exit_code(),
            Ended::Failed(trouble) => trouble.exit_code(),
            Ended::NotBegun => 0,
        }
    }

    /// As a program reads it, with spaces for people.
    fn result(&self) -> (&'static str, Style) {
        match &self.ended {
            Ended::Came(Outcome::Live(_)) => ("live", Style::Good),
            Ended::Came(Outcome::Planned(_)) => ("planned", Style::Plain),
            Ended::Came(Outcome::Recorded(_)) => ("under_way", Style::Hint),
            Ended::Came(Outcome::Left(_)) => ("left_going_on", Style::Warn),
            Ended::NotBegun => ("not_begun", Style::Dim),
            Ended::Failed(trouble) => match trouble.exit_code() {
                INTERRUPTED => ("interrupted", Style::Warn),
                UNREACHABLE => ("unreachable", Style::Bad),
                REFUSED => ("refused", Style::Bad),
                WRONG => ("invalid", Style::Bad),
                _ => ("failed", Style::Bad),
            },
        }
    }

    fn release(&self) -> Option<ReleaseNumber> {
        match &self.ended {
            Ended::Came(Outcome::Live(live)) => Some(live.release),
            Ended::Came(Outcome::Planned(dry_run)) => Some(dry_run.release),
            Ended::Came(Outcome::Recorded(accepted) | Outcome::Left(accepted)) => Some(accepted.release),
            Ended::Failed(trouble) => {
                trouble.field("deployment").and_then(|it| it["release"].as_u64()).map(ReleaseNumber)
            }
            Ended::NotBegun => None,
        }
    }

    fn length(&self) -> Option<Millis> {
        match &self.ended {
            Ended::Came(Outcome::Live(live)) => Some(live.length),
            Ended::Failed(trouble) => trouble.field("millis").and_then(Value::as_u64).map(Millis),
            Ended::Came(_) | Ended::NotBegun => None,
        }
    }

    fn requests(&self) -> Option<(u64, u64)> {
        match &self.ended {
            Ended::Came(Outcome::Live(live)) => live.requests(),
            Ended::Came(_) | Ended::Failed(_) | Ended::NotBegun => None,
        }
    }

    fn json(&self) -> Value {
        let mut told = json!({
            "target": self.target, "cluster": self.cluster, "app": self.app, "result": self.result().0,
            "exit_code": self.exit_code(),
        });
        let more = match &self.ended {
            Ended::Came(outcome) => outcome.json(&self.app),
            Ended::Failed(trouble) => json!({ "error": trouble }),
            Ended::NotBegun => Value::Null,
        };
        if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
            told.extend(more);
        }
        told
    }
}

/// The plans of a dry run and the table, to stdout; as JSON a list.
pub(super) fn tell(printer: Printer, rows: &[Row]) -> anyhow::Result<()> {
    if printer.is_json() {
        return printer.json(&rows.iter().map(Row::json).collect::<Vec<_>>());
    }
    for row in rows {
        if let Ended::Came(Outcome::Planned(dry_run)) = &row.ended {
            let target = row.target.as_ref().map(|name| format!("{name}: ")).unwrap_or_default();
            let what = format!("{target}{} {} would go so, if all goes well:", row.app, dry_run.release);
            printer.line(printer.paint().with(Style::Bold, &what))?;
            printer.lines(&steps(dry_run))?;
            printer.line("")?;
        }
    }
    printer.lines(&table(rows, printer.paint()))
}

fn table(rows: &[Row], paint: Paint) -> Vec<String> {
    let mut table = Table::new(&[
        "TARGET", "CLUSTER", "APP", "RELEASE", "RESULT", "TIME", "REQUESTS", "FAILED", "PROBLEM",
    ]);
    // Of targets that differ in the cluster alone, the app's name says nothing.
    let one_app = rows.windows(2).all(|pair| pair[0].app == pair[1].app);
    for row in rows {
        let (result, style) = row.result();
        let requests = row.requests();
        let problem = match &row.ended {
            Ended::Failed(trouble) => harmless(&trouble.to_string()),
            Ended::Came(_) | Ended::NotBegun => String::new(),
        };
        table.row(vec![
            row.target.clone().unwrap_or_default().into(),
            row.cluster.as_str().into(),
            if one_app { "".into() } else { row.app.as_str().into() },
            row.release().map(|release| release.to_string()).unwrap_or_default().into(),
            Cell::styled(result.replace('_', " "), style),
            row.length().map(took).unwrap_or_default().into(),
            requests.map(|(served, _)| thousands(served)).unwrap_or_default().into(),
            requests.map(|(_, failed)| thousands(failed)).unwrap_or_default().into(),
            problem.into(),
        ]);
    }
    table.lines(paint)
}

/// 0 when all is well, else the worst of all codes.
pub(super) fn worst(rows: &[Row]) -> u8 {
    let codes: Vec<u8> = rows.iter().map(Row::exit_code).collect();
    let known = WORST_FIRST.into_iter().find(|bad| codes.contains(bad));
    known.or_else(|| codes.iter().copied().find(|code| *code != 0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(target: &str, ended: Ended) -> Row {
        let app = AppName::new("hits").unwrap();
        Row { target: Some(target.to_owned()), app, cluster: target.to_owned(), ended }
    }

    fn failed(code: u8) -> Ended {
        Ended::Failed(Trouble::new(code, "x", "what went\u{1b}[31m wrong"))
    }

    #[test]
    fn the_exit_code_is_the_worst_of_all() {
        let of = |codes: &[u8]| worst(&codes.iter().map(|code| row("a", failed(*code))).collect::<Vec<_>>());
        assert_eq!(of(&[2, 4]), 4);
        assert_eq!(of(&[4, 3, 2]), 3);
        assert_eq!(of(&[3, 1, 4]), 1);
        assert_eq!(of(&[1, 130, 3]), 130);
        assert_eq!(worst(&[row("a", Ended::NotBegun)]), 0);
        assert_eq!(worst(&[row("a", failed(3)), row("b", Ended::NotBegun)]), 3);
        assert_eq!(worst(&[]), 0);
    }

    #[test]
    fn each_way_to_fail_has_its_word() {
        let rows = [1, 2, 3, 4, 130].map(|code| row("a", failed(code)));
        let words = rows.iter().map(|row| row.result().0).collect::<Vec<_>>();
        assert_eq!(words, ["failed", "invalid", "unreachable", "refused", "interrupted"]);
        let lines = table(&rows, Paint::plain());
        assert_eq!(lines[0], "TARGET  CLUSTER  RESULT       PROBLEM");
        assert!(!lines.iter().any(|line| line.contains('\u{1b}')), "{lines:?}");
    }
}
