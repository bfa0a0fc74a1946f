//! Waiting until a server is as it was asked to be.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pando_api::v1::servers::ServerDetail;
use pando_api::v1::status::ServerState;
use pando_api::{Client, ErrorCode};
use pando_model::name::ServerName;
use pando_model::server::Standing;

use crate::commands::status::replica_word;
use crate::context::Context;
use crate::exit::{FAILED, INTERRUPTED, Trouble};
use crate::follow::Away;
use crate::progress::Progress;
use crate::words::{counted, harmless, listed};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);
/// A worker may finish its job for as long as its file says; beyond this the command ends, and the cluster goes on.
const PATIENCE: Duration = Duration::from_secs(60 * 60);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Goal {
    /// Nothing is left there.
    Empty,
    /// It is no longer a server of the cluster.
    Gone,
    /// What its roles bring is there, and what they don't is not.
    Settled,
}

/// Waits for it; `None` with [`Goal::Gone`]. Ctrl-C ends the waiting, not the work.
pub(super) async fn until(
    goal: Goal,
    client: &Client,
    name: &ServerName,
    context: &Context,
) -> anyhow::Result<Option<ServerDetail>> {
    tokio::select! {
        // Dropping the questions leaves the work as it is.
        there = look(goal, client, name, context) => there,
        told = tokio::signal::ctrl_c() => {
            told?;
            let trouble = Trouble::new(INTERRUPTED, "interrupted", "interrupted; what was asked for goes on by itself");
            Err(trouble.hint(format!("`pando server show {name}` shows it")).into())
        }
    }
}

async fn look(
    goal: Goal,
    client: &Client,
    name: &ServerName,
    context: &Context,
) -> anyhow::Result<Option<ServerDetail>> {
    let mut progress = Progress::new(context.printer());
    let mut away = Away::new("what was asked for goes on by itself".to_owned());
    let deadline = Instant::now() + PATIENCE;
    let mut said = None;
    loop {
        match client.server(name).await {
            Ok(server) => {
                away.is_back(&mut progress);
                if is_there(goal, &server) {
                    return Ok(Some(server));
                }
                if goal != Goal::Settled && server.status.standing == Standing::Active {
                    return Err(overruled(&server).into());
                }
                if goal != Goal::Gone && server.status.state == ServerState::Lost {
                    return Err(lost(&server).into());
                }
                if Instant::now() >= deadline {
                    return Err(late(&server).into());
                }
                tell(goal, &server, &mut said, &mut progress);
            }
            Err(error) if goal == Goal::Gone && error.code() == Some(ErrorCode::NotFound) => return Ok(None),
            Err(error) => away.wait(error, &mut progress).await?,
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn is_there(goal: Goal, server: &ServerDetail) -> bool {
    match goal {
        Goal::Empty => server.is_empty(),
        Goal::Gone => false,
        Goal::Settled => server.unwanted == 0 && server.missing == 0,
    }
}

/// On a terminal everything that is known, drawn anew; elsewhere a line whenever the count changes.
fn tell(goal: Goal, server: &ServerDetail, said: &mut Option<String>, progress: &mut Progress) {
    let head = match goal {
        Goal::Settled => settling(server),
        Goal::Empty | Goal::Gone => left(server),
    };
    if progress.is_live() {
        let waits = server.waiting_on.iter().map(|line| format!("    {}", harmless(line)));
        let lines: Vec<String> = [format!("  {head}")].into_iter().chain(waits).collect();
        return progress.show(&lines);
    }
    if said.as_ref() != Some(&head) {
        progress.keep(&head);
        *said = Some(head);
    }
}

/// `3 replicas are left on app-2: 2 draining and 1 serving`
fn left(server: &ServerDetail) -> String {
    let name = &server.status.name;
    match server.replicas.len() as u64 {
        0 => format!("{name} is empty; it is being forgotten"),
        1 => format!("1 replica is left on {name}: {}", states(server)),
        count => format!("{} are left on {name}: {}", counted(count, "replica"), states(server)),
    }
}

fn states(server: &ServerDetail) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for replica in &server.replicas {
        *counts.entry(replica_word(replica.state).0).or_default() += 1;
    }
    listed(counts.into_iter().map(|(word, count)| format!("{count} {word}")))
}

/// `app-2: 2 replicas leave and 1 replica is not in service yet`
fn settling(server: &ServerDetail) -> String {
    let verb = |count: u32, one: &str, many: &str| {
        let verb = if count == 1 { one } else { many };
        (count > 0).then(|| format!("{} {verb}", counted(u64::from(count), "replica")))
    };
    let leaving = verb(server.unwanted, "leaves", "leave");
    let missing = verb(server.missing, "is not in service yet", "are not in service yet");
    format!("{}: {}", server.status.name, listed(leaving.into_iter().chain(missing)))
}

/// Somebody else said meanwhile that it takes work again.
fn overruled(server: &ServerDetail) -> Trouble {
    let message = format!("{} is not emptied any more: somebody let it take work again", server.status.name);
    Trouble::new(FAILED, "overruled", message).hint("`pando events --all` tells who")
}

/// It can't be told now, and nobody knows what still runs there.
fn lost(server: &ServerDetail) -> Trouble {
    let name = &server.status.name;
    let message = format!(
        "{name} is lost, so it can't follow now; what was asked for is noted, and done when it returns"
    );
    let details = server.waiting_on.iter().map(|line| harmless(line)).collect();
    let hint = format!("gone for good? `pando server rm {name}`");
    Trouble::new(FAILED, "lost", message).details(details).hint(hint)
}

fn late(server: &ServerDetail) -> Trouble {
    let name = &server.status.name;
    let message = format!("{name} is not there after {} min; it goes on", PATIENCE.as_secs() / 60);
    let details = server.waiting_on.iter().map(|line| harmless(line)).collect();
    let hint = format!("`pando server show {name}` shows it");
    Trouble::new(FAILED, "timed_out", message).details(details).hint(hint)
}
