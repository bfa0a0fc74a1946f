//! Failures and remarks in words.

use std::collections::BTreeSet;

use pando_model::app::ProcessSpec;
use pando_model::desired::Failure;
use pando_model::name::RoleName;
use pando_model::observed::ExitReport;
use pando_model::resources::{Bytes, Cores, Resources};

use crate::balancers::Balancer;
use crate::input::ACKNOWLEDGE_WITHIN;
use crate::members::Member;
use crate::view::{Seat, View};

/// A line that names more servers than this is not read to its end.
const MOST_NAMES: usize = 8;

pub(crate) fn plain(message: String) -> Failure {
    Failure { message, replica: None, server: None, check: None, exit: None }
}

/// What a person needs to mend it: which replica, where, what its check said, how it ended.
pub(crate) fn of_instance(view: &View<'_>, member: &Member<'_>, why: &str) -> Failure {
    let server = view.seat(member.seen.place).map(|seat| seat.server.name.to_string());
    let check = member.seen.status.and_then(|status| status.check.clone());
    let last_exit = member.seen.status.and_then(|status| status.last_exit.clone());
    let place = server.as_deref().map(|name| format!(" on {name}")).unwrap_or_default();
    let mut message = format!("{}{place} {why}", member.replica);
    match (&check, &last_exit) {
        (_, Some(last)) => message.push_str(&format!(": {}{}", exit(last), limit(last, member.kind.spec))),
        (Some(answer), None) => message.push_str(&format!(": {answer}")),
        (None, None) => {}
    }
    Failure { message, replica: Some(member.replica.clone()), server, check, exit: last_exit }
}

fn limit(exit: &ExitReport, spec: Option<&ProcessSpec>) -> String {
    let bytes = spec.and_then(|spec| spec.resources.memory_bytes).filter(|_| exit.out_of_memory);
    bytes.map(|bytes| format!(" (its limit is {})", Bytes(bytes))).unwrap_or_default()
}

/// `exit code 1`, `killed by signal 9`, `ran out of memory`.
pub(crate) fn exit(exit: &ExitReport) -> String {
    match (exit.out_of_memory, exit.code, exit.signal) {
        (true, _, _) => "ran out of memory".to_owned(),
        (_, Some(code), _) => format!("exit code {code}"),
        (_, None, Some(signal)) => format!("killed by signal {signal}"),
        (_, None, None) => "nobody saw how it ended".to_owned(),
    }
}

/// Which load balancers have not done what, and what keeps any from running.
pub(crate) fn unconfirmed(view: &View<'_>, late: &[&Balancer<'_>]) -> String {
    let (names, errors) =
        (names(late.iter().map(|balancer| balancer.server.name.as_str())), balancer_errors(view));
    format!("the load balancer on {names} did not confirm its table within {ACKNOWLEDGE_WITHIN}{errors}")
}

/// `; main: can't start …` for each server whose load balancer can't be kept running.
pub(crate) fn balancer_errors(view: &View<'_>) -> String {
    view.seats.iter().filter_map(balancer_error).map(|why| format!("; {why}")).collect()
}

/// Why a server's load balancer can't be kept running: `main: can't start …`.
pub(crate) fn balancer_error(seat: &Seat<'_>) -> Option<String> {
    let why = seat.report()?.proxy.as_ref()?.error.as_ref()?;
    Some(format!("{}: {why}", seat.server.name))
}

/// ``the role `web` `` with what narrows it down.
pub(crate) fn asked_for(spec: &ProcessSpec) -> String {
    let mut text = format!("the role `{}`", spec.role);
    if !spec.labels.is_empty() {
        let labels: Vec<String> =
            spec.labels.iter().map(|(name, value)| format!("`{name}: {value}`")).collect();
        text.push_str(&format!(" and the labels {}", labels.join(", ")));
    }
    if !spec.servers.is_empty() {
        let names: Vec<String> = spec.servers.iter().map(|name| format!("`{name}`")).collect();
        text.push_str(&format!(" and one of the names {}", names.join(", ")));
    }
    text
}

/// What there is in place of what nobody has, and how to get that.
pub(crate) fn instead(view: &View<'_>, spec: &ProcessSpec) -> String {
    let with_role = view.with_role(&spec.role).iter().map(|place| view.name_of(*place));
    let with_role: Vec<&str> = with_role.collect();
    if !with_role.is_empty() {
        return format!("the role is that of {}", names(with_role));
    }
    let roles: BTreeSet<&str> =
        view.seats.iter().flat_map(|seat| &seat.server.roles).map(RoleName::as_str).collect();
    format!(
        "the roles here are {}; `pando server roles NAME +{}` gives it to a server",
        names(roles),
        spec.role
    )
}

/// `512 MB of memory and 0.5 cores`
pub(crate) fn amount(resources: Resources) -> String {
    let memory = resources.memory_bytes.map(|bytes| format!("{} of memory", Bytes(bytes)));
    let cores = resources.cpu_millis.map(|cpu| format!("{} cores", Cores(u64::from(cpu))));
    let amounts: Vec<String> = memory.into_iter().chain(cores).collect();
    amounts.join(" and ")
}

/// `s1, s2, s3 and 4 more`
pub(crate) fn names<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let all: Vec<&str> = names.into_iter().collect();
    match all.split_at_checked(MOST_NAMES) {
        Some((first, rest)) if rest.len() > 1 => format!("{} and {} more", first.join(", "), rest.len()),
        _ => all.join(", "),
    }
}

/// `1 replica`, `3 replicas`.
pub(crate) fn count(number: u32, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
