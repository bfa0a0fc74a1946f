//! The whole judgement of the system: one pure function from what is wanted and
//! what is seen to what to do.
//!
//! [`plan`] never awaits, reads no clock, draws no randomness of its own and
//! keeps nothing between calls. Whatever must be remembered is an [`Action`]
//! that records it, and is part of the next [`Input`]. All actions of one plan
//! are carried out together or not at all, after which planning again on the
//! same observations has nothing more to do.

pub mod action;
pub mod admit;
mod app;
mod assign;
mod balancers;
pub mod check;
mod context;
mod deployment;
mod environment;
pub mod firewall;
mod hosts;
mod ids;
pub mod input;
mod kept;
mod lifecycle;
mod members;
mod news;
mod peers;
mod placement;
mod ports;
pub mod rehearse;
pub mod report;
mod rollout;
mod rooms;
mod routes;
mod standing;
mod step;
mod transfer;
mod unplaced;
mod view;
mod words;

pub use action::{Action, Note, Plan, Severity};
pub use admit::{Refusal, admit, admit_drain, admit_labels, admit_remove, admit_roles, admit_scale};
pub use check::{Violation, check};
pub use environment::of_one_off;

pub use input::{Input, Liveness, World};
pub use news::has_news;
pub use placement::accepts;
pub use rehearse::rehearse;
pub use report::{AppReport, ProcessReport, Report};

use app::AppPlan;
use context::Context;
use standing::Remains;

/// Decides everything that follows from `input`. The same input gives the same plan.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    let mut context = Context::new(input);
    let mut plan = Plan::default();
    let mut apps = Vec::new();
    for (name, desired) in &input.desired.apps {
        // Requests that wait go on when the pause ends by itself.
        desired.wish.pause_at(input.now).into_iter().for_each(|pause| context.wake(pause.until));
        let app = AppPlan::make(&mut context, name, desired);
        app.record_changes(&mut plan);
        apps.push(app);
    }
    let view = &context.view;
    let remains = Remains::of(view, &apps);
    let forgotten = standing::forgotten(view, &remains);
    let is_kept = |server| view.place_of(server).is_some_and(|place| !forgotten.contains(&place));
    context.ports.record_changes(is_kept, &mut plan);
    assign::publish(view, &apps, &remains, &forgotten, &mut plan);
    routes::publish(view, &apps, &mut plan);
    for app in apps {
        plan.notes.extend(app.notes);
        plan.report.apps.insert(app.name.clone(), app.report);
    }
    standing::forget(view, &context.ports, &forgotten, &mut plan);
    standing::report(view, &remains, &mut plan.report);
    // The API closes again when nobody may join any more.
    input.desired.settings.joining_until.into_iter().for_each(|until| context.wake(until));
    plan.wake_at = context.wake_at();
    plan
}
