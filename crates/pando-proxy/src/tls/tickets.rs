//! Session tickets: a session's secrets, sealed and kept by the client, so that coming back costs neither side a signature.
//!
//! With keys from the table, every balancer of a cluster opens what another has sealed, and whoever writes the table rotates
//! them. Without, a proxy makes its own, rotates them, and tickets are good at this proxy alone.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::{hkdf, rand};
use pando_routing::TicketKey;
use rustls::server::ProducesTickets;

use crate::error::ProxyError;
use crate::plane::Plane;

/// How long own keys seal. They open for as long again, so that a ticket is good for 12 to 24 hours.
const ROTATE: Duration = Duration::from_secs(12 * 3600);

/// What clients are told that a ticket is good for.
const LIFETIME: u32 = 12 * 3600;

/// A ticket begins with its key's name.
const NAME_LEN: usize = 16;

/// The keys in use.
#[derive(Debug)]
pub(super) struct Tickets(ArcSwap<Keys>);

#[derive(Debug)]
struct Keys {
    /// The first seals. Never empty.
    all: Vec<Arc<Sealer>>,
    own: bool,
}

/// One key.
#[derive(Debug)]
struct Sealer {
    name: [u8; NAME_LEN],
    key: LessSafeKey,
    secret: TicketKey,
}

impl Sealer {
    fn of(secret: &[u8; 32]) -> Result<Self, Unspecified> {
        let extracted = hkdf::Salt::new(hkdf::HKDF_SHA256, b"pando session tickets").extract(secret);
        let (mut name, mut key) = ([0; NAME_LEN], [0; 32]);
        extracted.expand(&[b"name"], Bytes(NAME_LEN))?.fill(&mut name)?;
        extracted.expand(&[b"key"], Bytes(key.len()))?.fill(&mut key)?;
        let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &key)?);
        Ok(Self { name, key, secret: TicketKey(*secret) })
    }

    fn random() -> Result<Self, Unspecified> {
        let mut secret = [0; 32];
        rand::fill(&mut secret)?;
        Self::of(&secret)
    }

    /// Name, nonce, sealed content; good for who names the same purpose.
    fn seal(&self, purpose: &[u8], plain: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce)?;
        let mut sealed = plain.to_vec();
        let (aad, nonce_used) = (self.bound_to(purpose), Nonce::assume_unique_for_key(nonce));
        self.key.seal_in_place_append_tag(nonce_used, aad, &mut sealed)?;
        Ok([&self.name[..], &nonce, &sealed].concat())
    }

    fn open(&self, purpose: &[u8], nonce: [u8; NONCE_LEN], sealed: &[u8]) -> Option<Vec<u8>> {
        let mut opened = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let len = self.key.open_in_place(nonce, self.bound_to(purpose), &mut opened).ok()?.len();
        opened.truncate(len);
        Some(opened)
    }

    fn bound_to(&self, purpose: &[u8]) -> Aad<Vec<u8>> {
        Aad::from([&self.name[..], purpose].concat())
    }
}

/// So many bytes of key material.
struct Bytes(usize);

impl hkdf::KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

impl Tickets {
    /// With an own key.
    pub(super) fn new() -> Result<Self, ProxyError> {
        let sealer = Sealer::random().map_err(|error| ProxyError::Tls { source: error.into() })?;
        Ok(Self(ArcSwap::from_pointee(Keys { all: vec![Arc::new(sealer)], own: true })))
    }

    /// Uses the table's keys, if it has any; else own ones.
    pub(super) fn take(&self, keys: &[TicketKey]) {
        let held = self.0.load();
        if keys.is_empty() && held.own {
            return;
        }
        let sealers: Result<Vec<_>, _> = match keys {
            [] => Sealer::random().map(|sealer| vec![sealer]),
            keys => keys.iter().map(|key| Sealer::of(&key.0)).collect(),
        };
        match sealers {
            Ok(sealers) => {
                let all = sealers.into_iter().map(Arc::new).collect();
                self.0.store(Arc::new(Keys { all, own: keys.is_empty() }));
            }
            Err(_) => tracing::error!("no session ticket keys can be made; those before stay in use"),
        }
    }

    /// Those that were made here, for a successor; the first seals.
    pub(super) fn own(&self) -> Vec<TicketKey> {
        let held = self.0.load();
        if held.own { held.all.iter().map(|sealer| sealer.secret).collect() } else { Vec::new() }
    }

    /// Goes on with keys that were made by the proxy before this one.
    pub(super) fn inherit(&self, keys: &[TicketKey]) {
        let sealers: Result<Vec<_>, _> = keys.iter().map(|key| Sealer::of(&key.0).map(Arc::new)).collect();
        if let Ok(all) = sealers
            && !all.is_empty()
        {
            self.0.store(Arc::new(Keys { all, own: true }));
        }
    }

    /// Seals what is to be opened for the same purpose alone. `None`: it can't be sealed.
    pub(super) fn seal_for(&self, purpose: &[u8], plain: &[u8]) -> Option<Vec<u8>> {
        self.0.load().all.first()?.seal(purpose, plain).ok()
    }

    /// `None`: it was not sealed by these keys for that purpose.
    pub(super) fn open_for(&self, purpose: &[u8], ticket: &[u8]) -> Option<Vec<u8>> {
        let (name, rest) = ticket.split_first_chunk::<NAME_LEN>()?;
        let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
        let keys = self.0.load();
        keys.all.iter().find(|sealer| sealer.name == *name)?.open(purpose, *nonce, sealed)
    }

    /// Makes a new own key; the one before opens what it has sealed.
    fn rotate(&self) {
        let held = self.0.load();
        if let (true, Ok(new)) = (held.own, Sealer::random()) {
            let before = held.all.first().cloned();
            let all = [Arc::new(new)].into_iter().chain(before).collect();
            // Keys of a table that came meanwhile stay.
            self.0.compare_and_swap(&*held, Arc::new(Keys { all, own: true }));
        }
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        LIFETIME
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.seal_for(b"", plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        self.open_for(b"", ticket)
    }
}

/// Rotates own keys for ever.
pub(crate) async fn rotate(plane: Arc<Plane>) {
    loop {
        tokio::time::sleep(ROTATE).await;
        if let Some(tls) = &plane.tls {
            tls.tickets.rotate();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: TicketKey = TicketKey([1; 32]);
    const B: TicketKey = TicketKey([2; 32]);

    fn with(keys: &[TicketKey]) -> Tickets {
        let tickets = Tickets::new().unwrap();
        tickets.take(keys);
        tickets
    }

    fn opens(by: &Tickets, ticket: &[u8]) -> bool {
        by.decrypt(ticket).is_some_and(|plain| plain == b"a session")
    }

    #[test]
    fn who_shares_a_key_opens_what_others_sealed() {
        let ticket = with(&[A]).encrypt(b"a session").unwrap();
        assert!(opens(&with(&[A]), &ticket));
        assert!(opens(&with(&[B, A]), &ticket));
        assert!(!opens(&with(&[B]), &ticket));
        assert!(!opens(&with(&[]), &ticket));
        assert!(!opens(&with(&[A]), &with(&[B, A]).encrypt(b"a session").unwrap()));
    }

    #[test]
    fn own_keys_open_for_one_rotation_longer() {
        let tickets = with(&[]);
        let ticket = tickets.encrypt(b"a session").unwrap();
        tickets.take(&[]);
        assert!(opens(&tickets, &ticket));
        tickets.rotate();
        assert!(opens(&tickets, &ticket));
        tickets.rotate();
        assert!(!opens(&tickets, &ticket));
    }

    #[test]
    fn a_successor_opens_what_the_proxy_before_it_sealed_with_keys_of_its_own() {
        let (before, after) = (with(&[]), with(&[]));
        let ticket = before.encrypt(b"a session").unwrap();
        before.rotate();
        after.inherit(&before.own());
        assert!(opens(&after, &ticket) && opens(&before, &after.encrypt(b"a session").unwrap()));
        assert_eq!(with(&[A]).own(), []);
        after.inherit(&[]);
        assert!(opens(&after, &ticket));
    }

    #[test]
    fn the_table_rotates_its_own() {
        let tickets = with(&[A]);
        let ticket = tickets.encrypt(b"a session").unwrap();
        tickets.rotate();
        assert!(opens(&with(&[A]), &tickets.encrypt(b"a session").unwrap()));
        tickets.take(&[]);
        assert!(!opens(&tickets, &ticket));
    }

    #[test]
    fn what_was_changed_anywhere_opens_nowhere() {
        let tickets = with(&[A]);
        let ticket = tickets.encrypt(b"a session").unwrap();
        for n in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[n] ^= 1;
            assert_eq!(tickets.decrypt(&changed), None, "byte {n}");
            assert_eq!(tickets.decrypt(&ticket[..n]), None, "{n} bytes");
        }
        assert_ne!(ticket, tickets.encrypt(b"a session").unwrap());
    }
}
