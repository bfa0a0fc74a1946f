//! Taking turns: plain and by weight.

use std::collections::HashMap;

use super::{Candidates, Choice};
use crate::table::EndpointId;

impl<C: Candidates> Choice<'_, C> {
    /// The `turn`-th of those that may, counted round; so that those that may share alike, wherever they stand.
    pub(super) fn in_turn(&self, turn: u64) -> Option<usize> {
        let able = u64::try_from(self.able().count()).ok().filter(|able| *able > 0)?;
        let nth = usize::try_from(turn % able).unwrap_or(0);
        // Between the two looks one may have dropped out; then any other will do.
        self.able().nth(nth).or_else(|| self.able().next())
    }
}

/// Smooth weighted round robin, as nginx published it (commit 52327e0627f4, 2012): each pick adds every able one's weight to
/// its credit; the one with the most serves and pays what all got together.
#[derive(Debug, Clone, Default)]
pub(super) struct Smooth {
    endpoints: Vec<EndpointId>,
    credit: Vec<i64>,
}

impl Smooth {
    /// Who stays keeps its credit, so that a table that changes nothing for it doesn't change its share.
    pub(super) fn renew(&mut self, endpoints: Vec<EndpointId>) {
        if self.endpoints == endpoints {
            return;
        }
        let before: HashMap<_, _> = self.endpoints.iter().copied().zip(self.credit.iter().copied()).collect();
        self.credit = endpoints.iter().map(|id| before.get(id).copied().unwrap_or(0)).collect();
        self.endpoints = endpoints;
    }

    pub(super) fn pick<C: Candidates>(
        &mut self,
        choice: &Choice<'_, C>,
        weight: impl Fn(usize) -> u32,
    ) -> Option<usize> {
        let mut total = 0;
        let mut most: Option<(usize, i64)> = None;
        for n in choice.able() {
            let Some(credit) = self.credit.get_mut(n) else { continue };
            let weight = i64::from(weight(n));
            *credit += weight;
            total += weight;
            if most.is_none_or(|(_, highest)| *credit > highest) {
                most = Some((n, *credit));
            }
        }
        let (chosen, _) = most?;
        self.credit[chosen] -= total;
        Some(chosen)
    }
}
