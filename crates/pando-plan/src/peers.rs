//! Which other servers each is told of.
//!
//! All of them, in a cluster of usual size. Told so in a large one, the assignments
//! would grow with its square; there each has its neighbours in the circle of
//! names, those before it and those after it. Neighbours know one another, and word
//! passes from each to all.

use pando_model::assignment::Peer;

use crate::view::View;

/// Neighbours on each side.
const REACH: usize = 16;

/// The servers that stay, by name.
#[derive(Debug)]
pub(crate) struct Circle(Vec<usize>);

impl Circle {
    pub(crate) fn without(view: &View<'_>, forgotten: &[usize]) -> Self {
        Self((0..view.seats.len()).filter(|place| !forgotten.contains(place)).collect())
    }

    /// The places of a server's peers, by name.
    pub(crate) fn around(&self, place: usize) -> Vec<usize> {
        let count = self.0.len();
        let Ok(at) = self.0.binary_search(&place) else { return Vec::new() };
        let reach = REACH.min(count.saturating_sub(1));
        let after = (1..=reach).map(|apart| (at + apart) % count);
        let before = (1..=reach).map(|apart| (at + count - apart) % count);
        let mut near: Vec<usize> = before.chain(after).filter_map(|at| self.0.get(at).copied()).collect();
        near.sort_unstable();
        near.dedup();
        near
    }
}

pub(crate) fn listed(view: &View<'_>, places: &[usize]) -> Vec<Peer> {
    let seats = places.iter().filter_map(|place| view.seat(*place));
    let peer = |server: &pando_model::Server| Peer {
        server: server.id,
        name: server.name.clone(),
        agent_address: server.agent_address,
    };
    seats.map(|seat| peer(seat.server)).collect()
}

/// `listed` would list just these. A server keeps its name for life.
pub(crate) fn are(view: &View<'_>, places: &[usize], told: &[Peer]) -> bool {
    let same = |(place, peer): (&usize, &Peer)| {
        let server = view.seat(*place).map(|seat| (seat.server.id, seat.server.agent_address));
        server == Some((peer.server, peer.agent_address))
    };
    places.len() == told.len() && places.iter().zip(told).all(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_cluster_is_told_all_and_a_large_one_its_neighbours() {
        assert_eq!(Circle(vec![0]).around(0), Vec::<usize>::new());
        assert_eq!(Circle(vec![0, 1]).around(1), [0]);
        assert_eq!(Circle(vec![0, 2, 3]).around(2), [0, 3]);
        let large = Circle((0..1000).collect());
        let first = large.around(0);
        assert_eq!((first.len(), first[0], first[31]), (32, 1, 999));
        for place in 0..1000 {
            assert!(large.around(place).iter().all(|other| large.around(*other).contains(&place)));
        }
    }
}
