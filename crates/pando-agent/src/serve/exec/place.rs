//! Where a command runs, and its start there.

use pando_api::v1::agents::ExecStart;
use pando_model::assignment::AssignedInstance;
use pando_model::id::InstanceId;
use pando_model::observed::InstanceState;
use pando_rt::error_chain::error_chain;
use tokio::process::Child;

use super::super::Api;
use super::terminal::Terminal;
use crate::account;
use crate::session::{Script, Streams};

/// A command that runs.
pub(super) struct Started {
    pub(super) child: Child,
    /// Its terminal; without one, the child has pipes.
    pub(super) terminal: Option<Terminal>,
}

/// What programs are told of a terminal whose kind the caller doesn't name.
const TERM: &str = "xterm-256color";

/// Starts it. The error is for the caller to read.
pub(super) async fn start(api: &Api, start: &ExecStart) -> Result<Started, String> {
    let mut script = script(api, start)?;
    let Some(size) = start.terminal else {
        let child = api.inner.sessions.start(&script, Streams::Pipes).await;
        return Ok(Started { child: child.map_err(|error| error_chain(&error))?, terminal: None });
    };
    let term = start.env.get("TERM").cloned().unwrap_or_else(|| TERM.to_owned());
    script.env.insert("TERM".to_owned(), term);
    let failed = |error: std::io::Error| format!("can't make a terminal: {error}");
    let owner = match &script.user {
        Some(name) => Some(account::existing(name).await.map_err(|error| error_chain(&error))?),
        None => None,
    };
    let owner = owner.map(|account| (account.uid, account.gid));
    let (terminal, slave) = Terminal::open(size, owner).map_err(failed)?;
    let child = api.inner.sessions.start(&script, Streams::Terminal(slave)).await;
    Ok(Started { child: child.map_err(|error| error_chain(&error))?, terminal: Some(terminal) })
}

fn script(api: &Api, start: &ExecStart) -> Result<Script, String> {
    let (release, env) = match (&start.replica, start.release) {
        (Some(_), _) => {
            let instance = beside(api, start)?;
            (instance.release, instance.env)
        }
        (None, Some(release)) => (release, start.env.clone()),
        (None, None) => return Err("neither a replica nor a release is named".to_owned()),
    };
    let site = &api.inner.site;
    let directory = site.directory(&(start.app.clone(), release));
    if !directory.is_dir() {
        return Err(format!("{} {release} is not on this server", start.app));
    }
    Ok(Script { command: start.command.clone(), directory, env, user: site.user(&start.app) })
}

/// The instance that bears the replica's name; of an old and a new one the newest that is ready, else the newest.
fn beside(api: &Api, start: &ExecStart) -> Result<AssignedInstance, String> {
    let facts = api.inner.facts.borrow().clone();
    let is_ready = |id: &InstanceId| {
        let fact = facts.as_ref().and_then(|facts| facts.instances.get(id));
        fact.is_some_and(|fact| fact.status().state == InstanceState::Ready)
    };
    let assignment = api.inner.assignment.borrow().clone();
    let named = assignment
        .instances
        .iter()
        .filter(|(_, one)| one.app == start.app && Some(&one.replica) == start.replica.as_ref());
    let chosen = named.max_by_key(|(id, _)| (is_ready(id), **id));
    chosen.map(|(_, instance)| instance.clone()).ok_or_else(|| match &start.replica {
        Some(replica) => format!("{replica} of {} is not on this server", start.app),
        None => format!("no replica of {} is on this server", start.app),
    })
}
