//! The words that a failed deploy ends with: what failed, where, why, what state things are in, what to do.

use pando_api::client::Client;
use pando_api::v1::deployments::DeploymentView;
use pando_model::desired::Failure;
use pando_model::name::AppName;

use crate::exit::{FAILED, Trouble};
use crate::words::harmless;

pub(crate) async fn trouble(
    client: &Client,
    app: &AppName,
    view: &DeploymentView,
    failure: &Failure,
) -> Trouble {
    let release = view.deployment.release;
    let mut details = Vec::new();
    if let Some(check) = &failure.check {
        details.push(format!("its check last answered: {}", harmless(check)));
    }
    if let Some(exit) = &failure.exit {
        let lines = exit.last_lines.iter().map(|line| format!("  | {}", harmless(line)));
        let lines: Vec<String> = lines.collect();
        if !lines.is_empty() {
            details.push("its last output:".to_owned());
            details.extend(lines);
        }
    }
    details.push(state(client, app).await);
    let source = failure.replica.as_ref().map(|replica| format!(" --replica {replica}")).unwrap_or_default();
    Trouble::new(
        FAILED,
        "deployment_failed",
        format!("{app} {release} is not live: {}", harmless(&failure.message)),
    )
    .details(details)
    .hint(format!("`pando logs --since 10m{source}` shows what it wrote; mend it, then `pando deploy`"))
    .with("deployment", &view.deployment)
}

/// What runs now.
async fn state(client: &Client, app: &AppName) -> String {
    match client.app(app).await {
        Ok(status) => match status.release {
            Some(release) => format!("{release} serves as before; nothing of the new release does"),
            None => "there is no release before it: nothing serves".to_owned(),
        },
        Err(_) => "what serves now is not known: the control plane does not answer".to_owned(),
    }
}
