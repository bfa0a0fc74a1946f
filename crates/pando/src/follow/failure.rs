//! The words that a failed deploy ends with: what failed, where, why, what state things are in, what to do.

use pando_api::v1::apps::{AppState, AppStatus};
use pando_api::v1::deployments::DeploymentView;
use pando_model::desired::Failure;
use pando_model::name::AppName;
use pando_model::observed::ExitReport;

use super::story::Story;
use super::summary::duration;
use crate::exit::{FAILED, Trouble};
use crate::words::harmless;

/// `now`: the app after it; `None` when it can't be told.
pub(super) fn trouble(
    app: &AppName,
    view: &DeploymentView,
    failure: &Failure,
    story: &Story,
    now: Option<&AppStatus>,
) -> Trouble {
    let release = view.deployment.release;
    let (what, output) = failure.message.split_once('\n').unwrap_or((&failure.message, ""));
    let message = format!("{app} {release} is not live: {}", harmless(what));
    let mut details = facts(failure, &message);
    details.extend(quoted(output.lines()));
    details.push(state(story, now));
    let source = failure.replica.as_ref().map(|replica| format!(" --replica {replica}")).unwrap_or_default();
    Trouble::new(FAILED, "deployment_failed", message)
        .details(details)
        .hint(hint(what, &source))
        .with("deployment", &view.deployment)
        .with("millis", &duration(&view.deployment))
}

fn hint(what: &str, source: &str) -> String {
    // The agent's own words for a server on which nothing listens at the engine's socket.
    if what.contains("is a container engine installed") {
        return "`pando server add HOST --role ROLE --install-docker` installs Docker's engine there, on a server of the cluster too; \
                then `pando deploy`"
            .to_owned();
    }
    format!("`pando logs{source} --since 10m` shows what it wrote; mend it, then `pando deploy`")
}

/// What the message has not said yet, a line each.
fn facts(failure: &Failure, message: &str) -> Vec<String> {
    let place = failure.replica.as_ref().map(ToString::to_string).into_iter().chain(failure.server.clone());
    let place: Vec<String> = place.collect();
    let known = [
        (!place.is_empty())
            .then(|| format!("where: {}", place.join(" on ")))
            .filter(|_| !place.iter().all(|name| message.contains(name))),
        failure
            .check
            .as_deref()
            .map(harmless)
            .filter(|check| !message.contains(check.as_str()))
            .map(|check| format!("its check last answered: {check}")),
        failure
            .exit
            .as_ref()
            .map(ending)
            .filter(|ending| !message.contains(ending.as_str()))
            .map(|ending| format!("how it ended: {ending}")),
    ];
    let mut lines: Vec<String> = known.into_iter().flatten().collect();
    let output = failure.exit.as_ref().map(|exit| exit.last_lines.as_slice()).unwrap_or_default();
    lines.extend(quoted(output.iter().map(String::as_str)));
    lines
}

fn quoted<'a>(output: impl Iterator<Item = &'a str>) -> Vec<String> {
    let lines: Vec<String> = output.map(|line| format!("  | {}", harmless(line))).collect();
    let head = (!lines.is_empty()).then(|| "its last output:".to_owned());
    head.into_iter().chain(lines).collect()
}

fn ending(exit: &ExitReport) -> String {
    match (exit.out_of_memory, exit.code, exit.signal) {
        (true, _, _) => "ran out of memory".to_owned(),
        (_, Some(code), _) => format!("exit code {code}"),
        (_, None, Some(signal)) => format!("killed by signal {signal}"),
        (_, None, None) => "nobody saw how it ended".to_owned(),
    }
}

/// What runs now.
fn state(story: &Story, now: Option<&AppStatus>) -> String {
    let Some(now) = now else {
        let before = story.previous.map(|release| format!("; before it, {release} did")).unwrap_or_default();
        return format!("what serves now is not known: the control plane does not answer{before}");
    };
    let Some(release) = now.release else {
        return "there is no release before it: nothing serves".to_owned();
    };
    let went = if story.switched() {
        format!("went back to {release}")
    } else {
        format!("{release} serves as before; nothing was switched")
    };
    match now.state {
        AppState::Running | AppState::Deploying => went,
        AppState::Stopped | AppState::Stopping => format!("{release} is what it would run; it is stopped"),
        AppState::New | AppState::Degraded | AppState::GoingBack => {
            let waits: Vec<String> = now.waiting_on.iter().map(|line| harmless(line)).collect();
            format!("{went}, but not all of it serves: {}", waits.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use pando_model::release::ReleaseNumber;

    use super::super::story::tests::{status, view};
    use super::*;

    fn rendered(replicas: &[(u64, &str)], failure: &serde_json::Value, now: Option<&AppStatus>) -> String {
        let view = view(replicas, &[]);
        let mut story = Story::new(Some(ReleaseNumber(1)));
        story.news(&view);
        let failure: Failure = serde_json::from_value(failure.clone()).unwrap();
        let app = AppName::new("hits").unwrap();
        trouble(&app, &view, &failure, &story, now).render(crate::printer::Paint::plain())
    }

    #[test]
    fn a_replica_that_crashed_is_told_with_its_last_words() {
        let failure = serde_json::json!({
            "message": "web-1 on main ended 5 times: exit code 1", "replica": "web-1", "server": "main",
            "exit": { "code": 1, "signal": null, "out_of_memory": false, "last_lines": ["boot", "no such table: \u{1b}[31mhits"] },
        });
        insta::assert_snapshot!(rendered(
            &[(1, "serving"), (2, "backing_off")],
            &failure,
            Some(&status(Some(1), "running"))
        ));
    }

    #[test]
    fn what_the_message_leaves_out_is_added_and_the_state_is_told_as_it_is() {
        let failure = serde_json::json!({
            "message": "it was not ready within 1 min", "replica": "web-2", "server": "main", "check": "503 from /health",
            "exit": { "code": null, "signal": 9, "out_of_memory": true, "last_lines": [] },
        });
        insta::assert_snapshot!(rendered(
            &[(1, "draining"), (2, "serving")],
            &failure,
            Some(&status(Some(1), "degraded"))
        ));
    }

    #[test]
    fn what_a_failed_prepare_wrote_stands_below_in_lines_of_its_own() {
        let failure = serde_json::json!({
            "message": "v2 could not be brought to main: `prepare` of v2 ended with exit code 4\nfetching\n\u{1b}[31mno such gem",
            "server": "main",
        });
        let text = rendered(&[], &failure, Some(&status(Some(1), "running")));
        let said = "error: hits v2 is not live: v2 could not be brought to main: `prepare` of v2 ended with exit code 4\n  \
             its last output:\n    | fetching\n    | \u{fffd}[31mno such gem\n";
        assert!(text.starts_with(said), "{text}");
    }

    #[test]
    fn a_server_without_an_engine_is_told_with_what_installs_one() {
        let failure = serde_json::json!({
            "message": "v2 could not be brought to app-2: the container engine can't be reached at `/var/run/docker.sock`: there is no \
                        such socket; is a container engine installed and running?",
            "server": "app-2",
        });
        let text = rendered(&[], &failure, Some(&status(Some(1), "running")));
        assert!(text.contains("--install-docker` installs Docker's engine there"), "{text}");
    }

    #[test]
    fn the_first_deploy_has_nothing_to_go_back_to() {
        let failure = serde_json::json!({ "message": "the release command failed: exit code 3" });
        let text = rendered(&[], &failure, Some(&status(None, "new")));
        assert!(text.contains("there is no release before it: nothing serves"), "{text}");
        assert!(text.contains("`pando logs --since 10m`"), "{text}");
        let text = rendered(&[], &failure, None);
        assert!(
            text.contains("what serves now is not known") && text.contains("before it, v1 did"),
            "{text}"
        );
    }
}
