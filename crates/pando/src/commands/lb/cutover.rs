//! `pando lb cutover`: which records to set, and looking until everything arrives at the load balancers.

use std::io::{BufRead as _, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use pando_api::Client;
use pando_api::v1::balancers::{BalancerList, EntryPointStatus, EntryRole};
use serde_json::json;

use super::dns::{self, Pointer, PointsAt, Record, records};
use super::show;
use crate::cli::CutoverArgs;
use crate::context::Context;
use crate::exit::{FAILED, REFUSED, Trouble};
use crate::printer::Paint;
use crate::progress::Progress;
use crate::table::Table;
use crate::terminal;
use crate::words::{counted, thousands};

pub(super) async fn run(args: &CutoverArgs, context: &Context) -> anyhow::Result<ExitCode> {
    let client = context.client()?;
    let printer = context.printer();
    let mut look = Look::take(&client).await?;
    check_balancers(&look.list)?;
    if printer.is_json() && !args.watch {
        printer.json(&look.as_json())?;
        return Ok(ExitCode::from(if look.is_over() { 0 } else { FAILED }));
    }
    let asks = !args.watch && terminal::is_interactive();
    let mut progress = Progress::new(printer);
    let mut told = None;
    loop {
        if look.is_over() {
            return over(&look, context);
        }
        // What has not changed since the last look is not said again.
        let now = look.lines(printer.talk_paint());
        if told.as_ref() != Some(&now) {
            now.iter().for_each(|line| progress.keep(line));
            told = Some(now);
        }
        if asks {
            if !ask_to_go_on().await? {
                return Err(unfinished(&look).into());
            }
        } else if args.watch {
            pause(args.every.0, &mut progress).await?;
        } else {
            return Err(unfinished(&look).into());
        }
        look = Look::take(&client).await?;
    }
}

/// Everything that decides whether it is done.
struct Look {
    list: BalancerList,
    pointers: Vec<Pointer>,
}

impl Look {
    async fn take(client: &Client) -> anyhow::Result<Self> {
        let list = client.balancers().await?;
        let pointers = dns::ask(&list).await;
        Ok(Self { list, pointers })
    }

    fn unmoved(&self) -> impl Iterator<Item = &Pointer> {
        self.pointers.iter().filter(|pointer| pointer.points_at != PointsAt::Balancers)
    }

    /// Entry points beside the load balancers where something arrived, or is open still.
    fn busy(&self) -> impl Iterator<Item = &EntryPointStatus> {
        let direct = self.list.entry_points.iter().filter(|entry| entry.role == EntryRole::Direct);
        direct.filter(|entry| entry.requests.last_minute > 0 || entry.in_flight > 0)
    }

    fn is_over(&self) -> bool {
        self.unmoved().next().is_none() && self.busy().next().is_none()
    }

    fn records(&self) -> Vec<Record> {
        self.unmoved().flat_map(|pointer| records(&pointer.domain, &self.list.entry_points)).collect()
    }

    fn as_json(&self) -> serde_json::Value {
        let mut told = show::as_json(&self.list, &self.pointers);
        told["records"] = json!(self.records());
        told["over"] = json!(self.is_over());
        told
    }

    fn lines(&self, paint: Paint) -> Vec<String> {
        let mut lines = Vec::new();
        for pointer in self.unmoved() {
            let (place, style) = show::place(pointer);
            lines.push(format!("{} points at {}", pointer.domain, paint.with(style, &place)));
        }
        let records = self.records();
        if !records.is_empty() {
            lines.push(
                "Set these records where the domains are managed, in place of those that are there:"
                    .to_owned(),
            );
            lines.push(String::new());
            lines.extend(record_table(&records, paint));
            lines.push(String::new());
            return lines;
        }
        // By whom was it asked? Whoever remembers the older records; the count itself changes with each look.
        let names: Vec<&str> = self.busy().map(|entry| entry.name.as_str()).collect();
        if !names.is_empty() {
            lines.push(format!(
                "every domain points at the load balancers; requests still arrive at {}, from whoever remembers older records",
                names.join(", ")
            ));
        }
        lines
    }
}

fn record_table(records: &[Record], paint: Paint) -> Vec<String> {
    let mut table = Table::new(&["NAME", "TYPE", "VALUE"]);
    for record in records {
        table.row(vec![(&record.name).into(), record.kind.into(), record.value.into()]);
    }
    table.lines(paint).into_iter().map(|line| format!("  {line}")).collect()
}

fn check_balancers(list: &BalancerList) -> Result<(), Trouble> {
    let balancers: Vec<&EntryPointStatus> =
        list.entry_points.iter().filter(|entry| entry.role == EntryRole::Balancer).collect();
    let refused = |message: &str| Trouble::new(REFUSED, "harmful", message);
    if balancers.is_empty() {
        let trouble = refused("there is no load balancer to move to");
        return Err(trouble.hint("`pando server add HOST --role lb` adds one"));
    }
    let ailing: Vec<String> =
        balancers.iter().filter(|entry| !entry.is_working()).map(|entry| entry.name.to_string()).collect();
    if ailing.is_empty() {
        return Ok(());
    }
    let trouble = refused("not every load balancer is ready for requests").details(ailing);
    Err(trouble.hint("`pando lb status` shows them"))
}

fn over(look: &Look, context: &Context) -> anyhow::Result<ExitCode> {
    let printer = context.printer();
    if printer.is_json() {
        printer.json(&look.as_json())?;
        return Ok(ExitCode::SUCCESS);
    }
    printer.line(match look.pointers.is_empty() {
        true => {
            "no app has a domain: there is nothing to move, and nothing arrives beside the load balancers"
        }
        false => "every domain points at the load balancers, and nothing arrives elsewhere",
    })?;
    if !look.list.lockdown {
        printer.talk("`pando lb lockdown` closes direct access");
    }
    Ok(ExitCode::SUCCESS)
}

fn unfinished(look: &Look) -> Trouble {
    let unmoved = look.unmoved().count() as u64;
    let message = if unmoved > 0 {
        format!("{} still to be moved", counted(unmoved, "domain"))
    } else {
        "requests still arrive beside the load balancers".to_owned()
    };
    let busy = look
        .busy()
        .map(|entry| format!("{}: {} in the last minute", entry.name, thousands(entry.requests.last_minute)));
    let trouble = Trouble::new(FAILED, "unfinished", message).details(busy.collect());
    trouble.hint("`pando lb cutover --watch` looks until it is done")
}

/// False: whoever sits there wants to stop here.
async fn ask_to_go_on() -> anyhow::Result<bool> {
    let asked = tokio::task::spawn_blocking(|| -> std::io::Result<bool> {
        let mut stderr = std::io::stderr().lock();
        write!(stderr, "Press Enter to look again, or q and Enter to stop: ")?;
        stderr.flush()?;
        drop(stderr);
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line)?;
        Ok(read > 0 && !line.trim().eq_ignore_ascii_case("q"))
    });
    tokio::select! {
        // Nothing is lost with an answer that nobody gives.
        answer = asked => Ok(answer??),
        told = tokio::signal::ctrl_c() => { told?; Ok(false) }
    }
}

async fn pause(length: Duration, progress: &mut Progress) -> anyhow::Result<()> {
    progress.show(&["  looking again soon; Ctrl-C ends it, and nothing is lost".to_owned()]);
    tokio::select! {
        // Nothing is lost with a pause.
        () = tokio::time::sleep(length) => {}
        told = tokio::signal::ctrl_c() => {
            told?;
            let trouble = Trouble::new(crate::exit::INTERRUPTED, "interrupted", "interrupted; nothing was changed");
            return Err(trouble.hint("`pando lb cutover` goes on from here").into());
        }
    }
    progress.clear();
    Ok(())
}
