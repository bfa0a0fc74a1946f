//! What every command says about itself.

use super::place::Place;

/// Every command, as typed.
const COMMANDS: [&[&str]; 35] = [
    &[],
    &["dev"],
    &["init"],
    &["check"],
    &["schema"],
    &["deploy"],
    &["rollback"],
    &["releases"],
    &["restart"],
    &["status"],
    &["logs"],
    &["events"],
    &["scale"],
    &["stop"],
    &["start"],
    &["run"],
    &["exec"],
    &["server"],
    &["server", "add"],
    &["server", "ls"],
    &["server", "show"],
    &["server", "roles"],
    &["server", "labels"],
    &["server", "drain"],
    &["server", "undrain"],
    &["server", "rm"],
    &["server", "join"],
    &["token"],
    &["token", "create"],
    &["token", "ls"],
    &["token", "rm"],
    &["daemon"],
    &["proxy"],
    &["completion"],
    &["version"],
];

#[test]
fn every_command_says_what_it_does_with_examples() {
    let place = Place::empty();
    for words in COMMANDS {
        let mut args = words.to_vec();
        args.push("--help");
        let said = place.pando(&args);
        said.expect(0);
        assert!(said.stderr.is_empty() && said.stdout.contains("Examples:"), "{words:?}: {said}");
        let widest = said.stdout.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(120), "{words:?}: {said}");
        let name = if words.is_empty() { "pando".to_owned() } else { words.join("_") };
        insta::assert_snapshot!(format!("help_{name}"), said.stdout);
    }
}

#[test]
fn the_list_of_commands_is_whole() {
    let help = Place::empty().pando(&["--help"]).stdout;
    let listed =
        help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    for line in listed {
        let name = line.split_whitespace().next().unwrap();
        assert!(COMMANDS.contains(&&[name][..]), "`pando {name}` has no snapshot of its help");
    }
}
