//! Starting a successor, and waiting until it serves.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use super::{Giver, Successor};

/// A little more than a successor is waited for over its line.
const PATIENCE: Duration = Duration::from_secs(70);

/// What would tell the successor of sockets that were meant for this process.
const NOT_ITS_OWN: [&str; 4] = ["LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES", "PANDO_LISTEN"];

/// The successor's pid once it serves. It lives on when this proxy has ended.
///
/// # Errors
/// Why it does not serve, for people. This proxy goes on.
pub(crate) async fn start(successor: &Successor, giver: &Giver) -> Result<u32, String> {
    let program = successor.program.display();
    let mut command = Command::new(&successor.program);
    command.args(&successor.args).stdin(Stdio::null());
    for variable in NOT_ITS_OWN {
        command.env_remove(variable);
    }
    let mut child = command.spawn().map_err(|error| format!("can't start `{program}`: {error}"))?;
    let pid = child.id().unwrap_or_default();
    tracing::info!(pid, program = %program, "a successor was started");
    tokio::select! {
        () = giver.gone() => Ok(pid),
        ended = child.wait() => {
            let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
            Err(format!("`{program}` did not come to serve ({how}); this proxy's log has its words. The proxy serves on"))
        }
        () = tokio::time::sleep(PATIENCE) => {
            // It may have ended just now.
            let _ = child.kill().await;
            Err(format!("`{program}` did not serve within {} s, and was ended. The proxy serves on", PATIENCE.as_secs()))
        }
    }
}
