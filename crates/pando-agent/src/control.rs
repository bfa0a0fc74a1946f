//! Speaks with the control plane: asks for the newest target, posts reports.
//!
//! Both go on trying for as long as it takes, days if need be; the server runs
//! on meanwhile, and goes the way round through others: see [`detour`].

pub(crate) mod contact;
pub(crate) mod detour;
pub(crate) mod neighbours;
pub(crate) mod published;
pub(crate) mod relays;
pub(crate) mod report;
pub(crate) mod target;

use std::time::Duration;

use pando_rt::backoff::Backoff;

/// A control plane that restarts is back in about a second.
const TRY_AGAIN: Backoff = Backoff { first: Duration::from_millis(50), most: Duration::from_secs(1) };
