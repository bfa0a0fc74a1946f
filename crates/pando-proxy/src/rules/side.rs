//! Which side of a split a request goes to.

use std::sync::Arc;

use pando_routing::HashKey;
use pando_routing::balance::hash::SecretKey;
use pando_routing::balance::random::share_of;
use pando_routing::balance::sticky::{SetCookie, Stay, Tokens, cookie};
use pando_routing::rule::{Asks, Split, Stick};
use pando_routing::{Sticky, rule::destination::SideCookie};

use super::route::Parts;
use super::shown::Shown;
use crate::balance::moment;
use crate::snapshot::PoolView;

/// A split, ready to be asked.
#[derive(Debug)]
pub(super) struct SplitView {
    sides: Box<[(Arc<PoolView>, u64)]>,
    stick: Option<StickView>,
}

#[derive(Debug)]
enum StickView {
    Cookie { policy: Sticky, tokens: Tokens },
    Hash { by: HashKey, key: SecretKey },
}

/// The side of one request.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) pool: Arc<PoolView>,
    /// The value of `Set-Cookie`, for a visitor who stays from here on.
    pub(super) cookie: Option<String>,
}

impl SplitView {
    pub(super) fn new(split: &Split, parts: &Parts<'_>) -> Option<Self> {
        let side =
            |side: &pando_routing::rule::Side| Some(((parts.pool)(&side.pool)?, u64::from(side.weight)));
        let sides: Box<[_]> = split.sides.iter().map(side).collect::<Option<_>>()?;
        let key = sides.first()?.0.key;
        let names: Vec<String> = split.sides.iter().map(|side| format!("side\0{}", side.pool)).collect();
        let stick = split.stick.as_ref().map(|stick| match stick {
            Stick::Cookie(SideCookie { name, max_age_seconds, same_site }) => {
                let policy = Sticky {
                    cookie: Arc::clone(name),
                    max_age_seconds: *max_age_seconds,
                    same_site: *same_site,
                    secure: None,
                };
                StickView::Cookie { policy, tokens: Tokens::new(&key, names.iter().map(|name| &**name)) }
            }
            Stick::Hash(by) => StickView::Hash { by: by.clone(), key },
        });
        Some(Self { sides, stick })
    }

    /// The cookie that is taken off before a replica sees it.
    pub(super) fn cookie(&self) -> Option<&Arc<str>> {
        match &self.stick {
            Some(StickView::Cookie { policy, .. }) => Some(&policy.cookie),
            _ => None,
        }
    }

    pub(super) fn choose(&self, shown: Shown<'_>) -> Chosen {
        let drawn = || self.at(moment::random());
        match &self.stick {
            None => Chosen { pool: self.pool(drawn()), cookie: None },
            Some(StickView::Hash { by, key }) => {
                let side = hash(shown, by, key).map_or_else(drawn, |hash| self.at(hash));
                Chosen { pool: self.pool(side), cookie: None }
            }
            Some(StickView::Cookie { policy, tokens }) => {
                let fields = shown.header("cookie");
                let values = fields.flat_map(|field| cookie::values(field, policy.cookie.as_bytes()));
                let serves = |n: usize| if self.sides[n].1 > 0 { Stay::Ready } else { Stay::No };
                let known = tokens.stay(values, serves);
                let side = known.unwrap_or_else(drawn);
                let token = tokens.get(side).filter(|_| known.is_none());
                let cookie = token.map(|token| SetCookie { policy, token, tls: shown.is_tls() }.to_string());
                Chosen { pool: self.pool(side), cookie }
            }
        }
    }

    fn pool(&self, side: usize) -> Arc<PoolView> {
        Arc::clone(&self.sides[side].0)
    }

    /// The side at that place of the whole, as a part of 2^64.
    fn at(&self, place: u64) -> usize {
        let all: u64 = self.sides.iter().map(|(_, weight)| weight).sum();
        let mut left = share_of(place, all);
        for (n, (_, weight)) in self.sides.iter().enumerate() {
            if left < *weight {
                return n;
            }
            left -= weight;
        }
        0
    }
}

fn hash(shown: Shown<'_>, by: &HashKey, key: &SecretKey) -> Option<u64> {
    match by {
        HashKey::Header(name) => shown.header(name).next().map(|value| key.hash(value)),
        HashKey::Cookie(name) => {
            let mut values = shown.header("cookie").flat_map(|field| cookie::values(field, name.as_bytes()));
            values.next().map(|value| key.hash(value))
        }
        HashKey::Address => Some(key.hash_address(shown.address())),
        HashKey::Path => Some(key.hash(shown.paper.path())),
    }
}
