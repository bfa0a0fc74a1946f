//! The cluster's settings and the firewall that follows from them.

use pando_api::ErrorCode;
use pando_api::v1::cluster::{FirewallChange, SettingsChange};
use pando_api::v1::events::EventQuery;
use pando_control::store::{Key, Txn};
use pando_model::assignment::Assignment;
use pando_model::firewall::{FirewallRules, FirewallStatus};
use pando_model::id::Version;

use crate::cluster::Cluster;

fn firewall(change: FirewallChange) -> SettingsChange {
    SettingsChange { firewall: Some(change), ..SettingsChange::default() }
}

fn ssh_from(ranges: &[&str]) -> SettingsChange {
    let ranges = ranges.iter().map(|range| range.parse().unwrap()).collect();
    firewall(FirewallChange { ssh_from: Some(ranges), ..FirewallChange::default() })
}

#[tokio::test]
async fn settings_are_changed_one_by_one_and_each_change_is_told() {
    let cluster = Cluster::on_disk().await;
    let before = cluster.client.settings().await.unwrap();
    assert_eq!((before.revision, before.firewall.enabled), (0, false));
    let on = firewall(FirewallChange { enabled: Some(true), ..FirewallChange::default() });
    let changed = cluster.client.change_settings(&on).await.unwrap().settings;
    let changed_again = cluster.client.change_settings(&ssh_from(&["10.0.0.0/8", "::1"])).await.unwrap();
    let now = cluster.client.settings().await.unwrap();
    assert_eq!(now, changed_again.settings);
    assert!(now.firewall.enabled && now.revision > changed.revision);
    // The same again changes nothing.
    assert_eq!(cluster.client.change_settings(&on).await.unwrap().settings, now);
    let events = cluster.client.events(&EventQuery::default()).await.unwrap().events;
    let texts: Vec<String> = events.into_iter().map(|event| event.text).collect();
    let expected = ["the firewall is to be on, says tester", "SSH is open to 10.0.0.0/8, ::1, says tester"];
    assert_eq!(texts, expected);
}

#[tokio::test]
async fn a_dry_run_changes_nothing_and_an_old_look_decides_nothing() {
    let cluster = Cluster::in_memory().await;
    let dry = SettingsChange { dry_run: true, ..ssh_from(&["10.0.0.7"]) };
    let told = cluster.client.change_settings(&dry).await.unwrap();
    assert_eq!(told.settings.firewall.ssh_from.len(), 1);
    assert!(cluster.client.settings().await.unwrap().firewall.ssh_from.is_empty());

    let seen = told.settings.revision;
    cluster.client.change_settings(&ssh_from(&["10.0.0.8"])).await.unwrap();
    let late = SettingsChange { if_revision: Some(seen), ..ssh_from(&["10.0.0.7"]) };
    let error = cluster.client.change_settings(&late).await.unwrap_err();
    assert_eq!((error.code(), error.exit_code()), (Some(ErrorCode::Conflict), 1));
    let now = cluster.client.settings().await.unwrap();
    assert_eq!(now.firewall.ssh_from, ["10.0.0.8".parse().unwrap()].into());
    let timely = SettingsChange { if_revision: Some(now.revision), ..ssh_from(&["10.0.0.7"]) };
    cluster.client.change_settings(&timely).await.unwrap();
}

#[tokio::test]
async fn changes_that_say_nothing_or_too_much_are_refused() {
    let cluster = Cluster::in_memory().await;
    let many: Vec<String> = (0..201).map(|n| format!("10.0.0.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for bad in [SettingsChange::default(), firewall(FirewallChange::default()), ssh_from(&many)] {
        let error = cluster.client.change_settings(&bad).await.unwrap_err();
        assert_eq!((error.code(), error.exit_code()), (Some(ErrorCode::Invalid), 2), "{bad:?}");
    }
}

#[tokio::test]
async fn the_rules_of_each_server_are_shown_with_what_its_agent_says() {
    let cluster = Cluster::in_memory().await;
    let off = cluster.client.firewall().await.unwrap();
    assert!(!off.settings.enabled && !off.servers[0].enforced && !off.servers[0].in_force);
    assert!(off.servers[0].rules.iter().any(|rule| rule.ports == (22, 22)), "{off:?}");

    let on = firewall(FirewallChange { enabled: Some(true), ..FirewallChange::default() });
    let changed = cluster.client.change_settings(&on).await.unwrap();
    assert_eq!(changed.rules[0].switched, Some(true));
    // The reconcile loop's part.
    let (rules, version) = (off.servers[0].rules.clone(), Version::new(1, 4));
    let rules = Some(FirewallRules { enforced: true, cut_sessions: false, rules });
    let assignment = Assignment { version, firewall: rules, ..Assignment::empty(cluster.server) };
    cluster.write(Txn::new().put(Key::ServerAssignment(cluster.server), &assignment).unwrap()).await;
    let problems = vec!["ufw drops port 7421: `ufw allow 7421/tcp`".to_owned()];
    let status = FirewallStatus { in_force: true, problems };
    for (acts_on, in_force) in [(3, false), (4, true)] {
        cluster.hear(&[cluster.server], |report| {
            report.firewall = Some(status.clone());
            report.assignment = Version::new(1, acts_on);
        });
        let shown = cluster.client.firewall().await.unwrap().servers.remove(0);
        assert_eq!((shown.enforced, shown.in_force), (true, in_force), "{acts_on}");
        assert_eq!(shown.problems, status.problems);
    }
    // Rules that were decided since are not those that are in force.
    cluster.client.change_settings(&ssh_from(&["10.0.0.7"])).await.unwrap();
    assert!(!cluster.client.firewall().await.unwrap().servers[0].in_force);
}
