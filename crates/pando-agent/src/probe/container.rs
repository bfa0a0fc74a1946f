//! Checks in containers: a command exits 0 there; the file's, or the image's own `HEALTHCHECK`.

use std::collections::BTreeMap;
use std::time::Duration;

use pando_model::time::Millis;
use pando_runtime::Place;
use pando_runtime::docker::{Command, CommandOutput, Containers, ImageHealthCheck, Within, exec_failed};

use super::{Checkers, http, in_time};
use crate::reconcile::CheckSpec;

/// Of what a check prints, so much is told when it fails.
const TOLD: usize = 500;

/// The file's command.
pub(super) async fn check(command: &str, spec: &CheckSpec, checkers: &Checkers) -> Result<(), String> {
    let containers = containers(checkers)?;
    run(containers, spec, Containers::words(command), spec.health.timeout).await
}

/// The image's own check; else `GET path`, or, without one, nothing is asked.
pub(super) async fn check_own(
    path: Option<&str>,
    spec: &CheckSpec,
    checkers: &Checkers,
    own: Option<&Option<ImageHealthCheck>>,
) -> Result<(), String> {
    let own = own.ok_or("it can't be found out how the image is to be checked")?;
    match (own, path) {
        (Some(own), _) => run(containers(checkers)?, spec, own.command.clone(), own.timeout).await,
        (None, Some(path)) => in_time(spec.health.timeout.duration(), http::check(spec.address, path)).await,
        (None, None) => Ok(()),
    }
}

/// What the run's image says of how it is to be checked.
pub(super) async fn own(spec: &CheckSpec, checkers: &Checkers) -> Result<Option<ImageHealthCheck>, String> {
    let (containers, Place::Image(image)) = (containers(checkers)?, &spec.place) else { return Ok(None) };
    let asked = containers.image(&image.reference);
    let facts = tokio::time::timeout(spec.health.timeout.duration(), asked).await;
    let facts = facts.map_err(|_| "the container engine gives no answer".to_owned())?;
    Ok(facts.map_err(|error| error.to_string())?.health)
}

fn containers(checkers: &Checkers) -> Result<&Containers, String> {
    checkers.containers.as_ref().ok_or_else(|| "nothing runs in containers on this server".to_owned())
}

async fn run(
    containers: &Containers,
    spec: &CheckSpec,
    words: Vec<String>,
    timeout: Millis,
) -> Result<(), String> {
    let line = words.join(" ");
    let (within, env) = (Within::Run(spec.key), BTreeMap::new());
    let started = containers.command(&within, words, &env, None);
    let started = tokio::time::timeout(timeout.duration(), started).await;
    let started = started.map_err(|_| format!("`{line}` was not started within {timeout}"))?;
    let (command, input, output) = started.map_err(|error| error.to_string())?;
    drop(input);
    let Ok(ended) = tokio::time::timeout(timeout.duration(), to_the_end(&command, output)).await else {
        end(command).await;
        return Err(format!("no answer from `{line}` within {timeout}"));
    };
    match ended? {
        (Some(0), _) => Ok(()),
        (code, said) => Err(match (code, exec_failed(said.as_bytes())) {
            (_, Some(why)) => format!("`{line}` can't be run: {why}"),
            (Some(code), _) => format!("exit code {code} from `{line}`{}", after_colon(&said)),
            (None, _) => format!("`{line}` ended, and nobody saw how{}", after_colon(&said)),
        }),
    }
}

/// The exit code, and what it said.
async fn to_the_end(command: &Command, mut output: CommandOutput) -> Result<(Option<i32>, String), String> {
    let mut said = Vec::new();
    while let Some(Ok(piece)) = output.next().await {
        let room = TOLD.saturating_sub(said.len());
        said.extend_from_slice(&piece.bytes[..piece.bytes.len().min(room)]);
    }
    let code = command.end().await.map_err(|error| error.to_string())?.code;
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    Ok((code, said))
}

fn after_colon(said: &str) -> String {
    if said.is_empty() { String::new() } else { format!(": {said}") }
}

/// A check that is late must not pile up beside the next one.
async fn end(command: Command) {
    let killed = tokio::time::timeout(Duration::from_secs(5), command.kill(true)).await;
    if let Ok(Err(error)) = killed {
        tracing::warn!("a late check goes on: {error}");
    }
}
