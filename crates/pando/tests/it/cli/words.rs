//! Words that are wrong, and commands that need nothing around them.

use std::process::Stdio;

use super::place::Place;

#[track_caller]
fn check_refused(args: &[&str], word: &str) {
    let said = Place::empty().pando(args);
    said.expect(2);
    assert!(said.stdout.is_empty() && said.stderr.contains(word), "{args:?}: {said}");
}

#[test]
fn wrong_words_are_refused_with_the_nearest_right_ones() {
    check_refused(&["deplyo"], "similar subcommand exists: 'deploy'");
    check_refused(&["deploy", "--dryrun"], "similar argument exists: '--dry-run'");
    check_refused(&["deploy", "--all", "-t", "x"], "cannot be used with");
    check_refused(&["deploy", "--dry-run", "--detach"], "cannot be used with");
    check_refused(&["logs", "--replica", "web"], "not a replica's name, such as `web-2`");
    check_refused(&["logs", "--since", "yesterday"], "such as `10m`");
    check_refused(&["scale", "web"], "PROCESS=COUNT");
    check_refused(&["scale", "web=5000"], "0 to 1000");
    check_refused(&["scale", "web=2", "web=3"], "`web` is given two counts");
    check_refused(&["rollback", "latest"], "such as `v42`");
    check_refused(&["token", "rm", "../apps/hits"], "16 hexadecimal digits");
    check_refused(&["token", "create"], "--scope");
    check_refused(&["server", "roles", "main", "worker"], "say `+worker` to give that role");
    check_refused(&["server", "labels", "main", "zone"], "neither KEY=VALUE nor KEY-");
    check_refused(&["server", "show", "Main"], "a name has only a-z");
    check_refused(&["server", "add", "--role", "web", "--", "-oProxyCommand=x"], "no [USER@]HOST");
    check_refused(&["server", "add", "app-2"], "--role");
    check_refused(&["firewall", "allow-ssh", "10.0.0.7/16"], "did you mean 10.0.0.0/16?");
    check_refused(&["firewall", "open", "0"], "9100, 51820/udp or 60000-61000/udp");
    check_refused(&["firewall", "enable", "--yes", "--dry-run"], "cannot be used with");
    check_refused(&["lb", "cutover", "--every", "soon"], "such as `10m`");
    check_refused(&["dev", "--stop", "--port", "80"], "cannot be used with");
    check_refused(&["proxy"], "--table");
    check_refused(&["maintenance", "on", "--page", "nope.html"], "can't read the page `nope.html`");
    check_refused(&["events", "-n", "0"], "1..=1000");
    check_refused(&["completion", "basch"], "bash");
    check_refused(&[], "Usage: pando");
}

#[test]
fn wrong_words_are_told_to_programs_too() {
    let said = Place::empty().pando(&["deplyo", "--json"]);
    let error = &said.expect(2).json()["error"];
    assert_eq!((error["code"].as_str(), error["exit_code"].as_u64()), (Some("invalid"), Some(2)), "{said}");
    assert!(error["message"].as_str().unwrap().contains("'deplyo'"), "{said}");
}

#[test]
fn the_version_is_told_with_and_without_a_cluster() {
    let place = Place::empty();
    assert_eq!(place.pando(&["version"]).expect(0).stdout, format!("pando {}\n", env!("CARGO_PKG_VERSION")));
    let told = place.pando(&["version", "--json"]).expect(0).json();
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_schema_is_one_and_knows_the_file_s_keys() {
    let schema = Place::empty().pando(&["schema"]).expect(0).json();
    assert!(schema["properties"]["replicas"].is_object(), "{schema}");
}

#[test]
fn completion_knows_the_commands_in_every_shell() {
    let place = Place::empty();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = place.pando(&["completion", shell]);
        assert!(said.expect(0).stdout.contains("rollback"), "{shell}: {said}");
    }
}

/// `pando schema | head -1`.
#[test]
fn a_reader_that_leaves_is_no_failure() {
    let place = Place::empty();
    for args in [&["schema"][..], &["completion", "bash"]] {
        let mut child = place.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}
