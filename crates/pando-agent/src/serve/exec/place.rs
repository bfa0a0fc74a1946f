//! Where a command runs, as whom and with which environment.

use std::collections::BTreeMap;

use pando_api::v1::agents::ExecStart;
use pando_model::name::ReplicaName;

use crate::account::user_of;
use crate::serve::ServeState;
use crate::session::Script;

/// What terminals can do that nobody has told us about. Nearly all of today's can do what this one could.
const TERMINAL: &str = "xterm-256color";

/// The error is a sentence.
pub(super) fn script(state: &ServeState, start: &ExecStart) -> Result<Script, String> {
    let mut script = match &start.replica {
        Some(replica) => beside(state, start, replica)?,
        None => one_off(state, start)?,
    };
    script.env.extend(start.env.clone());
    if start.terminal.is_some() {
        script.env.entry("TERM".to_owned()).or_insert_with(|| TERMINAL.to_owned());
    }
    check(&script)?;
    Ok(script)
}

fn beside(state: &ServeState, start: &ExecStart, replica: &ReplicaName) -> Result<Script, String> {
    let place = state.places.replica(&start.app, replica);
    let place =
        place.ok_or_else(|| format!("there is no replica {replica} of `{}` on this server", start.app))?;
    Ok(Script {
        command: start.command.clone(),
        directory: place.directory,
        env: place.env,
        user: place.user,
    })
}

fn one_off(state: &ServeState, start: &ExecStart) -> Result<Script, String> {
    let number = start.release.ok_or("neither a replica nor a release is named")?;
    let directory = state.places.release(&start.app, number);
    let directory =
        directory.ok_or_else(|| format!("{number} of `{}` is not unpacked on this server", start.app))?;
    let user = state.users.then(|| user_of(&start.app));
    Ok(Script { command: start.command.clone(), directory, env: BTreeMap::new(), user })
}

/// What the kernel would refuse without saying what it means.
fn check(script: &Script) -> Result<(), String> {
    if script.command.trim().is_empty() {
        return Err("there is no command".to_owned());
    }
    let odd_name = |name: &str| name.is_empty() || name.contains(['=', '\0']);
    if let Some(name) = script.env.keys().find(|name| odd_name(name)) {
        return Err(format!("{name:?} can't be the name of a variable"));
    }
    let zeros = script.env.iter().find(|(_, value)| value.contains('\0')).map(|(name, _)| name.as_str());
    let zeros = zeros.or_else(|| script.command.contains('\0').then_some("the command"));
    zeros.map_or(Ok(()), |what| Err(format!("`{what}` holds a zero byte")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scripted(command: &str, env: (&str, &str)) -> Result<(), String> {
        let env = BTreeMap::from([(env.0.to_owned(), env.1.to_owned())]);
        check(&Script { command: command.to_owned(), directory: "/".into(), env, user: None })
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
