//! Making a cluster of the bed's servers, and looking at it.

use std::collections::BTreeMap;

use serde_json::Value;

use super::app::{App, HOST};
use super::{Bed, EVERYTHING};
use crate::e2e::load::Load;

impl Bed {
    /// The first server makes a cluster; it is up when this returns.
    pub(crate) fn found(&self) {
        self.found_as(EVERYTHING);
    }

    /// As [`Bed::found`], with these roles of the first server.
    pub(crate) fn found_as(&self, roles: &[&str]) {
        let main = &self.servers[0];
        let address = main.address().to_string();
        let mut args = vec!["cluster", "init", "--name", &main.name, "--private-ip", &address];
        args.extend(roles.iter().flat_map(|role| ["--role", *role]));
        main.ok(&args);
        // What somebody types next is answered at once.
        main.ok(&["server", "show", &main.name]);
        self.wait_alive(&main.name);
    }

    /// A server joins, as somebody would who can log in there; it is up when this returns.
    pub(crate) fn join(&self, name: &str, roles: &[&str]) {
        let mut args = vec!["cluster", "token", "--name", name];
        args.extend(roles.iter().flat_map(|role| ["--role", *role]));
        let told = self.json(&args);
        let word = told["word"].as_str().unwrap_or_else(|| panic!("no join word in {told}"));
        let server = self.server(name);
        let address = server.address().to_string();
        server.ok(&["server", "join", word, "--private-ip", &address]);
        self.wait_alive(name);
    }

    pub(crate) fn wait_alive(&self, name: &str) {
        self.wait_for(&["server", "show", name], &format!("{name} alive"), 30, |server| {
            server["state"] == "alive"
        });
    }

    /// The state of a server as the control plane sees it, such as `lost`.
    pub(crate) fn wait_state(&self, name: &str, state: &str, seconds: u64) {
        self.wait_for(&["server", "show", name], &format!("{name} {state}"), seconds, |server| {
            server["state"] == state
        });
    }

    /// Replicas that serve (or, of workers, run ready): how many of a process on each server, by name.
    pub(crate) fn serving(status: &Value, process: &str) -> BTreeMap<String, usize> {
        let mut count = BTreeMap::new();
        for replica in status["replicas"].as_array().into_iter().flatten() {
            if replica["state"] == "serving" && replica["process"] == process {
                *count.entry(replica["server_name"].as_str().unwrap_or("?").to_owned()).or_default() += 1;
            }
        }
        count
    }

    /// How many replicas of the app are in a state, of this release alone.
    pub(crate) fn count(status: &Value, state: &str, release: u64) -> usize {
        let replicas = status["replicas"].as_array().into_iter().flatten();
        replicas.filter(|replica| replica["state"] == state && replica["release"] == release).count()
    }

    /// The release that is committed.
    pub(crate) fn release(&self) -> u64 {
        self.json(&["status"])["release"].as_u64().unwrap()
    }

    /// Waits until a process's replicas are spread so, all of one release, and nothing else is under way.
    pub(crate) fn wait_spread(&self, process: &str, wanted: &[(&str, usize)], seconds: u64) -> Value {
        let wanted: BTreeMap<String, usize> =
            wanted.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        self.wait_for(&["status"], &format!("{process} on {wanted:?}"), seconds, |status| {
            let held = status["replicas"].as_array().cloned().unwrap_or_default();
            let of_process: Vec<&Value> = held.iter().filter(|r| r["process"] == process).collect();
            let settled =
                of_process.iter().all(|r| r["state"] == "serving" && r["release"] == status["release"]);
            status["deployment"].is_null() && settled && Self::serving(status, process) == wanted
        })
    }

    /// As [`Bed::wait_spread`], whatever else is left of replicas on servers that nobody hears from.
    pub(crate) fn wait_serving(&self, process: &str, wanted: &[(&str, usize)], seconds: u64) {
        let wanted: BTreeMap<String, usize> =
            wanted.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        self.wait_for(&["status"], &format!("{process} on {wanted:?}"), seconds, |status| {
            let held = Self::serving(status, process);
            wanted.iter().all(|(name, count)| held.get(name) == Some(count))
        });
    }

    /// An entry point has so many endpoints in rotation.
    pub(crate) fn wait_in_rotation(&self, server: &str, endpoints: u64) {
        self.wait_for(&["lb", "status"], &format!("{endpoints} in rotation on {server}"), 30, |told| {
            let all = told["entry_points"].as_array().cloned().unwrap_or_default();
            all.iter().any(|entry| entry["name"] == server && entry["in_rotation"] == endpoints)
        });
    }

    /// A cluster of all servers of the bed, those after the first with the role `web`, and the app in it.
    pub(crate) fn found_with(&self, app: &App, spread: usize) {
        self.found();
        let others: Vec<String> = self.servers[1..].iter().map(|server| server.name.clone()).collect();
        others.iter().for_each(|name| self.join(name, &["web"]));
        self.deploy(app);
        let wanted: Vec<_> = self.servers.iter().map(|server| (server.name.as_str(), spread)).collect();
        self.wait_spread("web", &wanted, 60);
    }

    /// Load through the entry points of all these servers.
    pub(crate) fn loads(&self, servers: &[&str]) -> Vec<(String, Load)> {
        servers.iter().map(|name| ((*name).to_owned(), self.load(name, 1))).collect()
    }

    /// Load through a server's own entry point.
    pub(crate) fn load(&self, server: &str, clients: usize) -> Load {
        Load::start_for(HOST, &format!("{}:80", self.server(server).address()), clients)
    }

    /// One client there whose requests take so many milliseconds each.
    pub(crate) fn slow_load(&self, server: &str, millis: u64) -> Load {
        Load::start_slow(HOST, &format!("{}:80", self.server(server).address()), millis)
    }
}
