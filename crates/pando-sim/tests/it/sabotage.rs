//! A part that does what it must not is noticed: the checkers can fail.

use pando_sim::{Options, Sabotage, run};

/// Some seed of a few notices it, and complains so.
fn is_noticed(sabotage: Sabotage, complaint: &str) {
    let mut seen = Vec::new();
    for seed in 0..SEEDS {
        // Most of these have nothing to do with keys, and are found without them.
        let keys = sabotage == Sabotage::OpenHanded;
        let options = Options { sabotage: Some(sabotage), seconds: Some(90), keys, ..Options::of_seed(seed) };
        if let Some(broken) = run(&options).broken {
            if broken.contains(complaint) {
                return;
            }
            seen.push(broken);
        }
    }
    panic!("nobody says `{complaint}`, but: {seen:#?}");
}

const SEEDS: u64 = 40;

#[test]
fn tables_acknowledged_and_not_used() {
    is_noticed(Sabotage::EmptyAcknowledgement, "sends it requests");
}

#[test]
fn a_load_balancer_that_forgets_its_table() {
    is_noticed(Sabotage::ForgetfulProxy, "goes back to the table");
}

#[test]
fn a_replica_stopped_though_it_is_assigned() {
    is_noticed(Sabotage::EagerAgent, "although it is assigned");
}

#[test]
fn a_disk_that_forgets_what_it_wrote() {
    is_noticed(Sabotage::LyingDisk, "goes back to the assignment");
}

#[test]
fn an_agent_that_starts_replicas_twice() {
    is_noticed(Sabotage::DoublingAgent, " runs on ");
}

#[test]
fn a_load_balancer_that_turns_requests_away() {
    is_noticed(Sabotage::RudeProxy, "in a planned move");
}

#[test]
fn a_replica_that_is_assigned_twice() {
    is_noticed(Sabotage::DoublingStore, "is assigned 2 times");
}

#[test]
fn an_agent_that_hears_nothing() {
    is_noticed(Sabotage::DeafAgent, "no rest");
}

#[test]
fn keys_told_to_servers_that_need_none() {
    is_noticed(Sabotage::OpenHanded, "yet holds keys");
}
