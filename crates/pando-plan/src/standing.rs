//! Servers that people are emptying, and what there is to say of each.
//!
//! Moving replicas off a server is placement's; here it is judged whether one that
//! leaves has been emptied, and can be forgotten.

use std::collections::BTreeMap;

use pando_model::id::ServerId;
use pando_model::server::Standing;

use crate::action::{Action, Note, Plan, Severity};
use crate::app::AppPlan;
use crate::input::Liveness;
use crate::ports::{LastLeases, Ports};
use crate::report::Report;
use crate::view::{Seat, View};
use crate::words;

/// How many instances planning leaves at each place that somebody wants empty.
#[derive(Debug)]
pub(crate) struct Remains(BTreeMap<usize, u32>);

impl Remains {
    pub(crate) fn of(view: &View<'_>, apps: &[AppPlan<'_>]) -> Self {
        let emptied = view.seats.iter().enumerate().filter(|(_, s)| s.server.standing != Standing::Active);
        let mut remains: BTreeMap<usize, u32> = emptied.map(|(place, _)| (place, 0)).collect();
        if !remains.is_empty() {
            for member in apps.iter().flat_map(|app| app.members.iter()) {
                if let Some(count) = remains.get_mut(&member.seen.place) {
                    *count += 1;
                }
            }
        }
        Self(remains)
    }

    pub(crate) fn at(&self, place: usize) -> u32 {
        self.0.get(&place).copied().unwrap_or(0)
    }
}

/// A server that leaves takes requests from outside for as long as anything of it runs, and no longer.
pub(crate) fn is_entry_point(view: &View<'_>, remains: &Remains, place: usize) -> bool {
    view.seat(place).is_some_and(|seat| {
        let by_role = seat.server.is_entry_point(&view.input.desired.settings);
        by_role && (seat.server.standing != Standing::Leaving || remains.at(place) > 0)
    })
}

/// The places of servers that this plan forgets: given up, or emptied and told so.
pub(crate) fn forgotten(view: &View<'_>, remains: &Remains) -> Vec<usize> {
    let leaves = |place: &usize| {
        view.seat(*place).is_some_and(|seat| {
            let emptied = remains.at(*place) == 0 && has_let_go(seat);
            seat.server.standing == Standing::Leaving && (seat.is_given_up() || emptied)
        })
    };
    (0..view.seats.len()).filter(leaves).collect()
}

/// The agent knows that it is to run nothing, and nothing is left that runs.
fn has_let_go(seat: &Seat<'_>) -> bool {
    let told = seat
        .told
        .is_some_and(|told| told.instances.is_empty() && told.tasks.is_empty() && told.entry.is_none());
    told && seat.has_obeyed() && seat.report().is_some_and(|report| report.instances.is_empty())
}

pub(crate) fn forget(view: &View<'_>, ports: &Ports<'_>, places: &[usize], plan: &mut Plan) {
    for seat in places.iter().filter_map(|place| view.seat(*place)) {
        if let LastLeases::Before(keys) = ports.last_of(seat.server.id) {
            plan.actions.extend(keys.into_iter().map(|key| Action::RecordPort { key, lease: None }));
            continue;
        }
        plan.actions.push(Action::ForgetServer(seat.server.id));
        let why = if seat.is_given_up() { "it is lost" } else { "nothing runs there any more" };
        let text = format!("{} is removed: {why}", seat.server.name);
        plan.notes.push(Note { app: None, deployment: None, severity: Severity::Info, text });
    }
}

pub(crate) fn report(view: &View<'_>, remains: &Remains, report: &mut Report) {
    let lines = view.seats.iter().enumerate();
    let lines = lines.filter_map(|(place, seat)| {
        let line = line(seat, remains.at(place), view.halted)?;
        Some((seat.server.id, line))
    });
    report.servers = lines.collect::<BTreeMap<ServerId, String>>();
    report.halted = view.halted.then(|| halted(view));
}

fn line(seat: &Seat<'_>, left: u32, halted: bool) -> Option<String> {
    let name = &seat.server.name;
    let silent = match seat.liveness {
        Liveness::Alive if seat.is_beyond_reach() => {
            Some("is cut off from the control plane, and heard through other servers alone")
        }
        Liveness::Alive => None,
        Liveness::Suspect => Some("is silent; its replicas are judged by the load balancers alone"),
        Liveness::Unknown => Some("has not been heard yet"),
        Liveness::Lost if halted => Some("is lost"),
        Liveness::Lost => Some("is lost: its replicas are out of the load balancers"),
    };
    let left = || words::count(left, "replica");
    let wish = match (seat.server.standing, seat.liveness) {
        (Standing::Active, _) => None,
        (Standing::Draining, _) if left() == "0 replicas" => Some("is drained".to_owned()),
        (Standing::Draining, _) => Some(format!("is being drained: {} left", left())),
        (Standing::Leaving, _) => Some(format!("leaves the cluster: {} left", left())),
    };
    let words: Vec<String> = silent.map(str::to_owned).into_iter().chain(wish).collect();
    (!words.is_empty()).then(|| format!("{name} {}", words.join(", and ")))
}

fn halted(view: &View<'_>) -> String {
    let silent = view.seats.iter().filter(|seat| seat.is_silent());
    let names: Vec<&str> = silent.map(|seat| seat.server.name.as_str()).collect();
    format!(
        "{} of {} are silent ({}): nothing is moved until half of them are heard again, since a broken network at the control \
         plane looks the same; `pando server rm NAME` takes out what is gone for good",
        names.len(),
        words::count(u32::try_from(view.seats.len()).unwrap_or(u32::MAX), "server"),
        words::names(names.iter().copied()),
    )
}
