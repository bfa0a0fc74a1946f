//! Stories as text: one command a line, played in the world, told as a log.
//!
//! ```text
//! servers s1:web,worker s2:lb          the first line; one server with every role otherwise
//! deploy web=3 [worker=2] [good|broken|crash|crash-after|workers-end|taken|comes|full] [strategy=replace] [min_ready=2] [min_ready_of=worker:5] [surge=2] [unavailable=1] [release]
//!        [after=worker] [each=1] [singleton] [pin=s1,s2] [label=disk:ssd] [memory=2000] [db] [broken-on=s5]
//! rollback v1 · restart · scale web=5 · stop · start · wait 5 · settle · hold 3 · kill · command fails|vanishes · control restarts
//! join s3:web · roles s1 -worker +lb · label s2 disk=ssd · drain s1 · undrain s1 · remove s1 · force drain|remove|roles s1 … · lockdown on|off
//! lose s3 · back s3 · cut s3 · deafen s3 · show · settle-but-lost
//! ```
//!
//! `each` counts for each server with the role; `db` lets the app use a service on the role `db`. `settle-but-lost` is content while
//! something waits for a server that is lost.

use pando_model::app::{Amount, AppSpec, ProcessSpec, ReplicaCount, Strategy};
use pando_model::desired::DeploymentKind;
use pando_model::name::{ProcessName, ServerName};
use pando_model::server::Standing;
use pando_model::time::Millis;

use crate::spec;
use crate::world::{Behaviour, World, hits};

pub(crate) fn play(script: &str) -> String {
    let mut lines =
        script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).peekable();
    let mut world = match lines.next_if(|line| line.starts_with("servers ")) {
        Some(line) => cluster(line),
        None => World::new(1, 7),
    };
    world.run_for(1000);
    let mut told = String::new();
    for line in lines {
        world.log.clear();
        perform(&mut world, line);
        told.push_str(&format!("> {line}\n"));
        for line in &world.log {
            told.push_str(&format!("{line}\n"));
        }
    }
    told.push_str(&ending(&world));
    assert!(world.broken.is_empty(), "{script}\n{told}\n{:#?}", world.broken);
    told
}

fn cluster(line: &str) -> World {
    let mut world = World::empty(7);
    for word in line.split_whitespace().skip(1) {
        join(&mut world, word);
    }
    world
        .desired
        .servers
        .values_mut()
        .for_each(|server| server.joined_at = pando_model::Timestamp::from_millis(0));
    world
}

fn join(world: &mut World, word: &str) {
    let (name, roles) = word.split_once(':').unwrap();
    world.join(name, &roles.split(',').filter(|role| !role.is_empty()).collect::<Vec<_>>());
}

fn answer(world: &mut World, answer: Result<(), pando_plan::Refusal>) {
    if let Err(refusal) = answer {
        world.log.push(format!("   refused: {refusal}"));
    }
}

fn ending(world: &World) -> String {
    let mut text = String::from("=\n");
    for deployment in &world.ended {
        text.push_str(&format!("{} {:?}: {}\n", deployment.release, deployment.kind, outcome(deployment)));
    }
    for line in world.last.report.apps.values().flat_map(|app| app.lines()) {
        text.push_str(&format!("{line}\n"));
    }
    text.push_str(&format!("running: {:?}\n", world.running()));
    text
}

fn outcome(deployment: &pando_model::Deployment) -> String {
    match &deployment.phase {
        pando_model::DeploymentPhase::Done { replaced } => format!("done, {replaced} replaced"),
        pando_model::DeploymentPhase::Failed { failure } => format!("failed: {}", failure.message),
        other => format!("{other:?}"),
    }
}

fn perform(world: &mut World, line: &str) {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["deploy", rest @ ..] => deploy(world, rest),
        ["rollback", release] => {
            world.deploy(DeploymentKind::Rollback, release.parse().unwrap());
        }
        ["restart"] => {
            let release = world.app().assigned.committed.unwrap().release;
            world.deploy(DeploymentKind::Restart, release);
        }
        ["scale", rest @ ..] => scale(world, rest),
        ["stop"] => world.app().wish.stopped = true,
        ["start"] => world.app().wish.stopped = false,
        ["wait", seconds] => world.run_for(seconds.parse::<u64>().unwrap() * 1000),
        ["settle"] => assert!(world.settle(600_000), "never settles: {:#?}", world.last.report),
        ["settle-but-lost"] => {
            assert!(world.settle_but_lost(600_000), "never settles: {:#?}", world.last.report);
        }
        ["hold", seconds] => world.holds = seconds.parse::<u64>().unwrap() * 1000,
        ["kill"] => world.crash_some_replica(),
        ["command", "fails"] => world.command_exit = Some(1),
        ["command", "vanishes"] => world.command_exit = None,
        ["control", "restarts"] => world.control_restarts(),
        other => on_servers(world, other),
    }
}

fn scale(world: &mut World, words: &[&str]) {
    let mut scale = world.app().wish.scale.clone();
    for word in words {
        let (process, count) = word.split_once('=').unwrap();
        scale.insert(ProcessName::new(process).unwrap(), count.parse().unwrap());
    }
    match pando_plan::admit_scale(&world.input(), &hits(), &scale) {
        Ok(()) => world.app().wish.scale = scale,
        Err(refusal) => world.log.push(format!("   refused: {refusal}")),
    }
}

fn on_servers(world: &mut World, words: &[&str]) {
    match words {
        ["join", server] => join(world, server),
        ["roles", server, changes @ ..] => {
            let done = world.change_roles(world.server(server), changes);
            answer(world, done);
        }
        ["label", server, label] => {
            let (name, value) = label.split_once('=').unwrap();
            let id = world.server(server);
            let labels = &mut world.desired.servers.get_mut(&id).unwrap().labels;
            labels.insert(name.to_owned(), value.to_owned());
        }
        ["drain", server] => stand(world, server, Standing::Draining),
        ["remove", server] => stand(world, server, Standing::Leaving),
        ["undrain", server] => stand(world, server, Standing::Active),
        ["force", "roles", server, changes @ ..] => world.insist_on_roles(world.server(server), changes),
        ["force", "drain", server] => world.insist(world.server(server), Standing::Draining),
        ["force", "remove", server] => world.insist(world.server(server), Standing::Leaving),
        ["lockdown", on] => world.desired.settings.lockdown = *on == "on",
        ["lose", server] => world.lose(world.server(server)),
        ["back", server] => world.come_back(world.server(server)),
        ["cut", server] => world.cut(world.server(server)),
        ["deafen", server] => world.deafen(world.server(server)),
        ["show"] => {
            let places = world.places();
            world.log.extend(places.into_iter().map(|line| format!("   {line}")));
        }
        other => panic!("unknown command {other:?}"),
    }
}

fn stand(world: &mut World, server: &str, standing: Standing) {
    let done = world.stand(world.server(server), standing);
    answer(world, done);
}

fn deploy(world: &mut World, words: &[&str]) {
    let mut spec = spec::app(3, 0);
    let mut behaviour = Behaviour::Good(500);
    let (mut surge, mut unavailable, mut replace) = (1, 0, false);
    for word in words {
        match word.split_once('=') {
            Some(("web", count)) => spec = spec::app(count.parse().unwrap(), 0),
            Some(("worker", count)) => {
                let web = spec.processes.len();
                assert_eq!(web, 1, "worker= follows web=");
                let total = match spec.processes[&ProcessName::web()].count {
                    ReplicaCount::Total(n) => n,
                    ReplicaCount::PerServer(_) => 1,
                };
                spec = spec::app(total, count.parse().unwrap());
            }
            Some(("strategy", "replace")) => replace = true,
            Some(("min_ready", seconds)) => spec.min_ready = Millis::from_secs(seconds.parse().unwrap()),
            Some(("min_ready_of", own)) => {
                let (name, seconds) = own.split_once(':').unwrap();
                let process = spec.processes.get_mut(&ProcessName::new(name).unwrap()).unwrap();
                process.min_ready = Some(Millis::from_secs(seconds.parse().unwrap()));
            }
            Some(("surge", count)) => surge = count.parse().unwrap(),
            Some(("unavailable", count)) => unavailable = count.parse().unwrap(),
            Some(("each", count)) => web(&mut spec).count = ReplicaCount::PerServer(count.parse().unwrap()),
            Some(("after", name)) => {
                let name = ProcessName::new(name).unwrap();
                web(&mut spec).depends_on.insert(name);
            }
            Some(("pin", names)) => {
                web(&mut spec).servers =
                    names.split(',').map(|name| ServerName::new(name).unwrap()).collect();
            }
            Some(("label", label)) => {
                let (name, value) = label.split_once(':').unwrap();
                web(&mut spec).labels.insert(name.to_owned(), value.to_owned());
            }
            Some(("memory", megabytes)) => {
                let bytes = megabytes.parse::<u64>().unwrap() * 1_000_000;
                web(&mut spec).resources.memory_bytes = Some(bytes);
            }
            Some(("broken-on", name)) => behaviour = Behaviour::BrokenOn(world.server(name)),
            _ => match *word {
                "singleton" => spec.processes.values_mut().last().unwrap().singleton = true,
                "db" => spec::use_database(&mut spec),
                "good" => {}
                "broken" => behaviour = Behaviour::NeverReady,
                "crash" => behaviour = Behaviour::Crash,
                "crash-after" => behaviour = Behaviour::CrashAfter(1500),
                "workers-end" => behaviour = Behaviour::WorkersEnd(1500),
                "taken" => behaviour = Behaviour::PortTaken(2),
                "comes" => behaviour = Behaviour::Comes,
                "full" => behaviour = Behaviour::NoSpace,
                "release" => spec.release_command = Some("bin/migrate".to_owned()),
                other => panic!("unknown word {other}"),
            },
        }
    }
    spec.strategy = if replace {
        Strategy::Replace
    } else {
        Strategy::Rolling { max_unavailable: Amount::Count(unavailable), max_surge: Amount::Count(surge) }
    };
    assert_eq!(spec.name, hits());
    if let Err(refusal) = pando_plan::admit(&world.input(), &spec) {
        world.log.push(format!("   refused: {refusal}"));
        return;
    }
    let release = world.release(spec, behaviour);
    world.deploy(DeploymentKind::Deploy, release);
}

fn web(spec: &mut AppSpec) -> &mut ProcessSpec {
    spec.processes.get_mut(&ProcessName::web()).unwrap()
}
