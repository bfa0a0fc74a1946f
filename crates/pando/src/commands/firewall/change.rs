//! A change of the firewall: shown, agreed to, made, and seen in force.

use std::io::{BufRead as _, Write as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use pando_api::Client;
use pando_api::v1::cluster::{ClusterSettings, FirewallChange, RuleChanges, SettingsChange};
use pando_api::v1::firewall::{FirewallView, ServerFirewall};
use pando_api::v1::status::ServerState;
use pando_model::desired::FirewallSettings;

use super::show::state_word;
use crate::cli::AgreeArgs;
use crate::context::Context;
use crate::exit::{FAILED, INTERRUPTED, REFUSED, Trouble};
use crate::follow::Away;
use crate::printer::{Paint, Style};
use crate::progress::Progress;
use crate::terminal;
use crate::words::{counted, harmless, listed};

/// Agents take rules back by themselves within 10 s; this leaves room for a busy one.
const PATIENCE: Duration = Duration::from_secs(45);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// `wanted` says what to change, given how things are.
pub(super) async fn run(
    wanted: impl FnOnce(&ClusterSettings) -> Result<FirewallChange, Trouble>,
    agree: AgreeArgs,
    context: &Context,
) -> anyhow::Result<()> {
    let client = context.client()?;
    let held = client.settings().await?;
    let firewall = FirewallChange { cut_sessions: Some(agree.force), ..wanted(&held)? };
    let mut change = SettingsChange {
        firewall: Some(firewall),
        if_revision: Some(held.revision),
        force: agree.force,
        dry_run: true,
        lockdown: None,
    };
    let tried = client.change_settings(&change).await?;
    if !agree.force {
        check_session(&tried.settings.firewall)?;
    }
    let printer = context.printer();
    if agree.dry_run && printer.is_json() {
        return printer.json(&tried);
    }
    preview(&tried.rules, &tried.settings, context);
    if agree.dry_run || tried.settings.firewall == held.firewall {
        return Ok(());
    }
    if !agree.yes && !is_agreed().await? {
        return Err(Trouble::new(FAILED, "not_agreed", "nothing was changed").into());
    }
    change.dry_run = false;
    let changed = client.change_settings(&change).await?;
    if changed.settings.firewall.enabled && !agree.detach {
        in_force(&client, context).await?;
    }
    if printer.is_json() {
        return printer.json(&changed);
    }
    printer.line(outcome(&held.firewall, &changed.settings.firewall, agree.detach))
}

fn outcome(before: &FirewallSettings, after: &FirewallSettings, detach: bool) -> &'static str {
    match (before.enabled, after.enabled, detach) {
        (_, true, true) => "under way; `pando firewall show` shows it",
        (_, true, false) => "in force on every server that is alive",
        (true, false, _) => "the firewall is off",
        (false, false, _) => "noted; it holds once the firewall is on (`pando firewall enable`)",
    }
}

/// To stderr: stdout is for what was done.
fn preview(changes: &[RuleChanges], settings: &ClusterSettings, context: &Context) {
    let printer = context.printer();
    let paint = printer.talk_paint();
    if changes.is_empty() {
        printer.talk("no rule of any server changes");
    }
    for line in changes.iter().flat_map(|change| preview_lines(change, paint)) {
        printer.talk(line);
    }
    if !settings.firewall.enabled && !changes.is_empty() {
        printer.talk("the firewall is off: nothing of this is enforced");
    }
}

fn preview_lines(change: &RuleChanges, paint: Paint) -> Vec<String> {
    let switched = match change.switched {
        Some(true) => ": from now on everything but its rules is dropped (`pando firewall show` lists them)",
        Some(false) => ": from now on everything is let in",
        None => "",
    };
    let mut lines = vec![format!("{}{switched}", paint.with(Style::Bold, change.server.as_str()))];
    lines.extend(change.changes.iter().map(|it| format!("  {}", harmless(&it.text))));
    lines
}

/// Whoever works over SSH must be able to come in again.
fn check_session(after: &FirewallSettings) -> Result<(), Trouble> {
    match ssh_client(std::env::var("SSH_CONNECTION").ok().as_deref()) {
        Some(client) if !may_ssh(after, client) => {
            let message = format!("you are connected over SSH from {client}, and could not connect again");
            let trouble = Trouble::new(REFUSED, "harmful", message);
            Err(trouble.hint(format!("`pando firewall allow-ssh {client}` first, or say `--force`")))
        }
        _ => Ok(()),
    }
}

/// `203.0.113.7 50123 10.0.0.1 22`: who, and whom.
fn ssh_client(connection: Option<&str>) -> Option<IpAddr> {
    let address: IpAddr = connection?.split(' ').next()?.parse().ok()?;
    Some(address.to_canonical())
}

fn may_ssh(settings: &FirewallSettings, client: IpAddr) -> bool {
    let named = settings.ssh_from.iter().any(|range| range.contains(client));
    !settings.enabled || settings.ssh_from.is_empty() || client.is_loopback() || named
}

async fn is_agreed() -> anyhow::Result<bool> {
    if !terminal::is_interactive() {
        let trouble = Trouble::wrong("nobody is there to agree to it");
        return Err(trouble.hint("say `--yes`; `--dry-run` only shows it").into());
    }
    let asked = tokio::task::spawn_blocking(|| -> std::io::Result<bool> {
        let mut stderr = std::io::stderr().lock();
        write!(stderr, "Make this change? [y/N] ")?;
        stderr.flush()?;
        drop(stderr);
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line)?;
        Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    });
    Ok(asked.await??)
}

/// Waits until every server that is alive keeps the newest rules. Ctrl-C ends the waiting, not the work.
async fn in_force(client: &Client, context: &Context) -> anyhow::Result<()> {
    tokio::select! {
        // Dropping the questions leaves the work as it is.
        there = until_in_force(client, context) => there,
        told = tokio::signal::ctrl_c() => {
            told?;
            let trouble = Trouble::new(INTERRUPTED, "interrupted", "interrupted; servers follow by themselves");
            Err(trouble.hint("`pando firewall show` shows it").into())
        }
    }
}

async fn until_in_force(client: &Client, context: &Context) -> anyhow::Result<()> {
    let mut progress = Progress::new(context.printer());
    let mut away = Away::new("servers follow by themselves".to_owned());
    let deadline = Instant::now() + PATIENCE;
    loop {
        match client.firewall().await {
            Ok(view) => {
                away.is_back(&mut progress);
                let missing = missing(&view);
                if missing.is_empty() {
                    return Ok(());
                }
                if Instant::now() >= deadline {
                    return Err(not_in_force(&missing).into());
                }
                let names = listed(missing.iter().map(|server| &server.name));
                progress.show(&[format!("  waiting for {names}")]);
            }
            Err(error) => away.wait(error, &mut progress).await?,
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Servers that are alive without the newest rules in force.
fn missing(view: &FirewallView) -> Vec<&ServerFirewall> {
    let alive = view.servers.iter().filter(|server| server.state == ServerState::Alive);
    alive.filter(|server| server.enforced && !server.in_force).collect()
}

fn not_in_force(servers: &[&ServerFirewall]) -> Trouble {
    let what = counted(servers.len() as u64, "server");
    let details = servers.iter().flat_map(|server| {
        let head = format!("{}: {}", server.name, state_word(server).0);
        [head].into_iter().chain(server.problems.iter().map(|problem| format!("  {}", harmless(problem))))
    });
    let trouble = Trouble::new(FAILED, "not_in_force", format!("the rules are not in force on {what}"));
    trouble
        .details(details.collect())
        .hint("they were decided; `pando firewall show` shows what stands in the way")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_that_are_alive_are_waited_for_and_told_of() {
        let server = |name: &str, state, in_force| ServerFirewall {
            server: pando_model::ServerId::from_uuid(uuid::Uuid::nil()),
            name: pando_model::ServerName::new(name).unwrap(),
            state,
            enforced: true,
            rules: vec![],
            in_force,
            problems: vec!["taken back: the control plane could not be reached afresh".to_owned()],
        };
        let servers = vec![
            server("a", ServerState::Alive, true),
            server("b", ServerState::Alive, false),
            server("c", ServerState::Lost, false),
        ];
        let view = FirewallView { settings: FirewallSettings::default(), servers };
        let told = not_in_force(&missing(&view)).render(Paint::plain());
        assert!(
            told.starts_with(
                "error: the rules are not in force on 1 server\n  b: not in force yet\n    taken back"
            ),
            "{told}"
        );
    }

    #[test]
    fn whoever_works_over_ssh_is_not_locked_out() {
        let settings = |enabled, ranges: &[&str]| FirewallSettings {
            enabled,
            ssh_from: ranges.iter().map(|range| range.parse().unwrap()).collect(),
            ..FirewallSettings::default()
        };
        let client = |text| ssh_client(Some(text)).unwrap();
        let far = client("203.0.113.7 50123 10.0.0.1 22");
        assert!(may_ssh(&settings(true, &["203.0.113.0/24"]), far));
        assert!(may_ssh(&settings(true, &[]), far) && may_ssh(&settings(false, &["10.0.0.1"]), far));
        assert!(!may_ssh(&settings(true, &["10.0.0.0/8"]), far));
        assert!(may_ssh(&settings(true, &["10.0.0.0/8"]), client("::ffff:10.0.0.9 1 ::1 22")));
        for odd in [None, Some(""), Some("somewhere 1 2 3")] {
            assert_eq!(ssh_client(odd), None);
        }
    }
}
