//! What the control plane knew at the end of a run, in lines that a person reads: for the end of a trace.

use pando_control::reconcile::State;
use pando_control::state::State as Loaded;
use pando_model::desired::AppDesired;
use pando_model::server::Server;
use pando_plan::Input;

use crate::world::World;

impl World {
    pub(crate) fn scene(&self) -> Vec<String> {
        let Some((state, loaded)) = self.control.state() else { return vec!["no control plane".to_owned()] };
        let input =
            Input { desired: &loaded.world, observed: &state.observed, now: self.control_now(), seed: 0 };
        let table = loaded.world.table.as_ref().map(|table| table.version.to_string());
        let mut lines = vec![format!(
            "now {}, heard since {}, table {table:?} since {}",
            input.now, state.observed.since, loaded.world.published_at
        )];
        lines.extend(loaded.world.servers.values().map(|server| of_server(&input, server)));
        for (name, app) in &loaded.world.apps {
            lines.push(format!("{name}: {:?}, committed {:?}", app.wish, app.assigned.committed));
            lines.extend(of_app(&input, loaded, app));
            lines.extend(report_of(state, name));
        }
        lines
    }
}

fn of_server(input: &Input<'_>, server: &Server) -> String {
    let roles: Vec<&str> = server.roles.iter().map(AsRef::as_ref).collect();
    let told = input.desired.assignments.get(&server.id).map(|assignment| assignment.version.to_string());
    let seen = input.observed.servers.get(&server.id);
    let obeys = seen.map(|seen| seen.report.assignment.to_string());
    let proxy = seen.and_then(|seen| seen.report.proxy.as_ref());
    let uses = proxy.map(|proxy| (proxy.alive, proxy.acknowledged.map(|version| version.to_string())));
    format!(
        "  {} [{}] {:?} {:?}: told {told:?}, obeys {obeys:?}, balancer {uses:?}",
        server.name,
        roles.join(" "),
        server.standing,
        input.liveness(server.id),
    )
}

fn of_app(input: &Input<'_>, loaded: &Loaded, app: &AppDesired) -> Vec<String> {
    let mut lines = Vec::new();
    for deployment in &app.deployments {
        lines.push(format!("  {} {:?} {:?}", deployment.release, deployment.id, deployment.phase));
    }
    for release in app.releases.values() {
        let processes = release.spec.processes.iter();
        let counts: Vec<String> =
            processes.map(|(name, spec)| format!("{name} {:?} on {}", spec.count, spec.role)).collect();
        lines.push(format!("  {}: {}; {:?}", release.number, counts.join(", "), release.spec.strategy));
    }
    for (id, instance) in &app.assigned.instances {
        let status = input.status(instance.server, *id).map(|status| &status.state);
        let (server, release) = (loaded.server_name(instance.server), instance.target.release);
        let what = format!("{} ({id}) of {release} on {server}", instance.replica);
        lines.push(format!("  {what}: {:?}, seen {status:?}", instance.phase));
    }
    lines
}

fn report_of(state: &State, app: &pando_model::name::AppName) -> Vec<String> {
    let report = state.report.apps.get(app);
    report.into_iter().flat_map(|report| report.lines()).map(|line| format!("  {line}")).collect()
}
