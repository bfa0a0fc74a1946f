//! `pando cluster token`: a word with which one server joins.

use pando_api::v1::join::JoinTokenRequest;
use pando_trust::{ClusterUrl, JoinWord};
use serde_json::json;

use crate::cli::ClusterTokenArgs;
use crate::commands::server::unasked;
use crate::context::Context;
use crate::exit::Trouble;

pub(super) async fn run(args: &ClusterTokenArgs, context: &Context) -> anyhow::Result<()> {
    let client = context.client()?;
    let request = JoinTokenRequest {
        roles: args.roles.iter().cloned().collect(),
        name: args.name.clone(),
        expires_in: args.expires.map(|span| span.0.into()),
        ..JoinTokenRequest::default()
    };
    let made = client.create_join_token(&request).await?;
    let place = args.control_url.as_deref().unwrap_or(client.url());
    let url = reached_at(place, made.fingerprint)?;
    let word = JoinWord { url, secret: made.secret.parse()? };
    let printer = context.printer();
    if let Some(remark) = unasked(&args.roles, &client).await {
        printer.talk(remark);
    }
    if printer.is_json() {
        return printer.json(&json!({
            "word": word.to_string(), "command": format!("pando server join {word}"), "expires_at": made.expires_at, "id": made.id,
        }));
    }
    printer.talk("on the new server, within 15 minutes and once, as root:");
    printer.line(format_args!("pando server join {word}"))
}

/// The control plane at `place`, which may be written as people do: `10.0.0.1`, `https://10.0.0.1:7420`.
pub(crate) fn reached_at(place: &str, fingerprint: pando_trust::Fingerprint) -> anyhow::Result<ClusterUrl> {
    let bare = place.split_once("://").map_or(place, |(_, rest)| rest);
    let bare = bare.split_once('#').map_or(bare, |(place, _)| place);
    let text = format!("https://{}#sha256:{fingerprint}", bare.trim_end_matches('/'));
    text.parse().map_err(|error: pando_trust::TrustError| Trouble::wrong(error.to_string()).into())
}
