//! Deploying, going back, restarting, scaling, stopping.

use std::collections::{BTreeMap, BTreeSet};

use pando_api::v1::deployments::{DeployAction, DeployRequest, IfBusy};
use pando_control::admission::{Admission, Planner};
use pando_control::deploy::{Asked, propose};
use pando_control::store::{Key, Outcome, Txn};
use pando_model::app::{
    Algorithm, Amount, AppSpec, DomainSpec, HealthCheck, HealthKind, ProcessSpec, ReplicaCount, RunSource,
    Strategy,
};
use pando_model::desired::Wish;
use pando_model::id::DeploymentId;
use pando_model::name::{AppName, ProcessName, RoleName};
use pando_model::release::Digest;
use pando_model::resources::Resources;
use pando_model::time::Millis;
use pando_model::traffic::RouteSpec;
use pando_plan::Input;
use pando_routing::PathMatch;
use pando_routing::rule::{Redirect, Respond, Rewrite};

use crate::behaviour::{Behaviour, Kind};
use crate::dice::Dice;
use crate::trace::say;
use crate::world::{Event, World};

use super::Errand;

/// Drains take at least this; requests that take longer may be cut off.
pub(crate) const LEAST_STOP_TIMEOUT: u64 = 3000;

/// A process that is never two.
pub(crate) const SINGLETON: &str = "clock";

impl World {
    /// A new release; the first one of an app is a good one.
    pub(super) fn deploy(&mut self, app: &AppName, first: bool) {
        let most = (self.machines.len() as u64 * 2).clamp(2, 400);
        let dice = &mut self.workload.dice;
        let spec = draw_spec(dice, app, most);
        let mut behaviour = draw_behaviour(dice);
        if first {
            behaviour = Behaviour { kind: Kind::Good, command: Some(0), ..behaviour };
        }
        // A strategy that stops before it starts interrupts service, as its user knows.
        if !keeps_serving(&spec) {
            self.checkers.excuse(app);
        }
        let artifact = Digest::new(format!("{:064x}", dice.word())).ok();
        let action = DeployAction::Deploy { spec: Box::new(spec), artifact };
        self.request(app, action, Some(behaviour));
    }

    pub(super) fn roll_back(&mut self, app: &AppName) {
        // The strategy of an older release may interrupt.
        self.checkers.excuse(app);
        self.request(app, DeployAction::Rollback { release: None }, None);
    }

    pub(super) fn restart(&mut self, app: &AppName) {
        self.request(app, DeployAction::Restart, None);
    }

    /// As the API does: propose, ask the planner, write.
    fn request(&mut self, app: &AppName, action: DeployAction, behaviour: Option<Behaviour>) {
        let now = self.control_now();
        let Ok(loaded) = self.control.load() else { return };
        let Some((state, _)) = self.control.state() else {
            // The first of all come before the control plane has read its store.
            return self.record(app, action, behaviour, &loaded);
        };
        if let DeployAction::Deploy { spec, .. } = &action {
            let input = Input { desired: &loaded.world, observed: &state.observed, now, seed: 0 };
            if let Err(refusal) = Planner.admit(&input, spec) {
                say!(self, "operator", "{app}: refused: {}", refusal.message);
                return;
            }
        }
        self.record(app, action, behaviour, &loaded);
    }

    fn record(
        &mut self,
        app: &AppName,
        action: DeployAction,
        behaviour: Option<Behaviour>,
        loaded: &pando_control::state::State,
    ) {
        let at = self.control_now();
        let id = DeploymentId::new(at, self.workload.dice.entropy());
        let request = DeployRequest { action, if_busy: IfBusy::Wait, dry_run: false, note: None };
        let asked = Asked { by: "operator", at, id };
        let proposed = match propose(loaded, app, &request, asked) {
            Ok(proposed) => proposed,
            Err(refusal) => {
                say!(self, "operator", "{app}: refused: {}", refusal.message);
                return;
            }
        };
        let release = proposed.proposal.release.number;
        let kind = proposed.proposal.deployment.kind;
        say!(self, "operator", "{app}: {kind:?} of {release} {}", words(behaviour));
        if let Some(behaviour) = behaviour {
            self.apps.set(app, release, behaviour);
        }
        if let Ok(txn) = proposed.txn(loaded, self.workload.dice.entropy()) {
            self.write(txn);
        }
    }

    /// To the store, past the control plane's loop, which is told of it.
    pub(super) fn write(&mut self, txn: Txn) {
        match self.control.write(txn) {
            Ok(Outcome::Committed(revision)) => {
                self.workload.asked = revision;
                self.hint_control(revision);
            }
            Ok(Outcome::Conflict) | Err(_) => say!(self, "operator", "it is being changed by many at once"),
        }
    }

    pub(super) fn scale(&mut self, app: &AppName) {
        let most = (self.machines.len() as u64 * 2).clamp(2, 400);
        let process = if self.workload.dice.chance(70) { "web" } else { "worker" };
        let Ok(process) = ProcessName::new(process) else { return };
        let count = self.workload.dice.between(1, most);
        let count = u32::try_from(count).unwrap_or(1);
        let now = self.control_now();
        let Ok(loaded) = self.control.load() else { return };
        let Some(known) = loaded.app(app) else { return };
        let mut wish = known.wish.clone();
        if self.workload.dice.chance(20) {
            wish.scale.remove(&process);
        } else {
            wish.scale.insert(process.clone(), count);
        }
        let Some((state, _)) = self.control.state() else { return };
        let input = Input { desired: &loaded.world, observed: &state.observed, now, seed: 0 };
        if let Err(refusal) = Planner.admit_scale(&input, app, &wish.scale) {
            say!(self, "operator", "{app}: refused: {}", refusal.message);
            return;
        }
        say!(self, "operator", "{app}: scale {:?}", wish.scale);
        self.wish(app, &wish, &loaded);
    }

    /// Unless somebody did so before.
    pub(super) fn start_again(&mut self, app: &AppName) {
        let stopped =
            self.control.load().is_ok_and(|loaded| loaded.app(app).is_some_and(|app| app.wish.stopped));
        if stopped {
            self.stop_or_start(app);
        }
    }

    pub(super) fn stop_or_start(&mut self, app: &AppName) {
        let Ok(loaded) = self.control.load() else { return };
        let Some(known) = loaded.app(app) else { return };
        let stopped = !known.wish.stopped;
        let remove = stopped && self.workload.dice.chance(30);
        say!(self, "operator", "{app}: {}", if stopped { "stop" } else { "start" });
        self.checkers.excuse(app);
        let wish = Wish { stopped, remove, ..known.wish.clone() };
        self.wish(app, &wish, &loaded);
        if stopped {
            // People who stop an app mean to start it again.
            let after = self.workload.dice.magnitude(2000, 40_000);
            self.queue.put(self.now + after, Event::Errand(Errand::Start(app.clone())));
        }
    }

    fn wish(&mut self, app: &AppName, wish: &Wish, loaded: &pando_control::state::State) {
        let key = Key::AppSpec(app.clone());
        if let Ok(txn) = Txn::new().unchanged(&key, loaded.modified(&key)).put(&key, wish) {
            self.write(txn);
        }
    }
}

fn words(behaviour: Option<Behaviour>) -> String {
    behaviour.map(|behaviour| format!("({behaviour:?})")).unwrap_or_default()
}

/// Whether replacing its replicas, as it says, leaves some that serve.
fn keeps_serving(spec: &AppSpec) -> bool {
    matches!(spec.strategy, Strategy::Rolling { max_unavailable: Amount::Count(0), .. })
}

fn draw_spec(dice: &mut Dice, app: &AppName, most: u64) -> AppSpec {
    let role = |name: &str| RoleName::new(name).unwrap_or_else(|_| RoleName::web());
    let mut processes = BTreeMap::from([(ProcessName::web(), draw_process(dice, role("web"), most))]);
    for (name, chance) in [("worker", 60), (SINGLETON, 40)] {
        let Ok(process) = ProcessName::new(name) else { continue };
        if dice.chance(chance) {
            let mut spec = draw_process(dice, role("worker"), most);
            spec.singleton = name == SINGLETON;
            if spec.singleton {
                spec.count = ReplicaCount::Total(1);
            }
            processes.insert(process, spec);
        }
    }
    AppSpec {
        name: app.clone(),
        run: RunSource::Directory { path: ".".to_owned() },
        prepare: dice.chance(15).then(|| "bin/prepare".to_owned()),
        release_command: dice.chance(25).then(|| "bin/migrate".to_owned()),
        keep_releases: 5,
        strategy: draw_strategy(dice),
        min_ready: Millis(dice.below(3) * 700),
        processes,
        domains: vec![DomainSpec {
            domain: format!("{app}.example.com"),
            aliases: Vec::new(),
            https: Default::default(),
        }],
        routes: draw_routes(dice),
        balancing: match dice.below(3) {
            0 => Algorithm::RoundRobin,
            1 => Algorithm::LeastConnections,
            _ => Algorithm::PeakEwma,
        },
        pools: BTreeMap::new(),
        env: BTreeMap::new(),
        volumes: Vec::new(),
        asset_path: None,
        services: BTreeMap::new(),
    }
}

/// Each leads to `web`, which every app has, or answers by itself.
fn draw_routes(dice: &mut Dice) -> Vec<RouteSpec> {
    let prefix = |path: &str| PathMatch::Prefix(path.to_owned());
    let moved = Redirect { path: Some(Rewrite::Prefix("/new".into())), ..Redirect::default() };
    let all = [
        RouteSpec { strip_prefix: true, ..RouteSpec::to("/api", ProcessName::web()) },
        RouteSpec {
            path: PathMatch::Exact("/robots.txt".to_owned()),
            respond: Some(Respond::default()),
            ..RouteSpec::default()
        },
        RouteSpec { path: prefix("/old"), redirect: Some(moved), ..RouteSpec::default() },
        RouteSpec { name: Some("named".to_owned()), path: prefix("/named"), ..RouteSpec::default() },
    ];
    all.into_iter().filter(|_| dice.chance(25)).collect()
}

fn draw_process(dice: &mut Dice, role: RoleName, most: u64) -> ProcessSpec {
    let total = u32::try_from(dice.magnitude(1, most)).unwrap_or(1);
    let count = match dice.below(3) {
        0 => ReplicaCount::PerServer(u32::try_from(1 + dice.below(2)).unwrap_or(1)),
        _ => ReplicaCount::Total(total),
    };
    ProcessSpec {
        command: Some("bin/run".to_owned()),
        role,
        count,
        container_port: None,
        health: HealthCheck {
            kind: if dice.chance(80) { HealthKind::Tcp } else { HealthKind::None },
            interval: Millis(dice.between(500, 2000)),
            timeout: Millis(1000),
            healthy: 2,
            unhealthy: 3,
            start_timeout: Millis::from_secs(dice.between(10, 30)),
        },
        stop_timeout: Millis(dice.between(LEAST_STOP_TIMEOUT, 10_000)),
        resources: Resources::default(),
        singleton: false,
        depends_on: Default::default(),
        user: None,
        min_ready: None,
        env: BTreeMap::new(),
        servers: BTreeSet::new(),
        labels: BTreeMap::new(),
    }
}

fn draw_strategy(dice: &mut Dice) -> Strategy {
    match dice.below(10) {
        0 => Strategy::Replace,
        1 => Strategy::Rolling { max_unavailable: Amount::Percent(25), max_surge: Amount::Percent(25) },
        2 => Strategy::Rolling { max_unavailable: Amount::Count(1), max_surge: Amount::Count(0) },
        surge => Strategy::Rolling {
            max_unavailable: Amount::Count(0),
            max_surge: if surge < 8 { Amount::Count(1) } else { Amount::Percent(50) },
        },
    }
}

fn draw_behaviour(dice: &mut Dice) -> Behaviour {
    let kind = match dice.below(20) {
        0 => Kind::NeverReady,
        1 => Kind::Crashes,
        2 => Kind::CrashesLater(dice.magnitude(300, 60_000)),
        3 => Kind::Moody,
        4 => Kind::TooLarge,
        _ => Kind::Good,
    };
    let command = match dice.below(10) {
        0 => Some(1),
        _ => Some(0),
    };
    Behaviour { kind, boot: dice.magnitude(50, 4000), stop: dice.magnitude(5, 8000), command }
}
