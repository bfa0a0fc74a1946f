//! What is wrong with a request whatever the cluster is like.
//!
//! The command line has checked its file already, and better; this is the door
//! for everybody else, and keeps what would break the plan or the table outside.

use pando_api::v1::deployments::{DeployAction, DeployRequest};
use pando_api::{ErrorBody, ErrorCode};
use pando_model::app::{Amount, AppSpec, ReplicaCount, RunSource, Strategy};
use pando_model::name::AppName;
use pando_model::traffic;
use pando_routing::Host;

const MAX_NOTE: usize = 500;
const MAX_PROCESSES: usize = 50;
const MAX_REPLICAS: u32 = 1000;
const MAX_DOMAINS: usize = 1000;

pub(super) fn request(app: &AppName, request: &DeployRequest) -> Result<(), ErrorBody> {
    if request.note.as_ref().is_some_and(|note| note.chars().count() > MAX_NOTE) {
        return Err(invalid(format!("a note has at most {MAX_NOTE} characters")));
    }
    let DeployAction::Deploy { spec, artifact } = &request.action else { return Ok(()) };
    if spec.name != *app {
        return Err(invalid(format!("the settings are of the app `{}`, not of `{app}`", spec.name)));
    }
    let packed = matches!(spec.run, RunSource::Directory { .. });
    if packed && artifact.is_none() && !request.dry_run {
        return Err(invalid("a release from `source` needs its packed artifact".to_owned()));
    }
    processes(spec)?;
    asset_path(spec)?;
    strategy(spec)?;
    hosts(spec)?;
    check_traffic(spec)
}

fn invalid(message: String) -> ErrorBody {
    ErrorBody::new(ErrorCode::Invalid, message)
}

fn processes(spec: &AppSpec) -> Result<(), ErrorBody> {
    let count = spec.processes.len();
    if count == 0 || count > MAX_PROCESSES {
        return Err(invalid(format!("an app has 1 to {MAX_PROCESSES} processes, not {count}")));
    }
    for (name, process) in &spec.processes {
        let (ReplicaCount::Total(replicas) | ReplicaCount::PerServer(replicas)) = process.count;
        if replicas > MAX_REPLICAS {
            return Err(invalid(format!("`{name}` wants {replicas} replicas; {MAX_REPLICAS} are the most")));
        }
        let health = &process.health;
        if health.interval.0 == 0 || health.timeout.0 == 0 || health.healthy == 0 || health.unhealthy == 0 {
            return Err(invalid(format!(
                "the health check of `{name}` has an interval, time-out or count of 0"
            )));
        }
    }
    Ok(())
}

fn asset_path(spec: &AppSpec) -> Result<(), ErrorBody> {
    let Some(path) = &spec.asset_path else { return Ok(()) };
    let (in_image, shown) = (matches!(spec.run, RunSource::Image { .. }), path.as_str());
    if path.is_absolute() != in_image {
        let wanted = if in_image { "absolute, in the image" } else { "relative, in the app's directory" };
        return Err(invalid(format!("`asset_path: {shown}` has to be {wanted}")));
    }
    match spec.volumes.iter().find(|volume| in_image && path.overlaps(&volume.target)) {
        Some(volume) => {
            Err(invalid(format!("the volume at `{}` is in the way of `asset_path: {shown}`", volume.target)))
        }
        None => Ok(()),
    }
}

fn strategy(spec: &AppSpec) -> Result<(), ErrorBody> {
    let Strategy::Rolling { max_unavailable, max_surge } = spec.strategy else { return Ok(()) };
    let is_none = |amount| matches!(amount, Amount::Count(0) | Amount::Percent(0));
    if is_none(max_unavailable) && is_none(max_surge) {
        return Err(invalid("`max_unavailable` and `max_surge` can't both be 0".to_owned()));
    }
    let too_much = |amount| matches!(amount, Amount::Percent(percent) if percent > 100);
    if too_much(max_unavailable) || too_much(max_surge) {
        return Err(invalid("`max_unavailable` and `max_surge` are at most 100%".to_owned()));
    }
    Ok(())
}

fn hosts(spec: &AppSpec) -> Result<(), ErrorBody> {
    let domains =
        spec.domains.iter().flat_map(|domain| std::iter::once(&domain.domain).chain(&domain.aliases));
    let hosts: Vec<&String> =
        domains.chain(spec.routes.iter().filter_map(|route| route.host.as_ref())).collect();
    if hosts.len() > MAX_DOMAINS {
        return Err(invalid(format!("{} domains; {MAX_DOMAINS} are the most", hosts.len())));
    }
    for host in hosts {
        host.parse::<Host>().map_err(invalid)?;
    }
    Ok(())
}

/// One app's mistake must not make the table of all of them invalid.
fn check_traffic(spec: &AppSpec) -> Result<(), ErrorBody> {
    let faults: Vec<String> = traffic::faults(spec).iter().map(ToString::to_string).collect();
    if faults.is_empty() { Ok(()) } else { Err(invalid(faults.join("; "))) }
}
