//! Of deployments: they move along their way, and run their release command once.

use pando_model::desired::{AppDesired, DeploymentPhase};
use pando_model::name::AppName;

use super::Violation;
use crate::action::{Action, Plan};

pub(super) fn check(name: &AppName, app: &AppDesired, plan: &Plan, found: &mut Vec<Violation>) {
    for action in &plan.actions {
        let Action::RecordDeployment(now) = action else { continue };
        let Some(before) = app.deployments.iter().find(|before| before.id == now.id) else { continue };
        let (from, to) = (phase_name(&before.phase), phase_name(&now.phase));
        let allowed = from == to
            || matches!(
                (from, to),
                ("queued", "releasing" | "rolling" | "failed" | "going back")
                    | ("releasing", "rolling" | "failed" | "going back")
                    | ("rolling", "going back" | "done" | "failed")
                    | ("going back", "failed")
            );
        if !allowed {
            found.push(Violation::Transition { app: name.clone(), from, to });
        }
        let tasks = (&before.phase, &now.phase);
        if let (DeploymentPhase::Releasing { task: Some(a) }, DeploymentPhase::Releasing { task }) = tasks
            && task.is_none_or(|b| b.id != a.id)
        {
            found.push(Violation::SecondReleaseCommand { app: name.clone() });
        }
    }
}

fn phase_name(phase: &DeploymentPhase) -> &'static str {
    match phase {
        DeploymentPhase::Queued => "queued",
        DeploymentPhase::Releasing { .. } => "releasing",
        DeploymentPhase::Rolling => "rolling",
        DeploymentPhase::GoingBack { .. } => "going back",
        DeploymentPhase::Done { .. } => "done",
        DeploymentPhase::Failed { .. } => "failed",
    }
}
