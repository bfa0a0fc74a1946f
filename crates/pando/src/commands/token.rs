//! `pando token`: who may do what.

use std::process::ExitCode;

use pando_api::Scope;
use pando_api::v1::tokens::TokenRequest;
use pando_model::time::Millis;
use serde_json::json;

use crate::cli::{TokenArgs, TokenCommand, TokenCreateArgs, TokenScope};
use crate::context::Context;
use crate::exit::Trouble;
use crate::table::Table;
use crate::words::{age, now};

pub(crate) async fn run(args: &TokenArgs, context: &Context) -> anyhow::Result<ExitCode> {
    match &args.command {
        TokenCommand::Create(args) => create(args, context).await?,
        TokenCommand::Ls => list(context).await?,
        TokenCommand::Rm { id } => {
            context.client()?.remove_token(id).await?;
            if context.printer().is_json() {
                context.printer().json(&json!({ "removed": id }))?;
            } else {
                context.printer().line(format_args!("removed {id}"))?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn create(args: &TokenCreateArgs, context: &Context) -> anyhow::Result<()> {
    let scope = match (args.scope, args.app.is_empty()) {
        (TokenScope::Deploy, true) => {
            let trouble = Trouble::wrong("the scope `deploy` covers named apps, and none is named");
            return Err(trouble.hint("name them: `--app hits --app shop`").into());
        }
        (TokenScope::Deploy, false) => Scope::Deploy { apps: args.app.clone() },
        (TokenScope::Read | TokenScope::Admin, false) => {
            return Err(Trouble::wrong("`--app` goes with the scope `deploy`").into());
        }
        (TokenScope::Read, true) => Scope::Read,
        (TokenScope::Admin, true) => Scope::Admin,
    };
    let name = args.name.clone().unwrap_or_else(|| scope.to_string());
    let expires_in = args.expires.map(|span| Millis::from(span.0));
    let created = context.client()?.create_token(&TokenRequest { name, scope, expires_in }).await?;
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&created);
    }
    printer.talk(format_args!("{} ({}): it is shown this once", created.info.name, created.info.scope));
    printer
        .talk(format_args!("to use it elsewhere: `pando cluster add NAME '{}' --token -`", context.url()?));
    printer.line(&created.token)
}

async fn list(context: &Context) -> anyhow::Result<()> {
    let list = context.client()?.tokens().await?;
    let printer = context.printer();
    if printer.is_json() {
        return printer.json(&list);
    }
    let mut table = Table::new(&["ID", "NAME", "SCOPE", "AGE", "EXPIRES"]);
    for token in &list.tokens {
        let expires = match token.used {
            true => "used".to_owned(),
            false => token.expires_at.map(|at| at.to_string()).unwrap_or_default(),
        };
        let made = age(token.created_at, now());
        let name = token.name.as_str();
        table.row(vec![
            token.id.as_str().into(),
            name.into(),
            token.scope.to_string().into(),
            made.into(),
            expires.into(),
        ]);
    }
    printer.lines(&table.lines(printer.paint()))
}
