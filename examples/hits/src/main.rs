//! Hits counts page loads and shows which replica answered.
//!
//! One binary, three commands: `hits` serves the page, `hits worker` is a
//! background worker, `hits migrate` prepares the table before a release takes
//! traffic. This file reads the command line and turns failures into exit codes;
//! everything that the environment may say is read once, in `settings`.

use std::process::ExitCode;

mod counter;
mod mode;
mod settings;
mod stop;
mod web;
mod worker;

use counter::Counter;
use settings::Settings;

const USAGE: &str = "usage: hits [web|worker|migrate]

  web       serve the page on 0.0.0.0:$PORT (the default command)
  worker    work in the background until told to stop
  migrate   prepare the table, then end; for a release command

The environment variables that it reads are listed in README.md.";

#[tokio::main]
async fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] | ["web"] => ended(with_settings(web::run).await),
        ["worker"] => ended(with_settings(worker::run).await),
        ["migrate"] => ended(with_settings(migrate).await),
        ["--help" | "-h" | "help"] => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        other => {
            eprintln!("hits: unknown command `{}`\n{USAGE}", other.join(" "));
            ExitCode::from(2)
        }
    }
}

async fn with_settings<F: Future<Output = anyhow::Result<()>>>(
    command: impl FnOnce(Settings) -> F,
) -> anyhow::Result<()> {
    command(Settings::from_environment()?).await
}

/// The release command: run once, before the new version takes traffic.
async fn migrate(settings: Settings) -> anyhow::Result<()> {
    if settings.migrate_fails {
        anyhow::bail!("migration failed, as HITS_MIGRATE=fail asked");
    }
    let counter = Counter::open(&settings.store).await?;
    let hits = counter.prepare().await?;
    println!("hits: migrated; {hits} hits counted so far in {}", counter.describe());
    Ok(())
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hits: {error:#}");
            ExitCode::FAILURE
        }
    }
}
