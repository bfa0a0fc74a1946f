//! Where a command runs, as whom and with which environment.

use std::collections::BTreeMap;

use pando_api::v1::agents::ExecStart;
use pando_model::name::ReplicaName;
use pando_runtime::docker::Within;
use pando_runtime::process::Limits;

use crate::account::user_of;
use crate::serve::{Ground, Place, ServeState};
use crate::session::Script;

/// What terminals can do that nobody has told us about. Nearly all of today's can do what this one could.
const TERMINAL: &str = "xterm-256color";

/// A command, ready to be started.
pub(super) enum Work {
    Process(Script, Limits),
    Contained { within: Within, line: String, env: BTreeMap<String, String> },
}

/// The error is a sentence.
pub(super) fn work(state: &ServeState, start: &ExecStart) -> Result<Work, String> {
    let place = match &start.replica {
        Some(replica) => beside(state, start, replica)?,
        None => one_off(state, start)?,
    };
    let mut env = place.env;
    env.extend(start.env.clone());
    if start.terminal.is_some() {
        env.entry("TERM".to_owned()).or_insert_with(|| TERMINAL.to_owned());
    }
    check(&start.command, &env)?;
    let command = start.command.clone();
    Ok(match place.ground {
        Ground::Directory(directory, limits) => {
            Work::Process(Script { command, directory, env, user: place.user }, limits)
        }
        Ground::Container(within) => Work::Contained { within, line: command, env },
    })
}

fn beside(state: &ServeState, start: &ExecStart, replica: &ReplicaName) -> Result<Place, String> {
    let place = state.places.replica(&start.app, replica);
    place.ok_or_else(|| format!("there is no replica {replica} of `{}` on this server", start.app))
}

fn one_off(state: &ServeState, start: &ExecStart) -> Result<Place, String> {
    let number = start.release.ok_or("neither a replica nor a release is named")?;
    let ground = state.places.release(&start.app, number, start.like.as_ref());
    let ground =
        ground.ok_or_else(|| format!("{number} of `{}` is not unpacked on this server", start.app))?;
    let user = state.users.then(|| user_of(&start.app));
    Ok(Place { ground, env: BTreeMap::new(), user })
}

/// What the kernel would refuse without saying what it means.
fn check(command: &str, env: &BTreeMap<String, String>) -> Result<(), String> {
    if command.trim().is_empty() {
        return Err("there is no command".to_owned());
    }
    let odd_name = |name: &str| name.is_empty() || name.contains(['=', '\0']);
    if let Some(name) = env.keys().find(|name| odd_name(name)) {
        return Err(format!("{name:?} can't be the name of a variable"));
    }
    let zeros = env.iter().find(|(_, value)| value.contains('\0')).map(|(name, _)| name.as_str());
    let zeros = zeros.or_else(|| command.contains('\0').then_some("the command"));
    zeros.map_or(Ok(()), |what| Err(format!("`{what}` holds a zero byte")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scripted(command: &str, env: (&str, &str)) -> Result<(), String> {
        let env = BTreeMap::from([(env.0.to_owned(), env.1.to_owned())]);
        check(command, &env)
    }

    #[test]
    fn what_no_process_can_have_is_refused_in_words() {
        assert_eq!(scripted("ls", ("A", "b=c")), Ok(()));
        for (command, env, said) in [
            (" ", ("A", "b"), "no command"),
            ("ls", ("", "b"), "\"\" can't be the name"),
            ("ls", ("A=B", "c"), "\"A=B\" can't be the name"),
            ("ls", ("A", "b\0"), "`A` holds a zero byte"),
            ("ls\0", ("A", "b"), "`the command` holds a zero byte"),
        ] {
            let error = scripted(command, env).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
    }
}
