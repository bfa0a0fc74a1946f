//! Why something that is wanted can be started nowhere.

use pando_model::app::ReplicaCount;
use pando_model::name::ReplicaName;

use crate::placement::{self, Ground, Stand};
use crate::step::Step;
use crate::view::View;
use crate::words;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Unplaced {
    /// People have left no server for the process.
    NoServer,
    /// Every server that could take it is lost.
    AllLost(ReplicaName),
    /// Every server that could take it is full.
    NoRoom(ReplicaName),
}

impl Unplaced {
    /// The first reason; `None`: everything has a place, or waits for its server.
    pub(crate) fn of(view: &View<'_>, step: &Step<'_>) -> Option<Self> {
        if !step.exists && step.wanted() > 0 {
            return Some(Self::NoServer);
        }
        let stuck = step.unfilled().into_iter().find(|slot| slot.stand == Stand::Refuge);
        let stays = || step.placement.slots.iter().find(|slot| slot.stand == Stand::Refuge && !view.halted);
        let homeless = step.placement.homeless.first().copied();
        let ordinal = homeless.or_else(|| stuck.or_else(|| stays().copied()).map(|slot| slot.ordinal))?;
        let replica = placement::replica(step.process, ordinal);
        let none_open = Ground::of(view, step.spec, ReplicaCount::Total(1)).open.is_empty();
        Some(if none_open { Self::AllLost(replica) } else { Self::NoRoom(replica) })
    }

    /// As the reason why a deployment fails.
    pub(crate) fn failure(&self, step: &Step<'_>) -> String {
        let (process, asked_for) = (step.process, words::asked_for(step.spec));
        match self {
            Self::NoServer => format!("no server has {asked_for} that `{process}` needs"),
            Self::AllLost(replica) => {
                format!("every server with {asked_for} that could take {replica} is lost")
            }
            Self::NoRoom(replica) => {
                format!(
                    "no server with {asked_for} has room for {replica} ({})",
                    words::amount(step.spec.resources)
                )
            }
        }
    }

    /// As what a process waits for.
    pub(crate) fn wait(&self, step: &Step<'_>) -> String {
        let asked_for = words::asked_for(step.spec);
        match self {
            Self::NoServer => format!("a server with {asked_for}"),
            Self::AllLost(replica) => format!("a server with {asked_for} for {replica}: all are lost"),
            Self::NoRoom(replica) => {
                let amount = words::amount(step.spec.resources);
                format!("room for {replica} ({amount}) on a server with {asked_for}")
            }
        }
    }
}
