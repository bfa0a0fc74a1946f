//! The real binary, a real app, real load: what a deploy promises, seen from outside.

mod bed;
mod bench;
mod daily;
mod deploys;
mod kills;
mod load;
mod trouble;
mod websocket;
