//! How far a release is on servers that don't have it yet, in words.

use pando_model::desired::Target;
use pando_model::observed::{Fetched, ReleaseState};
use pando_model::resources::Bytes;

use crate::app::AppPlan;
use crate::view::View;

/// Lines that a small screen has room for.
const MOST: usize = 8;

/// A line for each server that has begun, by name; of many servers the first, and how many there are besides.
pub(crate) fn lines(view: &View<'_>, app: &AppPlan<'_>, target: Target) -> Vec<String> {
    let line = |place: usize| {
        let so_far = how_far(view.seat(place)?.release(app.name, target.release)?)?;
        Some(format!("{} on {}: {so_far}", target.release, view.name_of(place)))
    };
    let mut lines: Vec<String> = app.places_of(view, target).into_iter().filter_map(line).collect();
    let more = lines.len().saturating_sub(MOST);
    if more > 0 {
        lines.truncate(MOST);
        lines.push(format!("{} on {more} more servers: on its way", target.release));
    }
    lines
}

/// `None`: there is nothing to tell, or it is there.
pub(crate) fn how_far(state: &ReleaseState) -> Option<String> {
    match state {
        ReleaseState::Fetching(Fetched { bytes: 0, of: None })
        | ReleaseState::Ready
        | ReleaseState::Failed { .. } => None,
        ReleaseState::Fetching(Fetched { bytes, of: None }) => Some(format!("fetched {}", Bytes(*bytes))),
        ReleaseState::Fetching(Fetched { bytes, of: Some(of) }) => {
            // Who sends it may be wrong about its length.
            let percent = bytes.min(of).saturating_mul(100).checked_div(*of).unwrap_or(100);
            Some(format!("fetched {} of {} ({percent} %)", Bytes(*bytes), Bytes(*of)))
        }
        ReleaseState::Unpacking => Some("unpacking".to_owned()),
        ReleaseState::Preparing => Some("preparing".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_in_bytes_and_as_a_share() {
        let told = |bytes, of| how_far(&ReleaseState::Fetching(Fetched { bytes, of }));
        assert_eq!(told(0, None), None);
        assert_eq!(told(3_000_000, None).unwrap(), "fetched 3 MB");
        assert_eq!(told(12_000_000, Some(62_000_000)).unwrap(), "fetched 12 MB of 62 MB (19 %)");
        assert_eq!(told(7, Some(5)).unwrap(), "fetched 7 B of 5 B (100 %)");
        assert_eq!(told(0, Some(0)).unwrap(), "fetched 0 B of 0 B (100 %)");
    }
}
