//! What is refused before anything is recorded.

use std::collections::BTreeMap;

use pando_model::app::{EnvValue, PullPolicy, ReplicaCount, RunSource, VolumeSpec};
use pando_model::name::{AppName, ProcessName};
use pando_model::observed::Observed;
use pando_model::resources::Resources;
use pando_model::time::Timestamp;
use pando_plan::{Input, Refusal, World as Desired, admit, admit_scale};

use crate::spec;
use crate::world::{Behaviour, World};

fn cluster() -> Desired {
    let server = spec::server("main", 1);
    Desired { epoch: 1, servers: BTreeMap::from([(server.id, server)]), ..Desired::default() }
}

fn input<'a>(desired: &'a Desired, observed: &'a Observed) -> Input<'a> {
    Input { desired, observed, now: Timestamp::from_millis(0), seed: 1 }
}

#[test]
fn what_does_not_fit_is_refused_with_the_arithmetic() {
    let (desired, observed) = (cluster(), Observed::default());
    let mut app = spec::app(20, 0);
    let web = app.processes.get_mut(&ProcessName::web()).unwrap();
    web.resources = Resources { cpu_millis: None, memory_bytes: Some(512_000_000), pids: None };
    let refused = admit(&input(&desired, &observed), &app).unwrap_err();
    assert_eq!(
        refused.to_string(),
        "main has 8 GB of memory, and hits/web 21 × 512 MB = 10.7 GB is more, one more at a time while it is replaced \
         included (`max_surge`). Lower `replicas` or `resources`, or add a server"
    );
    let web = app.processes.get_mut(&ProcessName::web()).unwrap();
    web.count = ReplicaCount::Total(14);
    assert_eq!(admit(&input(&desired, &observed), &app), Ok(()));
    web_cpu(&mut app, 500);
    let refused = admit(&input(&desired, &observed), &app).unwrap_err();
    assert!(refused.to_string().contains("hits/web 15 × 0.5 = 7.5 is more"), "{refused}");
}

fn web_cpu(app: &mut pando_model::AppSpec, cpu: u32) {
    app.processes.get_mut(&ProcessName::web()).unwrap().resources.cpu_millis = Some(cpu);
}

#[test]
fn a_role_that_no_server_has_is_refused() {
    let (desired, observed) = (cluster(), Observed::default());
    let mut app = spec::app(1, 0);
    app.processes.insert(ProcessName::new("gpu").unwrap(), spec::process("gpu", ReplicaCount::PerServer(1)));
    let refused = admit(&input(&desired, &observed), &app).unwrap_err();
    let text = "no server has the role `gpu` that `gpu` needs; the roles here are lb, web, worker; \
                `pando server roles NAME +gpu` gives it to a server";
    assert_eq!(refused, Refusal::DoesNotFit(text.to_owned()));
}

#[test]
fn what_this_version_does_not_run_is_refused() {
    let (desired, observed) = (cluster(), Observed::default());
    let mut volumes = spec::app(1, 0);
    let data = VolumeSpec { source: "data".to_owned(), target: "/data".to_owned(), read_only: false };
    volumes.volumes.push(data);
    let mut secret = spec::app(1, 0);
    secret.env.insert("KEY".to_owned(), EnvValue::Secret("key".to_owned()));
    for app in [volumes, secret] {
        assert!(matches!(admit(&input(&desired, &observed), &app), Err(Refusal::Invalid(_))));
    }
}

#[test]
fn an_image_needs_no_command_and_may_have_volumes() {
    let (desired, observed) = (cluster(), Observed::default());
    let mut image = spec::app(1, 0);
    image.run = RunSource::Image { reference: "nginx:1".to_owned(), pull_policy: PullPolicy::Always };
    let data = VolumeSpec { source: "data".to_owned(), target: "/data".to_owned(), read_only: false };
    image.volumes.push(data);
    image.processes.values_mut().for_each(|process| process.command = None);
    assert_eq!(admit(&input(&desired, &observed), &image), Ok(()));
    image.run = RunSource::Directory { path: ".".to_owned() };
    image.volumes.clear();
    assert!(matches!(admit(&input(&desired, &observed), &image), Err(Refusal::Invalid(_))));
}

#[test]
fn a_domain_belongs_to_one_app() {
    let mut world = World::new(1, 3);
    let release = world.release(spec::app(1, 0), Behaviour::Good(100));
    world.deploy(pando_model::DeploymentKind::Deploy, release);
    assert!(world.settle(30_000));
    let mut other = spec::app(1, 0);
    other.name = AppName::new("other").unwrap();
    let now = Timestamp::from_millis(i64::try_from(world.now).unwrap());
    let input = Input { desired: &world.desired, observed: &world.observed, now, seed: 1 };
    let refused = admit(&input, &other).unwrap_err();
    assert_eq!(refused.to_string(), "the domain `hits.example.com` belongs to the app `hits` already");
    let scale = BTreeMap::from([(ProcessName::new("wrok").unwrap(), 2)]);
    let refused = admit_scale(&input, &AppName::new("hits").unwrap(), &scale).unwrap_err();
    assert_eq!(refused.to_string(), "`hits` has no process `wrok`; it has `web`");
}
