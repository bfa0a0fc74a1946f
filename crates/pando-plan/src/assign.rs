//! What each server is to run, derived from what was decided for every app.
//!
//! What a server was told of an instance, a task or a release stays as it is: of
//! a running thing, the assignment says what it was started with. So most
//! assignments need not even be put together to see that they have not changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use pando_model::app::{AppSpec, ProcessSpec, RunSource};
use pando_model::assignment::{
    AssignedInstance, AssignedRelease, AssignedTask, Assignment, Container, Entry, ReleaseImage, TaskKind,
};
use pando_model::desired::{DeploymentPhase, Phase};
use pando_model::id::{DeploymentId, TaskId, Version};
use pando_model::name::{AppName, ProcessName};
use pando_model::release::ReleaseNumber;

use crate::action::{Action, Plan};
use crate::app::AppPlan;
use crate::deployment::COMMAND_WITHIN;
use crate::environment;
use crate::firewall::Cluster;
use crate::members::Member;
use crate::peers::{self, Circle};
use crate::standing::{self, Remains};
use crate::view::{Seat, View};

/// Publishes what changed, but for the servers that this plan forgets.
pub(crate) fn publish(
    view: &View<'_>,
    apps: &[AppPlan<'_>],
    remains: &Remains,
    forgotten: &[usize],
    plan: &mut Plan,
) {
    let circle = Circle::without(view, forgotten);
    let wanted = Wanted::of(view, apps);
    let firewall = Cluster::planned(&view.input, apps);
    let mut changed = BTreeMap::new();
    for (place, seat) in view.seats.iter().enumerate().filter(|(place, _)| !forgotten.contains(place)) {
        let mut assignment = of_server(view, seat, remains, place);
        assignment.firewall = Some(firewall.rules_of(seat.server));
        let around = circle.around(place);
        if !wanted.is_told(view, seat, place, &assignment, &around) {
            let peers = peers::listed(view, &around);
            changed.insert(place, Assignment { peers, ..assignment });
        }
    }
    wanted.fill(view, apps, &mut changed);
    for (place, assignment) in changed {
        plan.actions.extend(view.seat(place).and_then(|seat| publication(view, seat, assignment)));
    }
}

/// What follows from the server alone.
fn of_server(view: &View<'_>, seat: &Seat<'_>, remains: &Remains, place: usize) -> Assignment {
    let mut assignment = Assignment::empty(seat.server.id);
    assignment.entry = standing::is_entry_point(view, remains, place)
        .then(|| Entry { prefer_local: seat.server.prefers_local() });
    assignment
}

fn publication(view: &View<'_>, seat: &Seat<'_>, mut wanted: Assignment) -> Option<Action> {
    let epoch = view.input.desired.epoch;
    if seat.told.is_some_and(|told| told.same_content(&wanted) && told.version.epoch == epoch) {
        return None;
    }
    let revision = seat.told.map_or(0, |told| told.version.revision) + 1;
    wanted.version = Version::new(epoch, revision);
    Some(Action::Assign(wanted))
}

/// What every place is to have, as far as it takes to see whether it was told so.
struct Wanted<'p> {
    /// How many of the instances that it is to run it was told of.
    known: Vec<usize>,
    /// It is to run others, too.
    more: Vec<bool>,
    /// By app, then number.
    releases: Vec<Vec<(&'p AppPlan<'p>, ReleaseNumber)>>,
    tasks: BTreeMap<usize, BTreeMap<TaskId, &'p AppPlan<'p>>>,
}

impl<'p> Wanted<'p> {
    fn of(view: &View<'_>, apps: &'p [AppPlan<'p>]) -> Self {
        let count = view.seats.len();
        let (known, more, releases) = (vec![0; count], vec![false; count], vec![Vec::new(); count]);
        let mut wanted = Self { known, more, releases, tasks: BTreeMap::new() };
        for app in apps {
            for member in app.members.iter().filter(|member| runs(member)) {
                wanted.count(member);
            }
            for (release, places) in release_places(view, app) {
                let marked = wanted.releases.iter_mut().zip(places).filter(|(_, marked)| *marked);
                marked.for_each(|(here, _)| here.push((app, release)));
            }
            if let Some((place, task)) = task_of(view, app) {
                wanted.tasks.entry(place).or_default().insert(task, app);
            }
        }
        wanted
    }

    fn count(&mut self, member: &Member<'_>) {
        let place = member.seen.place;
        match member.seen.told {
            Some(_) => self.known.get_mut(place).into_iter().for_each(|known| *known += 1),
            None => self.more.get_mut(place).into_iter().for_each(|more| *more = true),
        }
    }

    /// The published assignment says all of it, and nothing else.
    fn is_told(
        &self,
        view: &View<'_>,
        seat: &Seat<'_>,
        place: usize,
        wanted: &Assignment,
        peers: &[usize],
    ) -> bool {
        let Some(told) = seat.told else { return false };
        let tasks = self.tasks.get(&place);
        told.version.epoch == view.input.desired.epoch
            && told.entry == wanted.entry
            && told.firewall == wanted.firewall
            && peers::are(view, peers, &told.peers)
            && self.more.get(place) == Some(&false)
            && self.known.get(place) == Some(&told.instances.len())
            && told.tasks.len() == tasks.map_or(0, BTreeMap::len)
            && told.tasks.keys().all(|task| tasks.is_some_and(|tasks| tasks.contains_key(task)))
            && self.are_releases_told(place, &told.releases)
    }

    fn are_releases_told(&self, place: usize, told: &[Arc<AssignedRelease>]) -> bool {
        let Some(wanted) = self.releases.get(place) else { return told.is_empty() };
        let same = |((app, number), told): (&(&AppPlan<'_>, ReleaseNumber), &Arc<AssignedRelease>)| {
            *number == told.release && *app.name == told.app
        };
        wanted.len() == told.len() && wanted.iter().zip(told).all(same)
    }

    /// Puts the assignments together that are to be published.
    fn fill(&self, view: &View<'_>, apps: &[AppPlan<'_>], changed: &mut BTreeMap<usize, Assignment>) {
        if changed.is_empty() {
            return;
        }
        for app in apps {
            for member in app.members.iter().filter(|member| runs(member)) {
                let Some(assignment) = changed.get_mut(&member.seen.place) else { continue };
                assignment.instances.extend(assigned(view, app, member).map(|it| (member.id, it)));
            }
        }
        let mut fresh = Fresh::default();
        for (place, assignment) in changed {
            let Some(seat) = view.seat(*place) else { continue };
            let releases = self.releases.get(*place).into_iter().flatten();
            let told = |app: &AppPlan<'_>, number| {
                let mut told = seat.told.into_iter().flat_map(|told| &told.releases);
                told.find(|told| told.release == number && told.app == *app.name).cloned()
            };
            let releases = releases
                .filter_map(|(app, number)| told(app, *number).or_else(|| fresh.of(view, app, *number)));
            assignment.releases = releases.collect();
            for (task, app) in self.tasks.get(place).into_iter().flatten() {
                assignment.tasks.extend(assigned_task(view, seat, *task, app).map(|it| (*task, it)));
            }
        }
    }
}

fn runs(member: &Member<'_>) -> bool {
    !matches!(member.phase, Phase::Stopping { .. })
}

fn assigned(view: &View<'_>, app: &AppPlan<'_>, member: &Member<'_>) -> Option<Arc<AssignedInstance>> {
    if let Some(told) = member.seen.told {
        return Some(Arc::clone(told));
    }
    let seat = view.seat(member.seen.place)?;
    let spec = app.spec(member.target)?;
    let process = spec.processes.get(&member.replica.process)?;
    Some(Arc::new(AssignedInstance {
        app: app.name.clone(),
        process: member.replica.process.clone(),
        replica: member.replica.clone(),
        release: member.target.release,
        command: process.command.clone().unwrap_or_default(),
        container: serving(spec, &member.replica.process, process),
        port: member.port,
        env: environment::of_instance(view, spec, process, (member.id, member), seat.server),
        health: process.health.clone(),
        stop_timeout: process.stop_timeout,
        resources: process.resources,
    }))
}

/// `None`: it runs as plain processes.
fn image(spec: &AppSpec) -> Option<ReleaseImage> {
    match &spec.run {
        RunSource::Directory { .. } => None,
        RunSource::Image { reference, pull_policy } => {
            Some(ReleaseImage { reference: reference.clone(), pull_policy: *pull_policy })
        }
    }
}

/// A command's of no process: nobody reaches it, and it sees the image's own assets.
fn container(spec: &AppSpec, user: Option<&String>) -> Option<Container> {
    image(spec).map(|_| Container {
        volumes: spec.volumes.clone(),
        user: user.cloned(),
        ..Container::default()
    })
}

/// A replica's: whoever gets requests is asked for assets.
fn serving(spec: &AppSpec, name: &ProcessName, process: &ProcessSpec) -> Option<Container> {
    let asset_path = spec.asset_path.clone().filter(|_| spec.routed().contains(name));
    let port = process.container_port;
    Some(Container { port, asset_path, ..container(spec, process.user.as_ref())? })
}

/// Where the release command of the deployment under way is to run.
fn task_of(view: &View<'_>, app: &AppPlan<'_>) -> Option<(usize, TaskId)> {
    let (deployment, target) = app.current()?;
    let DeploymentPhase::Releasing { task: Some(task) } = deployment.phase else { return None };
    app.spec(target)?;
    Some((view.place_of(task.server)?, task.id))
}

fn assigned_task(view: &View<'_>, seat: &Seat<'_>, id: TaskId, app: &AppPlan<'_>) -> Option<AssignedTask> {
    if let Some(told) = seat.told.and_then(|told| told.tasks.get(&id)) {
        return Some(told.clone());
    }
    let (_, target) = app.current()?;
    let spec = app.spec(target)?;
    let process = spec.process_of_commands();
    Some(AssignedTask {
        app: app.name.clone(),
        release: target.release,
        kind: TaskKind::Release,
        command: spec.release_command.clone().unwrap_or_default(),
        container: container(spec, process.and_then(|process| process.user.as_ref())),
        env: environment::of_app(view, spec, target.release),
        timeout: COMMAND_WITHIN,
        resources: process.map(|process| process.resources).unwrap_or_default(),
    })
}

/// Each release that has to be unpacked somewhere, by number, with the places: where it runs, and, of those that may be wanted next,
/// wherever it may run.
fn release_places(view: &View<'_>, app: &AppPlan<'_>) -> BTreeMap<ReleaseNumber, Vec<bool>> {
    let nowhere = vec![false; view.seats.len()];
    let mut places: BTreeMap<ReleaseNumber, Vec<bool>> = BTreeMap::new();
    let under_way = app.current().filter(|(deployment, _)| deployment.phase != DeploymentPhase::Queued);
    let under_way = under_way.map(|(_, target)| target.release);
    let removed = app.desired.wish.stopped && app.desired.wish.remove;
    let kept = if removed { Vec::new() } else { app.kept_on_servers() };
    for release in under_way.into_iter().chain(kept) {
        let of_release = places.entry(release).or_insert_with(|| nowhere.clone());
        // Places depend on the release alone; which deployment brings it doesn't matter.
        let deployment = DeploymentId::from_uuid(uuid::Uuid::nil());
        let target = pando_model::desired::Target { release, deployment };
        app.places_of(view, target).into_iter().for_each(|place| mark(of_release, place));
    }
    for member in app.members.iter() {
        let of_release = places.entry(member.target.release).or_insert_with(|| nowhere.clone());
        mark(of_release, member.seen.place);
    }
    places.retain(|release, _| app.release(*release).is_some_and(|release| release.can_be_had()));
    places
}

fn mark(places: &mut [bool], place: usize) {
    places.get_mut(place).into_iter().for_each(|here| *here = true);
}

/// What servers are told of a release that they are to have from now on, the same for all.
#[derive(Default)]
struct Fresh<'p>(BTreeMap<(&'p AppName, ReleaseNumber), Arc<AssignedRelease>>);

impl<'p> Fresh<'p> {
    fn of(
        &mut self,
        view: &View<'_>,
        app: &AppPlan<'p>,
        number: ReleaseNumber,
    ) -> Option<Arc<AssignedRelease>> {
        if let Some(known) = self.0.get(&(app.name, number)) {
            return Some(Arc::clone(known));
        }
        let release = app.release(number)?;
        let made = Arc::new(AssignedRelease {
            app: app.name.clone(),
            release: number,
            artifact: release.artifact.clone(),
            image: image(&release.spec),
            prepare: release.spec.prepare.clone(),
            asset_path: release.spec.asset_path.clone(),
            env: environment::of_app(view, &release.spec, number),
        });
        self.0.insert((app.name, number), Arc::clone(&made));
        Some(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_gets_requests_sees_assets() {
        let process = |role: &str| {
            serde_json::json!({
                "role": role, "count": {"total": 1}, "stop_timeout": 1000, "resources": {},
                "health": {"kind": {"type": "none"}, "interval": 1, "timeout": 1, "healthy": 1, "unhealthy": 1, "start_timeout": 1},
            })
        };
        let mut spec: AppSpec = serde_json::from_value(serde_json::json!({
            "name": "hits", "run": {"image": {"reference": "hits:1", "pull_policy": "always"}}, "strategy": "replace",
            "min_ready": 0, "processes": {"web": process("web"), "worker": process("worker")},
            "asset_path": "/app/public/assets",
        }))
        .unwrap();
        let seen = |spec: &AppSpec, name: &str| {
            let name = ProcessName::new(name).unwrap();
            let made = serving(spec, &name, &spec.processes[&name]);
            made.and_then(|made| made.asset_path).map(|path| path.as_str().to_owned())
        };
        assert_eq!(seen(&spec, "web").as_deref(), Some("/app/public/assets"));
        assert_eq!(seen(&spec, "worker"), None);
        assert_eq!(container(&spec, None).unwrap().asset_path, None, "a task serves nobody");
        spec.run = RunSource::Directory { path: ".".to_owned() };
        let web = ProcessName::web();
        assert_eq!(serving(&spec, &web, &spec.processes[&web]), None);
    }
}
