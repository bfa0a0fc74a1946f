//! Commands in a release and beside a replica: input there, output here, and the command's own exit code.

use std::io::Write as _;
use std::process::Stdio;

use pando_api::stream::{Channel, Frame, MAX_FRAME};
use pando_api::v1::agents::ExecStart;

use super::fake::{Answer, Fake};
use super::place::Place;

fn frame(channel: Channel, payload: &str) -> Frame {
    Frame { channel, payload: payload.to_owned().into() }
}

/// Tells what it was started as and what it was given, and ends with 7.
fn tells(heard: &[Frame]) -> Vec<Frame> {
    let start: ExecStart = serde_json::from_slice(&heard[0].payload).unwrap();
    let input: Vec<u8> = heard[1..].iter().flat_map(|frame| frame.payload.to_vec()).collect();
    let replica = start.replica.map(|replica| replica.to_string()).unwrap_or_else(|| "one-off".to_owned());
    let release = start.release.map(|release| release.to_string()).unwrap_or_default();
    let terminal = start.terminal.is_some();
    let mut told = vec![
        frame(Channel::Stdout, &format!("{replica} {release}: {}\n", start.command)),
        frame(Channel::Stderr, &format!("terminal: {terminal}\n")),
    ];
    let answer = input.to_ascii_uppercase();
    told.extend(
        answer
            .chunks(MAX_FRAME)
            .map(|part| Frame { channel: Channel::Stdout, payload: part.to_vec().into() }),
    );
    told.push(frame(Channel::End, r#"{"code": 7}"#));
    told
}

fn fake() -> Fake {
    Fake::new(|_| Answer::Exec(tells))
}

#[test]
fn the_exit_code_is_the_command_s() {
    let fake = fake();
    let said = Place::with(&fake).pando(&["exec", "web-2", "sh", "-c", "exit 7"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(7), "web-2 : sh -c 'exit 7'\n"), "{said}");
    assert_eq!(said.stderr, "terminal: false\n");
    fake.only("POST /v1/apps/hits/exec");
}

#[test]
fn a_one_off_runs_in_the_release_that_is_named() {
    let said = Place::with(&fake()).pando(&["run", "--release", "v41", "bin/report | sort"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(7), "one-off v41: bin/report | sort\n"), "{said}");
}

#[test]
fn flags_after_the_command_are_the_command_s() {
    let said = Place::with(&fake()).pando(&["run", "ls", "--json", "-c", "-f"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(7), "one-off : ls --json -c -f\n"), "{said}");
}

#[test]
fn input_is_sent_to_its_end() {
    let fake = fake();
    let place = Place::with(&fake);
    let mut command = place.command(&["exec", "web-1", "tr a-z A-Z"]);
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let text = "abcdefgh".repeat(50_000);
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let said = place.said(&child.wait_with_output().unwrap());
    let whole = format!("web-1 : tr a-z A-Z\n{}", text.to_uppercase());
    assert!(said.expect(7).stdout == whole, "{} of {} bytes came", said.stdout.len(), whole.len());
}

#[test]
fn a_command_that_never_began_is_a_failure_of_ours() {
    let fake = Fake::new(|_| {
        Answer::Exec(|_| vec![frame(Channel::End, r#"{"code": 127, "error": "web-1 does not run"}"#)])
    });
    let said = Place::with(&fake).pando(&["exec", "web-1", "ls"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(1), "error: web-1 does not run\n"));
}

#[test]
fn a_connection_that_is_cut_is_told_as_such() {
    let fake = Fake::new(|_| Answer::Exec(|_| vec![frame(Channel::Stdout, "half\n")]));
    let said = Place::with(&fake).pando(&["exec", "web-1", "ls"]);
    assert!(said.expect(3).stderr.contains("the connection ended before the command did"), "{said}");
    assert_eq!(said.stdout, "half\n");
}

#[test]
fn a_refusal_is_told() {
    let fake = Fake::new(|_| Answer::refused(404, "not_found", "there is no replica web-9"));
    let said = Place::with(&fake).pando(&["exec", "web-9", "ls"]);
    assert!(said.expect(2).stderr.starts_with("error: there is no replica web-9\n"), "{said}");
}
