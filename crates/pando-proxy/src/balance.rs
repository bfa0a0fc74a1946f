//! Which endpoint gets the next request, and what is learned from how it ends.
//!
//! The mathematics is `pando_routing::balance`'s. Here it meets live endpoints, the clock and chance: `view` shows a pool to it,
//! `pick` asks it for a request, `account` tells it what became of that, `tick` renews what is found out some times a second.

mod account;
pub(crate) mod asking;
pub(crate) mod key;
pub(crate) mod moment;
mod pick;
mod slow;
pub(crate) mod tick;
mod tried;
mod view;

pub(crate) use account::{Answered, Told};
pub(crate) use asking::Asking;
pub(crate) use pick::{Chosen, Picked, pick, pick_open};
pub(crate) use tried::Tried;
