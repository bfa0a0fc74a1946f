//! `pando server join` and `pando server start`: what is typed on a server itself.

use std::net::SocketAddr;

use anyhow::Context as _;
use pando_api::client::Client;
use pando_model::name::ServerName;
use pando_trust::JoinWord;
use serde_json::json;

use crate::cli::{ServerJoinArgs, ServerStartArgs};
use crate::commands::cluster::AGENT_PORT;
use crate::context::Context;
use crate::daemons::join::{Joining, join, own_address};
use crate::daemons::layout::Layout;
use crate::daemons::me::Me;
use crate::daemons::start::{Held, start};
use crate::exit::Trouble;

pub(super) async fn run(args: &ServerJoinArgs, context: &Context) -> anyhow::Result<()> {
    let word = word(&args.word)?;
    if args.check {
        return check(&word, context).await;
    }
    let private = match args.private_ip {
        Some(address) => address,
        None => own_address(&word.url)?,
    };
    let joining = Joining {
        word,
        name: args.name.clone().map_or_else(host_name, Ok)?,
        private_address: private,
        public_address: args.public_ip,
        agent: SocketAddr::new(private, AGENT_PORT),
        http: args.http.clone(),
        https: (!args.https.is_empty()).then(|| args.https.clone()),
        dev: false,
    };
    let layout = Layout::make(&args.state_dir)?;
    let me = join(&layout, &joining).await?;
    let held = start(&layout, &me).await?;
    told(&me, held, context)
}

/// Starts the daemon where no service manager does.
pub(super) async fn begin(args: &ServerStartArgs, context: &Context) -> anyhow::Result<()> {
    let layout = Layout::make(&args.state_dir)?;
    let me = Me::expect(&layout.identity())?;
    let held = start(&layout, &me).await?;
    told(&me, held, context)
}

fn told(me: &Me, held: Held, context: &Context) -> anyhow::Result<()> {
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&json!({ "server": me.name, "id": me.id, "control": me.control }));
    }
    printer.line(format_args!("{} is a server of the cluster at {}", me.name, place(&me.control)))?;
    if held == Held::Keeper {
        printer.talk("without systemd, let this machine's start run `pando server start`");
    }
    Ok(())
}

/// Without the pin, which only machines read.
fn place(url: &str) -> &str {
    url.split_once('#').map_or(url, |(place, _)| place)
}

/// The control plane answers, and proves to be of the word's cluster.
async fn check(word: &JoinWord, context: &Context) -> anyhow::Result<()> {
    Client::new(&word.url.to_string(), None)?.health().await?;
    context.printer().line(format_args!("{} can be reached from here", place(&word.url.to_string())))
}

fn word(given: &str) -> anyhow::Result<JoinWord> {
    let text = if given == "-" {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).context("can't read the join word from stdin")?;
        line
    } else {
        given.to_owned()
    };
    let wrong = |error: pando_trust::TrustError| {
        Trouble::wrong(error.to_string())
            .hint("`pando cluster token` prints one, for one server and 15 minutes")
    };
    Ok(text.parse::<JoinWord>().map_err(wrong)?)
}

/// The host's name, as far as it can be a server's: its first label, in lower case.
fn host_name() -> anyhow::Result<ServerName> {
    let system = rustix::system::uname();
    let host = system.nodename().to_string_lossy().to_ascii_lowercase();
    let label = host.split('.').next().unwrap_or_default();
    let wrong = |error: pando_model::name::NameError| {
        Trouble::wrong(format!("this host's name can't be a server's: {error}"))
            .hint("give one: --name app-2")
    };
    Ok(ServerName::new(label).map_err(wrong)?)
}
