//! Commands beside replicas and on their own.

use std::collections::BTreeMap;

use pando_model::app::VolumeSpec;
use pando_model::resources::{Bytes, Resources};
use pando_runtime::docker::{Command, CommandInput, CommandOutput, Containers, CopyError, OneOff, Within};
use pando_runtime::logs::Stream;
use pando_runtime::{ImagePlace, Runtime};

use super::bed::{Bed, IMAGE, make_image_as, on_a_thread, spec};
use crate::support::PATIENCE;

type Started = (Command, CommandInput, CommandOutput);

async fn run(bed: &Bed, within: &Within, line: &str, terminal: Option<(u16, u16)>) -> Started {
    let env = BTreeMap::from([("GREETING".to_owned(), "hello".to_owned())]);
    let words = Containers::words(line);
    bed.runtime.containers().command(within, words, &env, terminal).await.unwrap()
}

async fn rest(output: &mut CommandOutput) -> (String, String) {
    let mut both: [Vec<u8>; 2] = Default::default();
    let all = async {
        while let Some(piece) = output.next().await {
            let piece = piece.unwrap();
            both[usize::from(piece.stream == Stream::Stderr)].extend_from_slice(&piece.bytes);
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("the output ends");
    let [out, err] = both.map(|bytes| String::from_utf8(bytes).unwrap());
    (out, err)
}

fn alone() -> Within {
    let volumes = vec![VolumeSpec { source: "/tmp".into(), target: "/there".into(), read_only: true }];
    let image = ImagePlace { volumes, ..ImagePlace::of(IMAGE) };
    Within::Image(Box::new(OneOff::of("shop".parse().unwrap(), image)))
}

async fn both(bed: &Bed) -> [Within; 2] {
    let mut beside = spec("sleep 1000");
    beside.env.insert("OWN".into(), "its own".into());
    bed.start(&beside).await;
    [Within::Run(beside.key), alone()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_output_and_exit_code_go_through() {
    let bed = Bed::new();
    for within in both(&bed).await {
        let line = "read line; echo got $line $GREETING; echo wrong >&2; cat; exit 3";
        let (command, mut input, mut output) = run(&bed, &within, line, None).await;
        input.write_all(b"one\ntwo\nthree").await.unwrap();
        input.close().await.unwrap();
        let (out, err) = rest(&mut output).await;
        assert_eq!((out.as_str(), err.as_str()), ("got one hello\ntwo\nthree", "wrong\n"), "{within:?}");
        assert_eq!(command.end().await.unwrap().code, Some(3));
        command.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_has_a_size_and_gets_another() {
    let bed = Bed::new();
    for within in both(&bed).await {
        let line = "read go; stty size; read go; stty size";
        let (command, mut input, mut output) = run(&bed, &within, line, Some((100, 30))).await;
        input.write_all(b"\n").await.unwrap();
        let mut seen = String::new();
        while !seen.contains("30 100") {
            let piece =
                tokio::time::timeout(PATIENCE, output.next()).await.expect(&seen).expect(&seen).unwrap();
            seen.push_str(&String::from_utf8_lossy(&piece.bytes));
        }
        command.resize(120, 40).await.unwrap();
        input.write_all(b"\n").await.unwrap();
        let (out, _) = rest(&mut output).await;
        assert!(out.contains("40 120"), "{within:?}: {seen}{out}");
        assert_eq!(command.end().await.unwrap().code, Some(0));
        command.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_killed_is_gone_with_what_it_started() {
    let bed = Bed::new();
    let [beside, alone] = both(&bed).await;
    for within in [&beside, &alone] {
        let (command, _input, mut output) = run(&bed, within, "sleep 1234 & echo up; sleep 1234", None).await;
        let up = tokio::time::timeout(PATIENCE, output.next()).await.unwrap().unwrap().unwrap();
        assert_eq!(&up.bytes[..], b"up\n");
        command.kill(true).await.unwrap();
        rest(&mut output).await;
        assert_eq!(command.end().await.unwrap().code, Some(137), "{within:?}");
        command.close().await;
    }
    // What the replica's own first process never waited for is dead all the same, and has no command line any more.
    let (_, _, mut output) = run(&bed, &beside, "cat /proc/[0-9]*/cmdline", None).await;
    let (left, _) = rest(&mut output).await;
    assert!(left.contains("1000") && !left.contains("1234"), "{left:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_on_its_own_has_a_user_and_limits() {
    let bed = Bed::new();
    let resources = Resources { memory_bytes: Some(64 << 20), cpu_millis: Some(500), pids: Some(33) };
    let one_off = OneOff {
        user: Some("app".into()),
        resources,
        ..OneOff::of("shop".parse().unwrap(), ImagePlace::of(IMAGE))
    };
    let (command, mut input, mut output) =
        run(&bed, &Within::Image(Box::new(one_off)), "id -u; read go", None).await;
    let said = tokio::time::timeout(PATIENCE, output.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(&said.bytes[..], b"1000\n");
    let label = format!("pando.owner={}", super::bed::owner(bed.root.path()));
    let options = bollard::query_parameters::ListContainersOptions {
        filters: Some([("label".to_owned(), vec![label])].into()),
        ..Default::default()
    };
    let listed = bed.docker().list_containers(Some(options)).await.unwrap();
    let inspect = None::<bollard::query_parameters::InspectContainerOptions>;
    let found = bed.docker().inspect_container(listed[0].id.as_ref().unwrap(), inspect).await.unwrap();
    let host = found.host_config.unwrap();
    assert_eq!((host.memory, host.nano_cpus, host.pids_limit), (Some(64 << 20), Some(500_000_000), Some(33)));
    input.close().await.unwrap();
    rest(&mut output).await;
    command.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_not_be_run_is_said() {
    let bed = Bed::new();
    let env = BTreeMap::new();
    let [beside, alone] = both(&bed).await;
    let containers = bed.runtime.containers();
    let error = containers.command(&alone, vec!["bin/nothing".into()], &env, None).await.unwrap_err();
    assert!(error.to_string().contains("bin/nothing"), "{error}");
    let nowhere = Within::Run(spec("").key);
    let error = containers.command(&nowhere, vec!["true".into()], &env, None).await.unwrap_err();
    assert!(error.to_string().contains("does not run"), "{error}");
    let (command, _, mut output) = run(&bed, &beside, "bin/nothing", None).await;
    let (out, _) = rest(&mut output).await;
    assert!(out.contains("bin/nothing"), "{out}");
    assert_ne!(command.end().await.unwrap().code, Some(0));
}

/// What a daemon that was killed left of commands goes when the next one adopts; it is no run.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_end_with_the_daemon_that_ran_them() {
    let mut bed = Bed::new();
    let (_command, _input, mut output) = run(&bed, &alone(), "echo up; sleep 1000", None).await;
    tokio::time::timeout(PATIENCE, output.next()).await.unwrap();
    bed.reopen().await;
    assert!(bed.runtime.adopt().await.unwrap().is_empty());
    let label = format!("pando.owner={}", super::bed::owner(bed.root.path()));
    let options = bollard::query_parameters::ListContainersOptions {
        all: true,
        filters: Some([("label".to_owned(), vec![label])].into()),
        ..Default::default()
    };
    assert_eq!(bed.docker().list_containers(Some(options)).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_image_says_what_it_is_and_gets_names() {
    let bed = Bed::new();
    let checked = "pando-test/checked:1";
    on_a_thread(make_image_as(
        super::bed::SOCKET.into(),
        checked,
        &["HEALTHCHECK --interval=7s --retries=5 CMD [\"/bin/echo\", \"ok\"]"],
    ));
    let containers = bed.runtime.containers();
    let facts = containers.image(checked).await.unwrap();
    let health = facts.health.unwrap();
    assert_eq!(
        (health.command, health.interval.0, health.retries),
        (vec!["/bin/echo".to_owned(), "ok".into()], 7000, 5)
    );
    assert_eq!(containers.image(IMAGE).await.unwrap().health, None);
    let name = format!("pando-test/named:{}", containers.mark());
    containers.name(&facts.id, &name).await.unwrap();
    assert_eq!(containers.image(&name).await.unwrap().id, facts.id);
    for _ in 0..2 {
        containers.unname(&name).await.unwrap();
    }
    assert!(containers.image(&name).await.unwrap_err().is_missing());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_are_taken_out_of_an_image_and_nothing_is_left_behind() {
    let bed = Bed::new();
    let containers = bed.runtime.containers();
    let copy = async |image: &str, path: &str, name: &str, most: u64| {
        let into = bed.root.path().join(name);
        let app = "shop".parse().unwrap();
        containers.copy_out(&app, image, path, &into, Bytes(most)).await.map(|()| into)
    };
    let tar = copy(IMAGE, "/etc", "etc", 1_000_000).await.unwrap();
    let mut tar = tar::Archive::new(std::fs::File::open(tar).unwrap());
    let names: Vec<_> = tar.entries().unwrap().map(|one| one.unwrap().path().unwrap().into_owned()).collect();
    assert!(names.iter().any(|name| name.ends_with("passwd") && name.components().count() <= 2), "{names:?}");
    let missing = copy(IMAGE, "/nowhere", "nowhere", 1_000_000).await.unwrap_err();
    assert!(missing.to_string().contains("no directory `/nowhere` in the image"), "{missing}");
    let file = copy(IMAGE, "/etc/passwd", "file", 1_000_000).await.unwrap_err();
    assert!(matches!(&file, CopyError::Missing(_)), "{file}");
    let large = copy(IMAGE, "/bin", "bin", 10_000).await.unwrap_err();
    assert!(matches!(&large, CopyError::TooLarge { .. }), "{large}");
    let no_image = copy("pando-test/nowhere:1", "/etc", "none", 1_000_000).await.unwrap_err();
    assert!(no_image.to_string().contains("has no image `pando-test/nowhere:1`"), "{no_image}");
    let label = vec![format!("pando.owner={}", super::bed::owner(bed.root.path()))];
    let options = bollard::query_parameters::ListContainersOptions {
        all: true,
        filters: Some([("label".to_owned(), label)].into()),
        ..Default::default()
    };
    assert_eq!(bed.docker().list_containers(Some(options)).await.unwrap().len(), 0);
}
