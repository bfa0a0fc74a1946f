//! What a command line says about where a program listens.

const OWN: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];

/// Options that are followed by the address to listen on, in the servers that people run.
const OPTIONS: [&str; 11] = [
    "-b",
    "--bind",
    "--binding",
    "--bind-address",
    "-H",
    "--host",
    "--hostname",
    "-l",
    "--listen",
    "-a",
    "--address",
];

/// The address that means "this machine alone", if the program is told to listen there.
pub(super) fn listens_on(command: &str) -> Option<&'static str> {
    let words: Vec<&str> = command.split_whitespace().map(unquoted).collect();
    let after_option = words.windows(2).filter(|pair| OPTIONS.contains(&pair[0])).map(|pair| pair[1]);
    let joined = words.iter().filter_map(|word| word.split_once('='));
    let joined = joined.filter(|(option, _)| OPTIONS.contains(option)).map(|(_, address)| address);
    after_option.chain(joined).find_map(own_machine)
}

fn unquoted(word: &str) -> &str {
    word.trim_matches(['"', '\''])
}

/// Of `127.0.0.1`, `127.0.0.1:$PORT`, `tcp://127.0.0.1:3000`.
fn own_machine(address: &str) -> Option<&'static str> {
    let address = unquoted(address);
    let address = address.split_once("://").map_or(address, |(_, rest)| rest);
    OWN.into_iter().find(|own| {
        address.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/', '?']))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_that_only_their_own_machine_reaches_are_known() {
        for (command, host) in [
            ("bin/rails server -b 127.0.0.1 -p $PORT", "127.0.0.1"),
            ("puma -b tcp://127.0.0.1:$PORT", "127.0.0.1"),
            ("gunicorn --bind=localhost:$PORT app:app", "localhost"),
            ("uvicorn app:app --host '127.0.0.1' --port $PORT", "127.0.0.1"),
            ("uvicorn app:app --host [::1]", "[::1]"),
        ] {
            assert_eq!(listens_on(command), Some(host), "{command}");
        }
        for command in [
            "bin/web",
            "puma -b tcp://0.0.0.0:$PORT",
            "bin/web --database localhost",
            "curl http://127.0.0.1:9 && bin/web",
            "serve --host 127.0.0.10",
            "serve --host",
            "",
        ] {
            assert_eq!(listens_on(command), None, "{command}");
        }
    }
}
