//! A remark about roles that nothing runs on: a slip of the fingers, or a step ahead of the file.

use std::collections::BTreeSet;

use pando_api::v1::apps::ReleaseSummary;
use pando_api::{Client, ClientError};
use pando_model::name::RoleName;

use crate::daemons::found::EVERYTHING;
use crate::words::listed;

/// What to tell whoever gives these roles to a server. `None`: each has a meaning, or the apps can't be looked at now, which
/// hinders nobody.
pub(crate) async fn unasked(given: impl IntoIterator<Item = &RoleName>, client: &Client) -> Option<String> {
    let unknown: Vec<&RoleName> =
        given.into_iter().filter(|role| !EVERYTHING.contains(&role.as_str())).collect();
    if unknown.is_empty() {
        return None;
    }
    remark(&unknown, &asked(client).await.ok()?)
}

/// Roles of processes and services, of what runs and of what was deployed last.
async fn asked(client: &Client) -> Result<BTreeSet<RoleName>, ClientError> {
    let mut asked = BTreeSet::new();
    for app in client.apps().await?.apps {
        asked.extend(roles(&client.releases(&app.name).await?.releases));
    }
    Ok(asked)
}

fn roles(releases: &[ReleaseSummary]) -> BTreeSet<RoleName> {
    let newest = releases.first().map(|newest| newest.release.number);
    let counts = |held: &&ReleaseSummary| held.current || Some(held.release.number) == newest;
    let specs = releases.iter().filter(counts).map(|held| &held.release.spec);
    let of_spec = |spec: &pando_model::app::AppSpec| {
        let processes = spec.processes.values().map(|process| process.role.clone());
        let services = spec.services.values().map(|service| service.role.clone());
        processes.chain(services).collect::<Vec<_>>()
    };
    specs.flat_map(of_spec).collect()
}

fn remark(given: &[&RoleName], asked: &BTreeSet<RoleName>) -> Option<String> {
    let unasked: Vec<String> =
        given.iter().filter(|role| !asked.contains(**role)).map(|role| format!("`{role}`")).collect();
    let noun = match unasked.len() {
        0 => return None,
        1 => "role",
        _ => "roles",
    };
    let unasked = listed(unasked);
    let asked: Vec<&str> = asked.iter().map(RoleName::as_str).collect();
    Some(match asked.as_slice() {
        [] => format!("no app asks for the {noun} {unasked}, or for any other yet"),
        asked => format!("no app asks for the {noun} {unasked} (asked for: {})", asked.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> RoleName {
        RoleName::new(name).unwrap()
    }

    #[test]
    fn what_nobody_asks_for_is_named_with_what_is_asked_for() {
        let (wrk, gpu, web) = (role("wrk"), role("gpu"), role("web"));
        let asked = BTreeSet::from([web, role("worker"), gpu.clone()]);
        assert_eq!(remark(&[&gpu], &asked), None);
        assert_eq!(
            remark(&[&wrk, &gpu], &asked).unwrap(),
            "no app asks for the role `wrk` (asked for: gpu, web, worker)"
        );
        assert_eq!(
            remark(&[&gpu, &wrk], &BTreeSet::new()).unwrap(),
            "no app asks for the roles `gpu` and `wrk`, or for any other yet"
        );
    }
}
