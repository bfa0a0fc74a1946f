//! The way from the new server to the control plane: the first place that answers there, and is the cluster.

use pando_api::v1::join::JoinTokenCreated;
use pando_api::v1::status::ServerStatus;
use pando_trust::{CONTROL_PORT, JoinWord};

use super::ssh::{Ssh, Step};
use crate::commands::cluster::reached_at;
use crate::exit::{FAILED, Trouble};

/// Where the control plane may be for the new server: what was said alone; else its private address, then where it is for
/// whoever types.
pub(super) fn places(said: Option<&str>, own: &str, servers: &[ServerStatus]) -> Vec<String> {
    if let Some(said) = said {
        return vec![said.to_owned()];
    }
    let bare = own.split_once("://").map_or(own, |(_, rest)| rest).trim_end_matches('/');
    let bare = bare.split_once('#').map_or(bare, |(place, _)| place);
    let port = bare.rsplit_once(':').and_then(|(_, port)| port.parse().ok()).unwrap_or(CONTROL_PORT);
    let control = servers.iter().filter(|server| server.roles.iter().any(|role| role.as_str() == "control"));
    let private = control.map(|server| std::net::SocketAddr::new(server.private_address, port).to_string());
    let mut places: Vec<String> = private.chain([bare.to_owned()]).collect();
    // This machine is another one over there.
    places.retain(|place| !is_loopback(place));
    places.dedup();
    places
}

fn is_loopback(place: &str) -> bool {
    let host = place.rsplit_once(':').map_or(place, |(host, _)| host).trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The join word with the first place that the new server reaches.
pub(super) async fn find(places: &[String], token: &JoinTokenCreated, ssh: &Ssh) -> anyhow::Result<String> {
    let mut tried = Vec::new();
    for place in places {
        let url = reached_at(place, token.fingerprint)?;
        let word = JoinWord { url, secret: token.secret.parse()? }.to_string();
        match ssh.call(Step::Check, &[], word.as_bytes()).await {
            Ok(_) => return Ok(word),
            Err(error) => tried.push(said(place, &error)),
        }
    }
    let message = format!("{} can't reach the control plane", ssh.host());
    let trouble = Trouble::new(FAILED, "control_unreachable", message).details(tried);
    Err(trouble
        .hint("open the control plane's port to it, or say where it is from there: `--control-url`")
        .into())
}

/// `10.0.0.1:7420: can't reach the control plane at …: connection refused`
fn said(place: &str, error: &anyhow::Error) -> String {
    let details = error.downcast_ref::<Trouble>().map(|trouble| trouble.details_text());
    let words = details.filter(|text| !text.is_empty()).unwrap_or_else(|| error.to_string());
    let first = words.lines().next().unwrap_or_default();
    format!("{place}: {}", first.trim_start_matches("error: "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn servers(address: &str) -> Vec<ServerStatus> {
        let status = serde_json::json!({
            "id": "01890000-0000-7000-8000-000000000001", "name": "main", "roles": ["control", "web"], "private_address": address,
            "state": "alive", "heard_at": null, "capacity": { "cpu_millis": 0, "memory_bytes": 0 },
            "reserved": { "cpu_millis": 0, "memory_bytes": 0 }, "instances": 0, "proxy": null,
        });
        vec![serde_json::from_value(status).unwrap()]
    }

    #[test]
    fn the_private_address_is_tried_before_the_public_one() {
        let control = servers("10.0.0.1");
        let own = "https://203.0.113.1:7425";
        assert_eq!(places(None, own, &control), ["10.0.0.1:7425", "203.0.113.1:7425"]);
        assert_eq!(places(None, "https://10.0.0.1:7420#sha256:00", &control), ["10.0.0.1:7420"]);
        assert_eq!(places(Some("control.example.com"), own, &control), ["control.example.com"]);
    }

    #[test]
    fn nobody_is_sent_to_a_loopback_address() {
        assert_eq!(places(None, "http://127.0.0.1:7420", &servers("10.0.0.1")), ["10.0.0.1:7420"]);
        assert_eq!(places(None, "http://[::1]:7420", &servers("fd00::1")), ["[fd00::1]:7420"]);
        assert!(places(None, "http://localhost:7420", &servers("127.0.0.1")).is_empty());
    }
}
