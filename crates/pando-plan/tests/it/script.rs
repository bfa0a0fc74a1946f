//! Stories as text: one command a line, played in the world, told as a log.
//!
//! ```text
//! deploy web=3 [worker=2] [good|broken|crash|crash-after|taken|full] [strategy=replace] [min_ready=2] [surge=2] [unavailable=1] [release]
//! rollback v1 · restart · scale web=5 · stop · start · wait 5 · settle · hold 3 · kill · command fails|vanishes · control restarts
//! ```

use pando_model::app::{Amount, Strategy};
use pando_model::desired::DeploymentKind;
use pando_model::name::ProcessName;
use pando_model::time::Millis;

use crate::spec;
use crate::world::{Behaviour, World, hits};

pub(crate) fn play(script: &str) -> String {
    let mut world = World::new(1, 7);
    world.run_for(1000);
    let mut told = String::new();
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
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
        ["scale", rest @ ..] => {
            for word in rest {
                let (process, count) = word.split_once('=').unwrap();
                world.app().wish.scale.insert(ProcessName::new(process).unwrap(), count.parse().unwrap());
            }
        }
        ["stop"] => world.app().wish.stopped = true,
        ["start"] => world.app().wish.stopped = false,
        ["wait", seconds] => world.run_for(seconds.parse::<u64>().unwrap() * 1000),
        ["settle"] => assert!(world.settle(600_000), "never settles: {:#?}", world.last.report),
        ["hold", seconds] => world.holds = seconds.parse::<u64>().unwrap() * 1000,
        ["kill"] => world.crash_some_replica(),
        ["command", "fails"] => world.command_exit = Some(1),
        ["command", "vanishes"] => world.command_exit = None,
        ["control", "restarts"] => world.control_restarts(),
        other => panic!("unknown command {other:?}"),
    }
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
                    pando_model::app::ReplicaCount::Total(n) => n,
                    pando_model::app::ReplicaCount::PerServer(_) => 1,
                };
                spec = spec::app(total, count.parse().unwrap());
            }
            Some(("strategy", "replace")) => replace = true,
            Some(("min_ready", seconds)) => spec.min_ready = Millis::from_secs(seconds.parse().unwrap()),
            Some(("surge", count)) => surge = count.parse().unwrap(),
            Some(("unavailable", count)) => unavailable = count.parse().unwrap(),
            _ => match *word {
                "good" => {}
                "broken" => behaviour = Behaviour::NeverReady,
                "crash" => behaviour = Behaviour::Crash,
                "crash-after" => behaviour = Behaviour::CrashAfter(1500),
                "taken" => behaviour = Behaviour::PortTaken(2),
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
    let release = world.release(spec, behaviour);
    world.deploy(DeploymentKind::Deploy, release);
}
