//! `pando firewall show`: rules per server, and why each exists.

use pando_api::v1::firewall::{FirewallView, ServerFirewall};
use pando_api::v1::status::ServerState;
use pando_model::firewall::FirewallRule;
use pando_model::name::ServerName;

use crate::context::Context;
use crate::exit::Trouble;
use crate::printer::{Paint, Style};
use crate::table::Table;
use crate::words::{harmless, listed};

pub(super) async fn run(server: Option<&ServerName>, context: &Context) -> anyhow::Result<()> {
    let mut view = context.client()?.firewall().await?;
    if let Some(name) = server {
        let names = listed(view.servers.iter().map(|it| it.name.clone()));
        view.servers.retain(|it| it.name == *name);
        if view.servers.is_empty() {
            let trouble = Trouble::wrong(format!("there is no server `{name}`"));
            return Err(trouble.hint(format!("there are: {names}")).into());
        }
    }
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&view);
    }
    printer.lines(&lines(&view, printer.paint()))
}

fn lines(view: &FirewallView, paint: Paint) -> Vec<String> {
    let mut lines = Vec::new();
    if !view.settings.enabled {
        lines.push(
            "the firewall is off; these rules are what it would let in (`pando firewall enable`)".to_owned(),
        );
        lines.push(String::new());
    }
    for server in &view.servers {
        lines.push(head(server, paint));
        lines.extend(rules(&server.rules, paint));
        lines.extend(server.problems.iter().map(|problem| paint.with(Style::Warn, &harmless(problem))));
        lines.push(String::new());
    }
    lines.push("whatever matches no rule, is new and comes from another machine is dropped".to_owned());
    lines
}

fn head(server: &ServerFirewall, paint: Paint) -> String {
    let (word, style) = state_word(server);
    format!("{}: {}", paint.with(Style::Bold, server.name.as_str()), paint.with(style, word))
}

/// How the rules stand on a server.
pub(super) fn state_word(server: &ServerFirewall) -> (&'static str, Style) {
    match (server.enforced, server.in_force, server.state) {
        (false, ..) => ("not enforced", Style::Dim),
        (true, true, _) => ("in force", Style::Good),
        (true, false, ServerState::Alive) => ("not in force yet", Style::Warn),
        (true, false, _) => ("not heard of", Style::Bad),
    }
}

fn rules(rules: &[FirewallRule], paint: Paint) -> Vec<String> {
    let mut table = Table::new(&["PORTS", "FROM", "WHY"]);
    for rule in rules {
        let (first, last) = rule.ports;
        let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
        table.row(vec![
            format!("{ports}/{}", rule.protocol).into(),
            rule.from.to_string().into(),
            (&rule.why).into(),
        ]);
    }
    table.lines(paint).into_iter().map(|line| format!("  {line}")).collect()
}
