//! What must never happen, in thousands of random histories.
//!
//! A failure prints its seed; `PANDO_SEED=N cargo nextest run -p pando-plan one_history --no-capture` replays it, with
//! `PANDO_SERVERS=1` one of servers. `PANDO_HISTORIES=N` plays so many.

use pando_model::app::{Amount, ProcessSpec, ReplicaCount, Strategy};
use pando_model::desired::DeploymentKind;
use pando_model::name::ProcessName;
use pando_model::release::ReleaseNumber;
use pando_model::time::Millis;

use crate::servers;
use crate::spec;
use crate::traffic;
use crate::world::{Behaviour, Weather, World, hits};

const HISTORIES: u64 = 4000;
/// Of clusters whose servers come and go. They take longer.
const HISTORIES_OF_SERVERS: u64 = 1500;

fn count(usual: u64) -> u64 {
    std::env::var("PANDO_HISTORIES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

#[test]
fn random_histories_break_no_promise() {
    let failures: Vec<String> =
        (0..count(HISTORIES)).filter_map(|seed| history(seed).err()).take(3).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn random_histories_of_servers_break_no_promise() {
    let failures: Vec<String> =
        (0..count(HISTORIES_OF_SERVERS)).filter_map(|seed| history_of_servers(seed).err()).take(3).collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

#[test]
fn one_history() {
    let seed = std::env::var("PANDO_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(42);
    let done =
        if std::env::var_os("PANDO_SERVERS").is_some() { history_of_servers(seed) } else { history(seed) };
    if let Err(failure) = done {
        panic!("{failure}");
    }
}

/// Servers join, change roles, are drained, removed, lost and found again while the app is deployed and scaled; in every other
/// history nothing goes wrong, and then every entry point always finds something that answers. In the end everybody is heard again.
fn history_of_servers(seed: u64) -> Result<(), String> {
    let mut world = World::empty(seed);
    let first = 2 + seed % 3;
    for number in 1..=first {
        world.join(&format!("s{number}"), &["web", "worker"]);
    }
    let stormy = seed.is_multiple_of(2);
    world.weather = Weather { most_delay: 50 + world.roll(if stormy { 1000 } else { 300 }), ..world.weather };
    world.holds = world.roll(3) * 1000;
    world.run_for(1000);
    deploy(&mut world, stormy);
    for _ in 0..4 + world.roll(10) {
        match world.roll(3) {
            0 => operate(&mut world, stormy),
            _ => servers::change(&mut world, stormy),
        }
        let length = world.roll(15_000);
        world.run_for(length);
        report(seed, &world)?;
    }
    world.weather = Weather { most_delay: 50, loss: 0, repeats: 0 };
    heal(&mut world);
    servers::all_come_back(&mut world);
    world.run_for(5000);
    if !world.hear_all() || !world.settle(1_200_000) {
        return Err(format!("seed {seed} never settles: {:#?}\n{}", world.last.report, world.log.join("\n")));
    }
    report(seed, &world)?;
    came_true(seed, &mut world)?;
    servers::are_even(seed, &world)
}

/// Operators deploy, scale, stop and go back in the middle of everything; replicas crash, messages get lost; then the sky clears,
/// and what was asked for last must come true.
fn history(seed: u64) -> Result<(), String> {
    let servers = u8::try_from(1 + seed % 3).unwrap();
    let mut world = World::new(servers, seed);
    let stormy = seed.is_multiple_of(2);
    if stormy {
        world.weather =
            Weather { most_delay: 50 + world.roll(2000), loss: world.roll(20), repeats: world.roll(20) };
    }
    world.holds = world.roll(4) * 1000;
    world.run_for(500);
    for _ in 0..4 + world.roll(8) {
        operate(&mut world, stormy);
        let length = world.roll(12_000);
        world.run_for(length);
        report(seed, &world)?;
    }
    world.weather = Weather { most_delay: 50, loss: 0, repeats: 0 };
    heal(&mut world);
    world.run_for(1000);
    if !world.hear_all() || !world.settle(1_200_000) {
        return Err(format!("seed {seed} never settles: {:#?}\n{}", world.last.report, world.log.join("\n")));
    }
    report(seed, &world)?;
    came_true(seed, &mut world)
}

fn report(seed: u64, world: &World) -> Result<(), String> {
    if world.broken.is_empty() {
        return Ok(());
    }
    Err(format!("seed {seed}: {:#?}\n{}", &world.broken[..world.broken.len().min(5)], world.log.join("\n")))
}

fn operate(world: &mut World, stormy: bool) {
    if world.roll(6) == 0 {
        traffic::interlude(world);
    }
    let draw = world.roll(if stormy { 14 } else { 8 });
    match draw {
        0..=3 => deploy(world, stormy),
        4 => {
            let releases: Vec<ReleaseNumber> = world.app().releases.keys().copied().collect();
            let back = releases.first().copied();
            if let Some(release) = back {
                world.deploy(DeploymentKind::Rollback, release);
            }
        }
        5 => {
            if let Some(target) = world.app().assigned.committed {
                world.deploy(DeploymentKind::Restart, target.release);
            }
        }
        6 => {
            let count = u32::try_from(1 + world.roll(5)).unwrap();
            world.app().wish.scale.insert(ProcessName::web(), count);
        }
        7 => {
            let stopped = world.app().wish.stopped;
            world.app().wish.stopped = !stopped;
        }
        8 | 9 => world.crash_some_replica(),
        10 => {
            let length = world.roll(30_000);
            world.agent_away(length);
        }
        11 => {
            let length = world.roll(15_000);
            world.proxy_away(length);
        }
        12 => world.control_restarts(),
        _ => {
            world.command_exit =
                [Some(0), Some(1), None][usize::try_from(world.entropy.next_u64() % 3).unwrap()]
        }
    }
}

/// `wild`: with whatever may interrupt the service.
fn deploy(world: &mut World, wild: bool) {
    let (web, workers) = (1 + world.roll(4), world.roll(3));
    let mut spec = spec::app(u32::try_from(web).unwrap(), u32::try_from(workers).unwrap());
    spec.min_ready = Millis(world.roll(3) * 1000);
    let (surge, unavailable) = (world.roll(3), if wild { world.roll(3) } else { 0 });
    spec.strategy = match world.roll(if wild { 6 } else { 0 }) {
        _ if !wild => Strategy::Rolling {
            max_unavailable: Amount::Count(0),
            max_surge: Amount::Count(u32::try_from(surge.max(1)).unwrap()),
        },
        0 => Strategy::Replace,
        1 => Strategy::Rolling { max_unavailable: Amount::Percent(25), max_surge: Amount::Percent(25) },
        _ => Strategy::Rolling {
            max_unavailable: Amount::Count(u32::try_from(unavailable).unwrap()),
            max_surge: Amount::Count(u32::try_from(surge.max(u64::from(unavailable == 0))).unwrap()),
        },
    };
    // Service is judged as never interrupted: that is what the default promises, not these.
    if unavailable > 0
        || spec.strategy == Strategy::Replace
        || matches!(spec.strategy, Strategy::Rolling { max_unavailable: Amount::Percent(_), .. })
    {
        world.misfortune = true;
    }
    if world.roll(3) == 0 {
        spec.release_command = Some("bin/migrate".to_owned());
    }
    if world.desired.servers.len() > 1 && world.roll(4) == 0 {
        let web = spec.processes.get_mut(&ProcessName::web()).unwrap();
        web.count = ReplicaCount::PerServer(1);
    }
    if let Some(worker) = spec.processes.get_mut(&ProcessName::new("worker").unwrap()) {
        worker.singleton = world.entropy.next_u64().is_multiple_of(3);
    }
    traffic::draw(world, &mut spec);
    let length = world.roll(2000);
    let behaviour = match world.roll(10) {
        0 => Behaviour::NeverReady,
        1 => Behaviour::Crash,
        2 => {
            world.misfortune = true;
            Behaviour::CrashAfter(500 + length)
        }
        3 => Behaviour::PortTaken(2),
        4 => Behaviour::NoSpace,
        _ => Behaviour::Good(length),
    };
    let release = world.release(spec, behaviour);
    world.deploy(DeploymentKind::Deploy, release);
}

/// Whatever was committed behaves from now on, so that it can come up at all.
fn heal(world: &mut World) {
    let good: Vec<ReleaseNumber> = world.behaviours.keys().copied().collect();
    for release in good {
        if matches!(world.behaviours.get(&release), Some(Behaviour::CrashAfter(_))) {
            world.behaviours.insert(release, Behaviour::Good(100));
        }
    }
}

fn came_true(seed: u64, world: &mut World) -> Result<(), String> {
    if let Some((deployment, times)) = world.commands_started.iter().find(|(_, times)| **times > 1) {
        return Err(format!("seed {seed}: the release command of {deployment} ran {times} times"));
    }
    let running = world.running();
    let app = world.desired.apps.get(&hits()).cloned().unwrap_or_default();
    let wanted: usize = match app.assigned.committed {
        Some(target) if !app.wish.stopped => {
            let processes = &app.releases[&target.release].spec.processes;
            processes
                .iter()
                .map(|(name, spec)| wanted_of(world, spec, app.wish.scale.get(name).copied()))
                .sum()
        }
        _ => 0,
    };
    let total: usize = running.values().sum();
    let one_release = running.len() <= 1;
    if total != wanted || !one_release {
        let (places, log) = (world.places().join("\n"), world.log.join("\n"));
        return Err(format!("seed {seed}: {wanted} wanted, running {running:?}\n{places}\n{log}"));
    }
    if world.ports().len() != total {
        return Err(format!("seed {seed}: ports are shared: {:?}", world.ports()));
    }
    traffic::is_published(seed, world)
}

fn wanted_of(world: &World, spec: &ProcessSpec, scale: Option<u32>) -> usize {
    let places = servers::taking(world, spec).len();
    let wanted = match (scale, spec.count) {
        _ if spec.singleton => 1,
        (Some(count), _) | (None, ReplicaCount::Total(count)) => count as usize,
        (None, ReplicaCount::PerServer(each)) => each as usize * places,
    };
    if places == 0 { 0 } else { wanted }
}
