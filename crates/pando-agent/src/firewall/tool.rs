//! Runs the system's own programs for packet filters: by name, with a deadline, with bounded output.

use std::io;
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// They answer in milliseconds; a machine under load, or many rules, may take longer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Debian's for the administrator: a service manager may give less.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

#[derive(Debug, thiserror::Error)]
pub(crate) enum ToolError {
    #[error("`{0}` is not installed; `apt-get install {1}` brings it")]
    Missing(&'static str, &'static str),
    #[error("can't run `{program}`")]
    Run { program: &'static str, source: io::Error },
    #[error("`{0}` did not answer within {PATIENCE:?}")]
    Late(&'static str),
    #[error("`{command}` says: {said}")]
    Failed { command: String, said: String },
}

/// What the program prints, given `input`.
///
/// # Errors
/// When it is not there, takes too long, or fails.
pub(crate) async fn run(
    program: &'static str,
    args: &[&str],
    input: Option<&str>,
) -> Result<String, ToolError> {
    let output = tokio::time::timeout(PATIENCE, output(program, args, input)).await;
    let output = output.map_err(|_| ToolError::Late(program))?;
    let output = output.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ToolError::Missing(program, package(program)),
        _ => ToolError::Run { program, source },
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let command = format!("{program} {}", args.join(" "));
    Err(ToolError::Failed { command, said: said(&output.stderr) })
}

/// Whether it is installed.
pub(crate) fn exists(program: &str) -> bool {
    PATH.split(':').any(|directory| std::path::Path::new(directory).join(program).exists())
}

/// The first lines of what a program complains of, as one.
pub(crate) fn said(stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
    lines.join(" | ")
}

async fn output(program: &str, args: &[&str], input: Option<&str>) -> io::Result<Output> {
    let mut command = Command::new(program);
    command.args(args).env_clear().env("PATH", PATH).env("LC_ALL", "C").kill_on_drop(true);
    command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let stdin = child.stdin.take();
    let write = async move {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A program that ends without reading says why itself.
            let _ = stdin.write_all(input.as_bytes()).await;
        }
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    output
}

fn package(program: &str) -> &'static str {
    match program {
        "nft" => "nftables",
        "ip" => "iproute2",
        _ => "iptables",
    }
}
