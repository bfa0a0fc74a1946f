//! Failures and remarks in words.

use pando_model::app::ProcessSpec;
use pando_model::desired::{Failure, Instance};
use pando_model::id::InstanceId;
use pando_model::observed::ExitReport;
use pando_model::resources::Bytes;

use crate::input::{ACKNOWLEDGE_WITHIN, Input, version_of};

pub(crate) fn plain(message: String) -> Failure {
    Failure { message, replica: None, server: None, check: None, exit: None }
}

/// What a person needs to mend it: which replica, where, what its check said, how it ended.
pub(crate) fn of_instance(
    input: &Input<'_>,
    id: InstanceId,
    instance: &Instance,
    spec: Option<&ProcessSpec>,
    why: &str,
) -> Failure {
    let server = input.desired.servers.get(&instance.server).map(|server| server.name.to_string());
    let status = input.status(instance.server, id);
    let check = status.and_then(|status| status.check.clone());
    let last_exit = status.and_then(|status| status.last_exit.clone());
    let place = server.as_deref().map(|name| format!(" on {name}")).unwrap_or_default();
    let mut message = format!("{}{place} {why}", instance.replica);
    match (&check, &last_exit) {
        (_, Some(last)) => message.push_str(&format!(": {}{}", exit(last), limit(last, spec))),
        (Some(answer), None) => message.push_str(&format!(": {answer}")),
        (None, None) => {}
    }
    Failure { message, replica: Some(instance.replica.clone()), server, check, exit: last_exit }
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

/// Which live balancer has not done what.
pub(crate) fn unconfirmed(input: &Input<'_>) -> String {
    let wanted = input.desired.table.as_ref().map(|table| version_of(table.version));
    let silent = |status: Option<&pando_model::observed::ProxyStatus>| {
        status.is_none_or(|status| !status.alive || status.acknowledged < wanted)
    };
    let names: Vec<&str> = input
        .live_proxies()
        .filter(|(_, status)| silent(*status))
        .map(|(server, _)| server.name.as_str())
        .collect();
    format!("the load balancer on {} did not confirm its table within {ACKNOWLEDGE_WITHIN}", names.join(", "))
}

/// `1 replica`, `3 replicas`.
pub(crate) fn count(number: u32, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}
