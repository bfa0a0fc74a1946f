//! `pando lb top`: what each replica gets, as it happens.

mod rows;

use std::time::Duration;

use pando_api::Client;
use pando_api::v1::traffic::{EndpointTraffic, TrafficQuery};
use rows::Row;

use crate::cli::TopArgs;
use crate::context::Context;
use crate::printer::{Paint, Printer};
use crate::watch::{Pace, Picture, watch};

/// Looks closer together than load balancers report tell nothing new.
const SHORTEST: Duration = Duration::from_millis(500);

/// An answer that takes longer is of the past.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn run(args: &TopArgs, context: &Context) -> anyhow::Result<()> {
    let (client, printer) = (context.client()?, context.printer());
    let query = TrafficQuery { app: args.app.clone() };
    let pace = Pace { every: args.every.0.max(SHORTEST), patience: PATIENCE };
    let mut before = tokio::time::timeout(PATIENCE, client.endpoints(&query)).await??;
    // What is shown is what has come since.
    tokio::time::sleep(pace.every).await;
    let mut look = async || rates(&client, &query, &mut before).await;
    if !args.once {
        return watch(printer, pace, look).await;
    }
    let rates = tokio::time::timeout(PATIENCE, look()).await??;
    match printer.is_json() {
        true => rates.json(printer),
        false => printer.lines(&rates.lines(printer.paint(), true)),
    }
}

/// What has come since `before`, which becomes now.
async fn rates(client: &Client, query: &TrafficQuery, before: &mut EndpointTraffic) -> anyhow::Result<Rates> {
    let now = client.endpoints(query).await?;
    let rates = Rates(rows::rows(before, &now));
    *before = now;
    Ok(rates)
}

struct Rates(Vec<Row>);

impl Picture for Rates {
    fn lines(&self, paint: Paint, _moving: bool) -> Vec<String> {
        rows::lines(&self.0, paint)
    }

    fn json(&self, printer: Printer) -> anyhow::Result<()> {
        printer.json(&self.0)
    }
}
