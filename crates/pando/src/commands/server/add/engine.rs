//! `--install-docker`: the engine that containers need, from the distribution's own packages.
//!
//! It is there before the server joins, so that a replica that is assigned at once finds it. An engine that answers is left as
//! it is.

use std::time::{Duration, Instant};

use super::facts::{Engine, Facts};
use super::ssh::{Ssh, Step};
use crate::progress::Progress;
use crate::words::harmless;

/// Between two lines of progress.
const TOLD_EVERY: Duration = Duration::from_secs(1);

/// Installs and starts it, as far as that isn't done.
pub(super) async fn bring(ssh: &Ssh, found: Engine, progress: &mut Progress) -> anyhow::Result<()> {
    let doing = if found == Engine::None { "installing" } else { "starting" };
    let begun = Instant::now();
    let mut work = std::pin::pin!(ssh.call(Step::Engine, &[], b""));
    let told = loop {
        // Both arms are cancel-safe: the work is polled on where it stood.
        tokio::select! {
            told = &mut work => break told?,
            () = tokio::time::sleep(TOLD_EVERY) => {
                let seconds = begun.elapsed().as_secs();
                progress.show(&[format!("  {doing} Docker's engine, for {seconds} s")]);
            }
        }
    };
    progress.keep(&done(&told));
    Ok(())
}

/// What was done, by what the step told.
fn done(told: &str) -> String {
    let fact = |name: &str| told.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    match fact("was=") {
        "none" => format!("installed Docker's engine by {}", harmless(fact("by="))),
        "installed" => "started Docker's engine".to_owned(),
        _ => "Docker's engine answers already".to_owned(),
    }
}

/// What would be done; `None` where an engine answers.
pub(super) fn step(facts: &Facts) -> Option<String> {
    match facts.engine {
        Engine::Answers => None,
        Engine::Still => Some("start Docker's engine".to_owned()),
        Engine::None | Engine::Podman => {
            let by = facts.packages.as_deref().map(harmless).unwrap_or_default();
            Some(format!("install Docker's engine by {by}, and start it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_is_told() {
        assert_eq!(done("was=none\nby=apt-get\n"), "installed Docker's engine by apt-get");
        assert_eq!(done("hello!\nwas=installed\nby=dnf\n"), "started Docker's engine");
        assert_eq!(done("was=answers\nby=\n"), "Docker's engine answers already");
    }
}
