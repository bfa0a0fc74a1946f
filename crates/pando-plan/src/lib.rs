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
pub mod check;
mod deployment;
mod environment;
pub mod firewall;
pub mod input;
mod lifecycle;
mod placement;
mod ports;
pub mod rehearse;
pub mod report;
mod rollout;
mod routes;
mod words;

pub use action::{Action, Note, Plan, Severity};
pub use admit::{Refusal, admit, admit_scale};
pub use check::{Violation, check};

pub use input::{Input, Liveness, World};
pub use rehearse::rehearse;
pub use report::{AppReport, ProcessReport, Report};

use app::AppPlan;
use input::Context;

/// Decides everything that follows from `input`. The same input gives the same plan.
#[must_use]
pub fn plan(input: &Input<'_>) -> Plan {
    let mut context = Context::new(input);
    let mut plan = Plan::default();
    let mut apps = Vec::new();
    for (name, desired) in &input.desired.apps {
        let app = AppPlan::make(&mut context, name, desired);
        app.record_changes(desired, &mut plan);
        apps.push(app);
    }
    ports::record_changes(&context, &mut plan);
    assign::publish(&context, &apps, &mut plan);
    routes::publish(&context, &apps, &mut plan);
    for app in apps {
        context.wakes.extend(app.wakes.iter().copied());
        plan.notes.extend(app.notes);
        plan.report.apps.insert(app.name.clone(), app.report);
    }
    // The API closes again when nobody may join any more.
    context.wakes.extend(input.desired.settings.joining_until);
    plan.report.servers = report::servers(&context);
    plan.wake_at = context.wakes.iter().copied().filter(|at| *at > input.now).min();
    plan
}
