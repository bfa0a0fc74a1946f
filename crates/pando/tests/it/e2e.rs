//! The real binary, a real app, real load: what a deploy promises, seen from outside.

mod assets;
pub(crate) mod bed;
mod bench;
mod daily;
mod deploys;
mod interludes;
mod kills;
pub(crate) mod load;
mod routes;
mod targets;
mod terminal;
mod trouble;
mod updates;
pub(crate) mod visitor;
mod websocket;
