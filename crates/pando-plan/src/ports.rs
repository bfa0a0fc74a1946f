//! Which port an instance listens on.
//!
//! A server's ports from 20000 to 32767, below the ephemeral range. One that was
//! freed is not given to another app for 24 h, so that a balancer that missed a
//! table can't send one app's requests to another.

use std::collections::BTreeSet;

use pando_model::desired::{PortKey, PortLease};
use pando_model::firewall::APP_PORTS;
use pando_model::id::{InstanceId, ServerId};
use pando_model::name::AppName;
use pando_model::time::{Millis, Timestamp};

use crate::action::{Action, Plan};
use crate::input::Context;

const REST: Millis = Millis::from_secs(24 * 3600);

/// Takes the lowest port that nobody has had lately, or else the app's own that was freed longest ago. `None`: all are taken.
pub(crate) fn take(
    context: &mut Context<'_>,
    server: ServerId,
    app: &AppName,
    instance: InstanceId,
) -> Option<u16> {
    let now = context.input.now;
    let port = unused(context, server, now).or_else(|| longest_free(context, server, app))?;
    let lease = PortLease { app: app.clone(), instance: Some(instance), changed_at: now };
    context.ports.insert(PortKey { server, port }, lease);
    Some(port)
}

fn unused(context: &Context<'_>, server: ServerId, now: Timestamp) -> Option<u16> {
    let elsewhere = used_elsewhere(context, server);
    (APP_PORTS.0..=APP_PORTS.1).find(|port| match context.ports.get(&PortKey { server, port: *port }) {
        _ if elsewhere.contains(port) => false,
        None => true,
        Some(lease) => lease.instance.is_none() && now.since(lease.changed_at) >= REST,
    })
}

/// Where servers share a machine, most programs listen on all of its addresses: what one has, no other can.
fn used_elsewhere(context: &Context<'_>, server: ServerId) -> BTreeSet<u16> {
    if !context.input.desired.settings.one_machine {
        return BTreeSet::new();
    }
    let held = context.ports.iter().filter(|(key, lease)| key.server != server && lease.instance.is_some());
    held.map(|(key, _)| key.port).collect()
}

fn longest_free(context: &Context<'_>, server: ServerId, app: &AppName) -> Option<u16> {
    let of_server = context.ports.iter().filter(|(key, _)| key.server == server);
    let elsewhere = used_elsewhere(context, server);
    let free = of_server.filter(|(key, lease)| lease.instance.is_none() && !elsewhere.contains(&key.port));
    let own = free.filter(|(_, lease)| lease.app == *app);
    own.min_by_key(|(key, lease)| (lease.changed_at, key.port)).map(|(key, _)| key.port)
}

/// The instance is gone; its port rests.
pub(crate) fn free(context: &mut Context<'_>, server: ServerId, port: u16) {
    let now = context.input.now;
    if let Some(lease) = context.ports.get_mut(&PortKey { server, port }) {
        lease.instance = None;
        lease.changed_at = now;
    }
}

pub(crate) fn record_changes(context: &Context<'_>, plan: &mut Plan) {
    let before = &context.input.desired.ports;
    for (key, lease) in &context.ports {
        if before.get(key) != Some(lease) {
            plan.actions.push(Action::RecordPort { key: *key, lease: Some(lease.clone()) });
        }
    }
}
