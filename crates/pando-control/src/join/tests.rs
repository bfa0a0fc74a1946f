//! What a token lets in, over values.

use std::net::SocketAddr;

use pando_model::id::Entropy;
use pando_model::resources::Capacity;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

fn id(seed: u64) -> ServerId {
    ServerId::new(NOW, &mut Entropy::from_seed(seed))
}

fn key(digit: char) -> Fingerprint {
    String::from_iter([digit; 64]).parse().unwrap()
}

fn request(last: u8) -> JoinRequest {
    JoinRequest {
        request: String::new(),
        name: ServerName::new("own").unwrap(),
        private_address: [10, 0, 0, last].into(),
        public_address: None,
        agent_address: SocketAddr::from(([10, 0, 0, last], 7421)),
        capacity: Capacity::default(),
        version: String::new(),
    }
}

fn open() -> Grant {
    Grant { roles: [RoleName::web()].into(), name: None, labels: BTreeMap::new(), used: None }
}

fn joined(grant: &Grant, request: &JoinRequest, world: &World) -> Result<Server, String> {
    match admit(grant, request, key('a'), world, (id(9), NOW)) {
        Ok(Joining::New(server) | Joining::Again(server)) => Ok(server),
        Err(error) => Err(error.message),
    }
}

#[test]
fn the_tokens_name_goes_before_the_servers_own() {
    let world = World::default();
    assert_eq!(joined(&open(), &request(2), &world).unwrap().name.as_str(), "own");
    let named = Grant { name: Some(ServerName::new("given").unwrap()), ..open() };
    let server = joined(&named, &request(2), &world).unwrap();
    assert_eq!((server.name.as_str(), server.standing, server.id), ("given", Standing::Active, id(9)));
}

#[test]
fn addresses_must_be_reachable_by_others() {
    let mut world = World::default();
    let with = |change: fn(&mut JoinRequest)| {
        let mut asked = request(2);
        change(&mut asked);
        asked
    };
    for odd in [
        with(|it| it.private_address = [0, 0, 0, 0].into()),
        with(|it| it.private_address = [127, 0, 0, 1].into()),
        with(|it| it.private_address = [224, 0, 0, 1].into()),
        with(|it| it.public_address = Some([0, 0, 0, 0].into())),
        with(|it| it.agent_address = SocketAddr::from(([0, 0, 0, 0], 7421))),
        with(|it| it.agent_address = SocketAddr::from(([10, 0, 0, 2], 0))),
    ] {
        assert!(joined(&open(), &odd, &world).is_err(), "{odd:?}");
    }
    // All of them on one machine, as in development: each with a port of its own.
    world.settings.one_machine = true;
    let local = |port| JoinRequest {
        private_address: [127, 0, 0, 1].into(),
        agent_address: SocketAddr::from(([127, 0, 0, 1], port)),
        ..request(2)
    };
    let first = joined(&open(), &local(1), &world).unwrap();
    world.servers.insert(first.id, first);
    let second = JoinRequest { name: ServerName::new("two").unwrap(), ..local(2) };
    assert!(joined(&open(), &second, &world).is_ok());
    let same = JoinRequest { name: ServerName::new("two").unwrap(), ..local(1) };
    assert!(joined(&open(), &same, &world).unwrap_err().contains("127.0.0.1:1 is the address of `own`"));
}

#[test]
fn a_used_token_knows_its_key() {
    let mut world = World::default();
    let server = joined(&open(), &request(2), &world).unwrap();
    world.servers.insert(server.id, server.clone());
    let used = |key| Grant { used: Some(Used { server: server.id, key }), ..open() };
    assert_eq!(joined(&used(key('a')), &request(3), &world).unwrap(), server);
    assert!(joined(&used(key('b')), &request(3), &world).unwrap_err().contains("used already, by own"));
    world.servers.clear();
    assert!(joined(&used(key('a')), &request(3), &world).unwrap_err().contains("removed since"));
}

#[test]
fn grants_are_told_in_words() {
    let role = |name: &str| RoleName::new(name).unwrap();
    let name = Some(ServerName::new("w2").unwrap());
    for (grant, told) in [
        (Grant { roles: BTreeSet::new(), ..open() }, "without roles"),
        (open(), "with the role web"),
        (
            Grant { roles: [role("web"), role("worker")].into(), name, ..open() },
            "as w2, with the roles web, worker",
        ),
    ] {
        assert_eq!(words(&grant), told);
    }
}
