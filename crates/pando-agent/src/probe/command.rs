//! A command exits 0.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;

use crate::reconcile::CheckSpec;
use crate::session::{Guard, Script, Sessions, Streams};

pub(super) async fn check(
    command: &str,
    directory: &Path,
    spec: &CheckSpec,
    sessions: &Sessions,
) -> Result<(), String> {
    let script = Script {
        command: command.to_owned(),
        directory: directory.to_owned(),
        env: spec.env.clone(),
        user: spec.user.clone(),
    };
    let started = sessions.start(&script, Streams::Nothing, None).await;
    let mut child = started.map_err(|error| pando_rt::error_chain::error_chain(&error))?;
    // Also after a good end: what it left in the background would pile up, check by check.
    let session = Guard(child.id());
    let ended = tokio::time::timeout(spec.health.timeout.duration(), child.wait()).await;
    drop(session);
    match ended {
        Ok(Ok(status)) => judge(status, command),
        Ok(Err(error)) => Err(format!("can't wait for `{command}`: {error}")),
        Err(_) => {
            // The session is gone; this reaps its leader. It can't fail for a child that is ours.
            let _ = child.kill().await;
            Err(format!("no answer from `{command}` within {}", spec.health.timeout))
        }
    }
}

fn judge(status: ExitStatus, command: &str) -> Result<(), String> {
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(format!("exit code {code} from `{command}`")),
        (None, signal) => Err(format!("signal {} ended `{command}`", signal.unwrap_or_default())),
    }
}
