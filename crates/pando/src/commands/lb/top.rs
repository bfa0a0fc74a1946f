//! `pando lb top`: what each replica gets, as it happens.

mod rows;

use std::time::Duration;

use pando_api::Client;
use pando_api::v1::traffic::{EndpointTraffic, TrafficQuery};
use pando_rt::shutdown::termination;
use tokio::time::MissedTickBehavior;

use crate::cli::TopArgs;
use crate::context::Context;
use crate::printer::Printer;
use crate::progress::Progress;

/// Looks closer together than load balancers report tell nothing new.
const SHORTEST: Duration = Duration::from_millis(500);

/// An answer that takes longer is of the past.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(args: &TopArgs, context: &Context) -> anyhow::Result<()> {
    let (client, printer) = (context.client()?, context.printer());
    let query = TrafficQuery { app: args.app.clone() };
    let mut screen = Screen { printer, progress: Progress::new(printer), last: Vec::new() };
    let watched = tokio::select! {
        watched = screen.follow(args, &client, &query) => watched,
        told = termination() => told.map_err(Into::into),
    };
    screen.progress.leave(&screen.last);
    watched
}

/// Where the table is drawn, or printed where nothing can be drawn.
struct Screen {
    printer: Printer,
    progress: Progress,
    last: Vec<String>,
}

impl Screen {
    /// Ends with a failure, or after one table where one is wanted.
    async fn follow(&mut self, args: &TopArgs, client: &Client, query: &TrafficQuery) -> anyhow::Result<()> {
        let mut before = look(client, query).await?;
        let mut tick = tokio::time::interval(args.every.0.max(SHORTEST));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tick.tick().await;
        loop {
            tick.tick().await;
            let now = look(client, query).await?;
            self.show(&before, &now, args.once)?;
            if args.once {
                return Ok(());
            }
            before = now;
        }
    }

    fn show(&mut self, before: &EndpointTraffic, now: &EndpointTraffic, once: bool) -> anyhow::Result<()> {
        let rows = rows::rows(before, now);
        if self.printer.is_json() {
            return self.printer.json(&rows);
        }
        if self.progress.is_live() && !once {
            self.last = rows::lines(&rows, self.printer.talk_paint());
            self.progress.show(&self.last);
            return Ok(());
        }
        self.printer.lines(&rows::lines(&rows, self.printer.paint()))
    }
}

async fn look(client: &Client, query: &TrafficQuery) -> anyhow::Result<EndpointTraffic> {
    Ok(tokio::time::timeout(PATIENCE, client.endpoints(query)).await??)
}
