//! `pando server add`: the program, its unit and a place in the cluster for a machine that is reached over SSH.
//!
//! What is done there is in `remote.sh`; what the machine tells is judged in
//! [`facts`], before anything is changed. All of it may be repeated.

mod engine;
mod facts;
mod program;
mod ssh;
mod way;

use std::time::{Duration, Instant};

use pando_api::Client;
use pando_api::v1::join::JoinTokenRequest;
use pando_api::v1::servers::ServerDetail;
use pando_api::v1::status::{ServerState, ServerStatus};
use pando_model::name::ServerName;
use serde_json::json;

use self::facts::{Facts, Plan, Root};
use self::program::Program;
use self::ssh::{Ssh, Step};
use super::show;
use super::unasked::unasked;
use crate::cli::ServerAddArgs;
use crate::context::Context;
use crate::exit::{FAILED, REFUSED, Trouble};
use crate::progress::Progress;
use crate::words::harmless;

/// What systemd starts there.
const UNIT: &str = include_str!("../../../../../packaging/pando.service");
/// A daemon says its first word within a second or two; a slow machine takes longer to start it.
const ALIVE_WITHIN: Duration = Duration::from_secs(60);
/// How long after that the agent may take for its first assignment, and for a look at other programs' firewalls then.
const SETTLED_WITHIN: Duration = Duration::from_secs(10);
const LOOKED_WITHIN: Duration = Duration::from_millis(1500);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

pub(super) async fn run(args: &ServerAddArgs, context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let servers = client.servers().await?.servers;
    let program = Program::open(args.program.as_deref())?;
    let mut progress = Progress::new(context.printer());
    let mut ssh = Ssh::open(args)?;
    let facts = look(&mut ssh).await?;
    let plan = facts::plan(&facts, args, &program.kind, &servers)?;
    progress.keep(&format!("{}: {}", args.bare_host(), facts.line()));
    if matches!(plan, Plan::Join { .. })
        && let Some(remark) = unasked(&args.roles, &client).await
    {
        progress.keep(&remark);
    }
    if args.dry_run {
        return rehearse(&plan, &facts, args, &program, context);
    }
    bring(&mut ssh, &facts, &program, &mut progress).await?;
    if args.install_docker {
        engine::bring(&ssh, facts.engine, &mut progress).await?;
    }
    match &plan {
        Plan::Resume { name } => progress.keep(&format!("it is {name} of this cluster already")),
        Plan::Join { name } => {
            let joining = Joining { args, name, client: &client, servers: &servers };
            joining.run(&ssh, &mut progress).await?;
        }
    }
    if let Plan::Resume { .. } = plan
        && facts.needs_restart(&program)
    {
        ssh.call(Step::Restart, &[], b"").await?;
    }
    let server = until_alive(&client, plan.name(), &ssh, &mut progress).await?;
    progress.clear();
    check_firewall(&server)?;
    show::print(&server, context)
}

/// As whoever logs in; and again as root, who sees more.
async fn look(ssh: &mut Ssh) -> anyhow::Result<Facts> {
    let first = Facts::read(&ssh.call(Step::Probe, &[], b"").await?)?;
    match first.root {
        Root::Already => Ok(first),
        Root::Sudo => {
            ssh.become_root();
            Facts::read(&ssh.call(Step::Probe, &[], b"").await?)
        }
        Root::Password | Root::No => Err(first.no_way_to_root(ssh.host()).into()),
    }
}

fn rehearse(
    plan: &Plan,
    facts: &Facts,
    args: &ServerAddArgs,
    program: &Program,
    context: &Context,
) -> anyhow::Result<()> {
    let mut steps = Vec::new();
    if facts.digest.as_deref() != Some(program.digest.as_str()) {
        steps.push(format!("copy {} to /usr/local/bin/pando", program.size()));
    }
    if facts.systemd {
        steps.push("write /etc/systemd/system/pando.service".to_owned());
    }
    if args.install_docker {
        steps.extend(engine::step(facts));
    }
    match plan {
        Plan::Join { name } => steps.push(format!("join the cluster as {name}, and start the daemon")),
        Plan::Resume { name } if facts.needs_restart(program) => {
            steps.push(format!("start {name}'s daemon again"))
        }
        Plan::Resume { .. } => {}
    }
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&json!({ "server": plan.name(), "steps": steps }));
    }
    if steps.is_empty() {
        return printer.line(format_args!("nothing: {} has all of it", plan.name()));
    }
    printer.lines(&steps)
}

/// The program and its unit, unless they are there.
async fn bring(
    ssh: &mut Ssh,
    facts: &Facts,
    program: &Program,
    progress: &mut Progress,
) -> anyhow::Result<()> {
    if facts.digest.as_deref() != Some(program.digest.as_str()) {
        ssh.send(program, progress).await?;
        progress.keep(&format!("copied {}", program.size()));
    }
    if facts.systemd {
        ssh.call(Step::Unit, &["pando.service"], UNIT.as_bytes()).await?;
    }
    Ok(())
}

/// A place in the cluster, with a word that works once.
struct Joining<'a> {
    args: &'a ServerAddArgs,
    name: &'a ServerName,
    client: &'a Client,
    servers: &'a [ServerStatus],
}

impl Joining<'_> {
    async fn run(&self, ssh: &Ssh, progress: &mut Progress) -> anyhow::Result<()> {
        let request = JoinTokenRequest {
            roles: self.args.roles.iter().cloned().collect(),
            name: Some(self.name.clone()),
            ..JoinTokenRequest::default()
        };
        let token = self.client.create_join_token(&request).await?;
        let joined = async {
            let places = way::places(self.args.control_url.as_deref(), self.client.url(), self.servers);
            let word = way::find(&places, &token, ssh).await?;
            let address = |address: Option<std::net::IpAddr>| {
                address.map_or_else(|| "-".to_owned(), |address| address.to_string())
            };
            let (private, public) = (address(self.args.private_ip), address(self.args.public_ip));
            let words = [self.name.as_str(), private.as_str(), public.as_str()];
            progress.show(&["  joining".to_owned()]);
            ssh.call(Step::Join, &words, word.as_bytes()).await
        };
        let joined = joined.await;
        if joined.is_err() {
            // It ends by itself within 15 minutes; a second way in that nobody uses is better closed at once.
            let _ = self.client.remove_token(&token.id).await;
        }
        joined?;
        progress.keep(&format!("joined as {}", self.name));
        Ok(())
    }
}

/// Waits until the control plane hears of it, and for what its agent says of other firewalls.
async fn until_alive(
    client: &Client,
    name: &ServerName,
    ssh: &Ssh,
    progress: &mut Progress,
) -> anyhow::Result<ServerDetail> {
    let begun = Instant::now();
    let (mut alive_since, mut current_since) = (None, None);
    loop {
        progress.show(&[format!("  waiting for {name}'s first word")]);
        let server = client.server(name).await?;
        let now = Instant::now();
        let lasts = |since: Option<Instant>, length| since.is_some_and(|since| now - since >= length);
        if server.status.state == ServerState::Alive {
            alive_since.get_or_insert(now);
        }
        if server.is_current {
            current_since.get_or_insert(now);
        }
        let settled = lasts(current_since, LOOKED_WITHIN) || lasts(alive_since, SETTLED_WITHIN);
        match alive_since {
            Some(_) if server.firewall.is_some() || settled => return Ok(server),
            None if now - begun >= ALIVE_WITHIN => return Err(silent(name, ssh).await.into()),
            _ => tokio::time::sleep(LOOK).await,
        }
    }
}

/// With what its daemon said last.
async fn silent(name: &ServerName, ssh: &Ssh) -> Trouble {
    let message = format!("{name} joined, but has not been heard of for {} s", ALIVE_WITHIN.as_secs());
    let log = ssh.call(Step::Log, &[], b"").await.unwrap_or_default();
    let lines: Vec<String> = log.lines().map(harmless).collect();
    Trouble::new(FAILED, "not_alive", message)
        .details(lines)
        .hint(format!("these are its daemon's last words; `pando server show {name}` tells when it is heard"))
}

/// What another firewall there drops, the cluster can't do without.
fn check_firewall(server: &ServerDetail) -> Result<(), Trouble> {
    let problems: Vec<String> =
        server.firewall.iter().flat_map(|it| &it.problems).map(|it| harmless(it)).collect();
    if problems.is_empty() {
        return Ok(());
    }
    let name = &server.status.name;
    let message =
        format!("{name} is a server of the cluster now, but a firewall there drops what it must accept");
    let hint = format!("mend it there; `pando server show {name}` tells what is left");
    Err(Trouble::new(REFUSED, "firewall", message).details(problems).hint(hint))
}

#[cfg(test)]
mod tests;
